"""Signals of the program are its own: what it had before a session it has during it and after."""

import os
import signal
import subprocess
import sys
import threading

import pytest

if sys.platform == "win32":
    pytest.skip("no signal is sent there", allow_module_level=True)

import spprof
from support import INTERVAL_MS, MACHINE_BELOW, process_state, run_python, samples_of, spin


@pytest.fixture
def received():
    """SIGPROF handled by Python: the list of those that came."""
    signals = []
    before = signal.signal(signal.SIGPROF, lambda number, frame: signals.append(number))
    yield signals
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def test_a_handler_gets_its_own_signals_and_none_of_ours(received):
    spprof.start(interval_ms=INTERVAL_MS)
    for _ in range(10):
        spin(0.01)
        os.kill(os.getpid(), signal.SIGPROF)
        spin(0.01)
    profile = spprof.stop()

    assert samples_of(profile, threading.get_native_id())
    assert received == [signal.SIGPROF] * 10


def test_a_signal_sent_to_a_thread_reaches_the_handler(received):
    spprof.start(interval_ms=INTERVAL_MS)
    signal.pthread_kill(threading.get_ident(), signal.SIGPROF)
    spin(0.01)
    spprof.stop()

    assert received == [signal.SIGPROF]


def test_the_handler_is_back_after_stop(received):
    handler = signal.getsignal(signal.SIGPROF)
    before = process_state()
    spprof.start(interval_ms=INTERVAL_MS)
    spin(0.05)
    spprof.stop()

    assert process_state() == before
    assert signal.getsignal(signal.SIGPROF) is handler
    assert received == []
    os.kill(os.getpid(), signal.SIGPROF)
    spin(0.01)
    assert received == [signal.SIGPROF]


def test_an_interval_timer_of_the_program_goes_on(received):
    spprof.start(interval_ms=1)
    signal.setitimer(signal.ITIMER_PROF, 0.02, 0.02)
    while len(received) < 10:
        spin(0.01)
    signal.setitimer(signal.ITIMER_PROF, 0)
    during = len(received)
    profile = spprof.stop()

    samples = samples_of(profile, threading.get_native_id())
    assert during >= 10
    # Ticks come twenty times as often as the timer's signals: had they been taken for each other, so would these.
    assert during < len(samples)


def test_the_timer_goes_on_after_stop(received):
    signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
    spprof.start(interval_ms=1)
    spin(0.05)
    spprof.stop()
    after = len(received)
    while len(received) < after + 5:
        spin(0.01)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        state = process_state()
        spprof.start(interval_ms=INTERVAL_MS)
        os.kill(os.getpid(), signal.SIGPROF)
        spin(0.05)
        profile = spprof.stop()

        assert samples_of(profile, threading.get_native_id())
        assert process_state() == state
    finally:
        signal.signal(signal.SIGPROF, before)


def test_stray_signals_do_not_end_a_process_that_handles_none():
    # Deleting timers leaves signals pending; with the default disposition back, one of those would end the process.
    done = run_python(
        "-c",
        "import os, signal, spprof\n"
        "assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL\n"
        "for _ in range(300):\n"
        "    spprof.start(interval_ms=0.1)\n"
        "    for _ in range(1000): pass\n"
        "    spprof.stop()\n"
        "assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL\n"
        "print('alive')",
    )
    assert done == "alive\n"


def test_without_a_session_the_default_is_the_default_again():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, spprof\nspprof.start()\nspprof.stop()\nos.kill(os.getpid(), signal.SIGPROF)\n",
        ],
        check=False,
    )
    assert done.returncode == -signal.SIGPROF


SIGNALS_OF_CHILD = (
    "import signal; "
    "lines = dict(line.split(':') for line in open('/proc/self/status')); "
    "bit = 1 << (signal.SIGPROF - 1); "
    "print(*[bool(int(lines[name], 16) & bit) for name in ('SigIgn', 'SigBlk', 'SigCgt', 'SigPnd', 'ShdPnd')])"
)


@pytest.mark.parametrize("close_fds", [False, True])
def test_a_program_that_is_started_inherits_nothing(close_fds):
    def child():
        return subprocess.run(
            [sys.executable, "-S", "-c", SIGNALS_OF_CHILD],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            close_fds=close_fds,
        ).stdout

    # Nothing ignored, blocked, caught or pending; but qemu-user catches what would end a program.
    without_session = child()
    assert without_session.split() == ["False", "False", str(MACHINE_BELOW is not None), "False", "False"]
    # Python starts it by vfork or posix_spawn where it can, which copies signals at other moments than fork does.
    spprof.start(interval_ms=1)
    try:
        children = [child() for _ in range(10)]
        by_shell = os.popen(f'{sys.executable} -S -c "{SIGNALS_OF_CHILD}"')
        children.append(by_shell.read())
        assert by_shell.close() is None
    finally:
        spprof.stop()

    assert children == [without_session] * 11


def test_a_system_call_of_the_program_is_not_broken_off(tmp_path):
    # A read that is interrupted gives EINTR, or less than was asked for, where SA_RESTART is missing.
    inlet, outlet = os.pipe()
    results = []
    thread = threading.Thread(target=lambda: results.append(os.read(inlet, 10)))
    spprof.start(interval_ms=0.5)
    thread.start()
    spin(0.1)
    os.write(outlet, b"all of it.")
    thread.join()
    spprof.stop()
    os.close(inlet)
    os.close(outlet)

    assert results == [b"all of it."]


def test_errors_of_system_calls_are_kept():
    # errno is read after the call that set it; a handler in between must leave it as it was.
    spprof.start(interval_ms=0.1)
    wrong = []
    for _ in range(50_000):
        try:
            os.stat("/no/such/path")
        except FileNotFoundError:
            continue
        except OSError as error:
            wrong.append(error)
    spprof.stop()

    assert wrong == []
