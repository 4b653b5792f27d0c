"""Signals, masks and stacks as programs use them, beside a session that ticks every millisecond."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import spprof
from support import in_thread, run_python, samples_of, spin, thread_of

LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(autouse=True)
def signals_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGUSR1)}
    yield
    if spprof.is_active():
        spprof.stop()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_handler_that_the_program_sets_during_a_session():
    received = []
    spprof.start(interval_ms=1)
    signal.signal(signal.SIGPROF, lambda number, frame: received.append(number))
    set_ns = time.monotonic_ns()
    # Ours goes on top again presently; until then our ticks reach theirs.
    quiet = 0
    while quiet < 5:
        before = len(received)
        spin(0.05)
        quiet = quiet + 1 if len(received) == before else 0
    received.clear()
    one_with_a_tick = 0
    for _ in range(10):
        before = len(received)
        signal.raise_signal(signal.SIGPROF)
        spin(0.005)
        one_with_a_tick += len(received) == before
    profile = spprof.stop()
    # Standard signals are not queued: one that is raised while a tick is pending is one signal with it (signal(7)). That
    # is a microsecond of every millisecond; three of ten would come once in ten million runs.
    assert len(received) + one_with_a_tick == 10
    assert one_with_a_tick <= 2
    heard = len(received)
    # It ticks on: of the quarter of a second after theirs was set there are more than the samples that the stop itself takes.
    samples = samples_of(profile, threading.get_native_id())
    assert len([sample for sample in samples if sample.timestamp_ns > set_ns + 50_000_000]) > 50
    signal.raise_signal(signal.SIGPROF)
    assert received == [signal.SIGPROF] * (heard + 1)


def test_the_wakeup_descriptor_hears_of_the_program_s_signals_only():
    here, there = os.pipe()
    os.set_blocking(there, False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    before = signal.set_wakeup_fd(there)
    try:
        spprof.start(interval_ms=0.5)
        for _ in range(20):
            spin(0.005)
            signal.raise_signal(signal.SIGUSR1)
        profile = spprof.stop()
    finally:
        signal.set_wakeup_fd(before)
        os.close(there)
    assert os.read(here, 1000) == bytes([signal.SIGUSR1]) * 20
    os.close(here)
    assert profile.sample_count > 50


def test_calls_of_c_that_the_system_restarts_are_whole():
    here, there = os.pipe()
    buffer = ctypes.create_string_buffer(10)
    results = []

    def read_it():
        for _ in range(20):
            spin(0.002)
            results.append((LIBC.read(here, buffer, 10), buffer.raw))

    thread = threading.Thread(target=read_it)
    spprof.start(interval_ms=0.5)
    thread.start()
    for _ in range(20):
        time.sleep(0.005)
        os.write(there, b"all of it.")
    thread.join()
    spprof.stop()
    os.close(here)
    os.close(there)
    assert results == [(10, b"all of it.")] * 20


def test_calls_of_c_that_no_system_restarts_are_broken_off_seldom():
    class Time(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    def sleep_often():
        interrupted = 0
        for _ in range(20):
            rest = Time(0, 50_000_000)
            while LIBC.nanosleep(ctypes.byref(rest), ctypes.byref(rest)):
                assert ctypes.get_errno() == errno.EINTR
                interrupted += 1
        return interrupted

    spprof.start(interval_ms=1)
    interrupted = in_thread(sleep_often)
    spprof.stop()
    # A signal at every tick would be a thousand. The tick that was set before the call comes, and then no more.
    assert interrupted < 100


def test_a_thread_that_blocks_the_signal_keeps_its_totals():
    worked, may_end = threading.Event(), threading.Event()

    def work():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
        spin(0.3)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGPROF}
        worked.set()
        may_end.wait()

    spprof.start(interval_ms=1)
    thread = threading.Thread(target=work)
    thread.start()
    worked.wait()
    # It lives on: up to 3.10 a thread ends without a word, and with it goes what no sample has.
    profile = spprof.stop()
    cpu_ns = time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident))
    may_end.set()
    thread.join()
    assert thread_of(profile, thread.native_id).cpu_ns == pytest.approx(cpu_ns, rel=0.02)


def test_a_storm_of_signals():
    counts = {"alarm": 0, "prof": 0}

    def count(name):
        def handler(number, frame):
            counts[name] += 1

        return handler

    signal.signal(signal.SIGALRM, count("alarm"))
    signal.signal(signal.SIGPROF, count("prof"))
    spprof.start(interval_ms=0.2)
    main = threading.get_ident()
    sent = threading.Event()

    def send():
        for _ in range(5000):
            signal.pthread_kill(main, signal.SIGPROF)
        sent.set()

    sender = threading.Thread(target=send)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    sender.start()
    total = 0
    while not sent.is_set():
        total += sum(range(1000)) == 499_500 or 1_000_000_000
    sender.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    spin(0.01)
    profile = spprof.stop()
    assert 0 < total < 1_000_000_000
    assert counts["alarm"] > 0
    # Signals of one kind that meet in the queue are one; none that is not the program's is added.
    assert 0 < counts["prof"] <= 5000
    assert profile.sample_count > 0


SMALL_STACKS = """
import os, sys, threading
import spprof
def work():
    end = 200000
    while end:
        end -= 1
