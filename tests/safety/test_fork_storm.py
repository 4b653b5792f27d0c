"""Processes made in every way, in great number, out of a threaded program that is sampled at 1 ms."""

import concurrent.futures
import os
import random
import resource
import signal
import subprocess
import sys
import threading

import pytest
import spprof
from support import ends_well, forked, frames_of, process_state, samples_of, spin, thread_of

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


class Workers:
    """Threads that compute, allocate and call into C while something else goes on."""

    def __init__(self, count):
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"worker {n}") for n in range(count)]

    def _work(self):
        while not self._over.is_set():
            sorted(range(200), key=lambda number: -number)
            os.stat("/")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def native_ids(self):
        return [thread.native_id for thread in self._threads]


def allocate_and_collect():
    """What a child does that finds a lock of malloc's or ours taken: it hangs."""
    import gc

    gc.collect()
    exec(compile("sum(range(100))", "child", "exec"))
    threading.Thread(target=lambda: None).start()


def test_a_storm_out_of_many_threads_at_once():
    outcomes = []

    def fork_often():
        for number in range(25):
            body = allocate_and_collect if number % 5 == 0 else int
            outcomes.append(ends_well(forked(body)))

    with Workers(1):
        # The C library has a signal of its own, which it handles from the first thread on.
        pass
    before = process_state()
    with Workers(3) as workers:
        spprof.start(interval_ms=1)
        forking = [threading.Thread(target=fork_often) for _ in range(4)]
        for thread in forking:
            thread.start()
        for thread in forking:
            thread.join()
        spin(0.05)
        profile = spprof.stop()

        for native_id in workers.native_ids:
            thread = thread_of(profile, native_id)
            samples = samples_of(profile, native_id)
            # Whole: the weights of a thread's samples are the time it lived through, and it computed all the while.
            assert sum(sample.wall_ns for sample in samples) == thread.wall_ns
            assert sum(sample.cpu_ns for sample in samples) == thread.cpu_ns
            assert thread.cpu_ns > 0
            assert any("_work" in name for sample in samples for _, name, _ in frames_of(sample))
    assert outcomes == [True] * 100
    assert process_state() == before


def test_children_that_profile_themselves_while_the_parent_forks_on():
    def child():
        spprof.start(interval_ms=1)
        spin(0.02)
        profile = spprof.stop()
        assert [thread.native_id for thread in profile.threads] == [os.getpid()]
        assert samples_of(profile, os.getpid())

    with Workers(2):
        spprof.start(interval_ms=1)
        children = [forked(child) for _ in range(20)]
        assert [ends_well(number) for number in children] == [True] * 20
        spprof.stop()


def test_a_child_forked_by_a_child_that_is_sampled():
    def grandchild():
        assert not spprof.is_active()

    def child():
        spprof.start(interval_ms=1)
        for _ in range(5):
            assert ends_well(forked(grandchild))
        assert spprof.is_active()
        spprof.stop()

    spprof.start(interval_ms=1)
    assert ends_well(forked(child))
    spprof.stop()


def test_start_and_stop_race_with_fork():
    # The child finds a session that is beginning, running, ending or none, and must be free of it.
    def child():
        assert not spprof.is_active()
        spprof.start(interval_ms=1)
        spin(0.002)
        spprof.stop()

    over = threading.Event()

    def start_and_stop():
        while not over.is_set():
            spprof.start(interval_ms=0.5)
            spprof.stop()

    thread = threading.Thread(target=start_and_stop)
    thread.start()
    outcomes = [ends_well(forked(child)) for _ in range(100)]
    over.set()
    thread.join()
    assert outcomes == [True] * 100


def test_start_and_stop_race_with_exit():
    program = """
import os, sys, threading, spprof
def start_and_stop():
    while True:
        try:
            spprof.start(interval_ms=0.5)
            spprof.stop()
        except RuntimeError:
            pass
for _ in range(2):
    threading.Thread(target=start_and_stop, daemon=True).start()
end = int(sys.argv[1])
for _ in range(end * 1000):
    pass
"""
    for number in random.Random(1).sample(range(200), 20):
        done = subprocess.run([sys.executable, "-c", program, str(number)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_posix_spawn():
    with Workers(2):
        spprof.start(interval_ms=1)
        children = [
            os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", "raise SystemExit(3)"], os.environ)
            for _ in range(10)
        ]
        statuses = [os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children]
        profile = spprof.stop()
    assert statuses == [3] * 10
    assert profile.sample_count > 0


def square(number):
    assert not spprof.is_active()
    spin(0.005)
    return number * number


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_concurrent_futures(method):
    import multiprocessing

    with Workers(1):
        spprof.start(interval_ms=1)
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            results = list(pool.map(square, range(12)))
        profile = spprof.stop()
    assert results == [number * number for number in range(12)]
    assert thread_of(profile, threading.get_native_id()).wall_ns > 0


def test_a_child_that_is_killed_and_one_that_crashes():
    spprof.start(interval_ms=1)
    statuses = []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPROF):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
            os.kill(os.getpid(), number)
            os._exit(0)
        statuses.append(os.WTERMSIG(os.waitpid(child, 0)[1]))
    spprof.stop()
    assert statuses == [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPROF]


MEMORY_BYTES = 4 << 30


@pytest.mark.skipif(sys.version_info[:2] != (3, 12), reason="4 GB of memory are touched under one interpreter only")
def test_a_fork_of_a_large_process_ends():
    # Copying the page tables of 4 GB takes tens of intervals. A fork that a tick interrupts begins again.
    program = """
import ctypes, mmap, os, sys, time, spprof
# Private: page tables of shared memory are not copied.
memory = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
# In huge pages there would be little to copy.
memory.madvise(mmap.MADV_NOHUGEPAGE)
ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1, len(memory))
spprof.start(interval_ms=1)
for _ in range(3):
    before = time.monotonic_ns()
    child = os.fork()
    if child == 0:
        os._exit(0)
    took_ns = time.monotonic_ns() - before
    assert os.waitpid(child, 0)[1] == 0
    print(took_ns)
profile = spprof.stop()
assert profile.sample_count > 0
"""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGESIZE") < MEMORY_BYTES * 3 // 2:
        pytest.skip("less than 6 GB of memory are free")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(MEMORY_BYTES)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    # That the case is the one meant: a fork takes longer than the interval.
    assert max(map(int, done.stdout.split())) > 1_000_000
