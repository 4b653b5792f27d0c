"""What every test may rely on."""

import signal
import threading


def pytest_configure():
    # Started from a script's background, Python finds SIGINT ignored and leaves it so, and all that is started from here
    # inherits it: no Ctrl-C would reach the programs whose end by Ctrl-C is tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The C library handles a signal of its own from the first thread on, and tests compare signals before and after.
    first = threading.Thread(target=int)
    first.start()
    first.join()