threading.stack_size(32768)
if sys.argv[1] == "sampled":
    spprof.start(interval_ms=0.2)
for _ in range(10):
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
if sys.argv[1] == "sampled":
    assert spprof.stop().sample_count > 0
print("alive")
"""


def test_the_smallest_stacks_that_python_allows():
    if subprocess.run([sys.executable, "-c", SMALL_STACKS, "plain"], capture_output=True, check=False).returncode:
        pytest.skip("this interpreter cannot run a thread on 32 KiB itself")
    assert run_python("-c", SMALL_STACKS, "sampled") == "alive\n"


ALTERNATE_STACK_BYTES = 64 * 1024
PAINT = 0xA5


class SignalStack(ctypes.Structure):
    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def handler_stack_bytes():
    """How much of an alternate stack the handler has used, the kernel's frame included, over some hundred deep samples."""
    memory = (ctypes.c_ubyte * ALTERNATE_STACK_BYTES)()
    ctypes.memset(memory, PAINT, ALTERNATE_STACK_BYTES)
    given = SignalStack(ctypes.addressof(memory), 0, ALTERNATE_STACK_BYTES)
    before = SignalStack()
    assert LIBC.sigaltstack(ctypes.byref(given), ctypes.byref(before)) == 0

    def deep(levels):
        return deep(levels - 1) if levels else spin(0.2)

    deep(100)
    assert LIBC.sigaltstack(ctypes.byref(SignalStack(0, 2, 0)), None) == 0
    untouched = next(place for place, byte in enumerate(bytes(memory)) if byte != PAINT)
    return ALTERNATE_STACK_BYTES - untouched


def test_the_handler_uses_the_alternate_stack_and_little_of_it():
    spprof.start(interval_ms=0.5)
    used = in_thread(handler_stack_bytes)
    spprof.stop()
    assert 0 < used < 8192 + frame_bytes()


def frame_bytes():
    """What the kernel itself puts on the stack, at most (getauxval(3), AT_MINSIGSTKSZ)."""
    LIBC.getauxval.restype = ctypes.c_ulong
    return LIBC.getauxval(ctypes.c_ulong(51)) or 2048


def test_a_stack_without_limit():
    program = """
import threading, spprof
def recurse(levels):
    if levels:
        return recurse(levels - 1)
    return sum(range(3_000_000))
spprof.start(interval_ms=1)
recurse(200)
profile = spprof.stop()
assert max(len(sample.frames) for sample in profile.samples) > 200
print("alive")
"""
    line = 'ulimit -s unlimited 2>/dev/null || exit 77; exec "$0" -c "$1"'
    done = subprocess.run(["sh", "-c", line, sys.executable, program], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the limit may not be raised here")
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


def test_a_slow_pipe_loses_nothing():
    # A write that a signal hits returns what it has written so far, and whoever writes has to go on.
    program = """
import os, sys, spprof
spprof.start(interval_ms=0.2)
sys.stdout.write("x" * 3_000_000)
sys.stdout.flush()
sys.stdout.buffer.write(b"y" * 3_000_000)
sys.stdout.flush()
spprof.stop()
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    received = bytearray()
    while True:
        piece = os.read(process.stdout.fileno(), 50_000)
        if not piece:
            break
        received += piece
        time.sleep(0.002)
    process.stdout.close()
    assert process.wait() == 0
    assert received == b"x" * 3_000_000 + b"y" * 3_000_000
