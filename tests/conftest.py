"""What every test may rely on."""

import signal


def pytest_configure():
    # Started from a script's background, Python finds SIGINT ignored and leaves it so, and all that is started from here
    # inherits it: no Ctrl-C would reach the programs whose end by Ctrl-C is tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
