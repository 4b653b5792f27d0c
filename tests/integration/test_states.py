"""What a sample says of its thread: on CPU or blocked, and what it has to do with the GIL."""

import hashlib
import socket
import sys
import sysconfig
import threading
import time

import pytest
import spprof
from support import not_on_windows, samples_of, spin, wait_until_blocked

HAS_GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")

#: More than any test lasts, s.
FOREVER = 600


class Subject:
    """A thread that is in one state until it is told to leave it."""

    def __init__(self, enter, leave):
        self._leave = leave
        self.thread = threading.Thread(target=enter)
        self.thread.start()

    def profile(self, wall_s=0.3):
        """The samples of the thread while a session ran and the main thread slept."""
        spprof.start(interval_ms=1)
        time.sleep(wall_s)
        profile = spprof.stop()
        self.leave()
        return samples_of(profile, self.thread.native_id)

    def leave(self):
        """Lets the thread end, and waits until it has."""
        self._leave()
        self.thread.join()


def spinner():
    """A thread that computes in Python until it is told to leave off."""
    running = [True]

    def enter():
        while running:
            pass

    return Subject(enter, running.clear)


@pytest.fixture
def waiting():
    """Threads that wait for something else than the GIL: a lock with a timeout, a socket, and an event without one."""
    lock = threading.Lock()
    lock.acquire()
    here, there = socket.socketpair()
    event = threading.Event()
    subjects = [
        Subject(lambda: lock.acquire(timeout=FOREVER), lock.release),
        Subject(lambda: there.recv(1), lambda: here.send(b".")),
        Subject(event.wait, event.set),
    ]
    for subject in subjects:
        wait_until_blocked(subject.thread)
    yield subjects
    for subject in subjects:
        subject.leave()
    here.close()
    there.close()


def share_of(samples, *states):
    """The share of wall time that the samples say was spent in one of the states."""
    total_ns = sum(sample.wall_ns for sample in samples)
    return sum(sample.wall_ns for sample in samples if sample.state in states) / total_ns


def detached(running):
    return f"{running},no-gil" if HAS_GIL else running


#: What such a thread may be said to be besides: on Windows a wait for a lock of the system's may be for one in the GIL.
OR_BLOCKED = ("blocked",) if sys.platform == "win32" else ()

#: The share of time that threads which compute are seen to do so or to wait for the GIL. Under Wine it takes calls of another
#: process to let it go and to wake one that waits, and whoever makes one is blocked, with the GIL or without.
LEAST = 0.6 if sys.platform == "win32" else 1

#: What a blocked thread may be said to be besides: in Wine one that is suspended works for that itself, which is counted in steps
#: of 10 ms.
OR_SUSPENDED = ("on-cpu,no-gil",) if sys.platform == "win32" else ()


def test_spinning():
    samples = spinner().profile()
    if HAS_GIL:
        # The main thread asks for the GIL when it wakes, and this one waits until that has stopped the session.
        assert share_of(samples, "on-cpu,gil", "on-cpu,no-gil", "blocked,waits-for-gil", *OR_BLOCKED) >= LEAST
        assert share_of(samples, "on-cpu,gil") > 0.7
    else:
        assert share_of(samples, "on-cpu") > 0.9


def test_sleeping_and_waiting_for_a_lock_or_a_socket(waiting):
    slept_s = 0.2
    spprof.start(interval_ms=1)
    time.sleep(slept_s)
    profile = spprof.stop()

    for subject in waiting:
        samples = samples_of(profile, subject.thread.native_id)
        assert samples
        assert share_of(samples, detached("blocked"), *OR_BLOCKED) == 1
        assert sum(sample.cpu_ns for sample in samples) == 0
    # The main thread slept; to start and to stop takes it as long as it may.
    samples = samples_of(profile, threading.get_native_id())
    blocked_ns = sum(sample.wall_ns for sample in samples if sample.state in (detached("blocked"), *OR_BLOCKED))
    assert blocked_ns > 0.8 * slept_s * 1e9


@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL")
def test_waiting_for_the_gil():
    subject = spinner()
    spprof.start(interval_ms=1)
    spin(0.4)
    profile = spprof.stop()
    subject.leave()

    samples = samples_of(profile, subject.thread.native_id)
    # Two rivals take turns of 5 ms. One that waits wakes every 5 ms to ask again: where others want the processor it is then
    # ready to run for a while, without the GIL. Whenever it is blocked, it is for the GIL.
    assert share_of(samples, "on-cpu,gil", "blocked,waits-for-gil", "on-cpu,no-gil") > 0.98 * LEAST
    assert share_of(samples, "on-cpu,gil") > 0.1
    assert share_of(samples, "blocked,waits-for-gil") > 0.1


@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL")
def test_waiting_for_something_else_while_others_wait_for_the_gil(waiting):
    busy = spinner()
    spprof.start(interval_ms=1)
    spin(0.4)
    profile = spprof.stop()
    busy.leave()

    # Both of those that compute had it.
    for native_id in (busy.thread.native_id, threading.get_native_id()):
        assert share_of(samples_of(profile, native_id), "on-cpu,gil") > 0
    for subject in waiting:
        samples = samples_of(profile, subject.thread.native_id)
        assert share_of(samples, "blocked,no-gil", *OR_SUSPENDED) == 1


def test_computing_without_the_gil():
    running = [True]
    data = b"\0" * (64 << 20)

    def enter():
        while running:
            hashlib.sha256(data)

    samples = Subject(enter, running.clear).profile(0.4)
    assert share_of(samples, detached("on-cpu")) > 0.9


@pytest.mark.skipif(HAS_GIL, reason="this interpreter has a GIL")
def test_free_threads_compute_at_the_same_time():
    subjects = [spinner() for _ in range(2)]
    spprof.start(interval_ms=1)
    time.sleep(0.3)
    profile = spprof.stop()
    for subject in subjects:
        subject.leave()
        assert share_of(samples_of(profile, subject.thread.native_id), "on-cpu") > 0.9


def context_switches(native_id):
    """How often the system has put the thread to sleep or aside since it began."""
    with open(f"/proc/self/task/{native_id}/status") as status:
        return [int(line.split()[1]) for line in status if "ctxt_switches" in line]


@not_on_windows("every thread is suspended once an interval there")
def test_idle_threads_are_left_alone():
    event = threading.Event()
    idle = [threading.Thread(target=event.wait, args=(FOREVER,)) for _ in range(95)]
    running = [True]

    def compute():
        while running:
            pass

    busy = [threading.Thread(target=compute) for _ in range(5)]
    for thread in idle + busy:
        thread.start()
    for thread in idle:
        wait_until_blocked(thread)
    spprof.start(interval_ms=10)
    before = {thread: context_switches(thread.native_id) for thread in idle}
    time.sleep(1)
    after = {thread: context_switches(thread.native_id) for thread in idle}
    profile = spprof.stop()
    running.clear()
    event.set()
    for thread in idle + busy:
        thread.join()

    # A signal would have woken them.
    assert after == before
    # Once for all: on a slow machine the busy ones have many samples.
    by_thread = {}
    for sample in profile.samples:
        by_thread.setdefault(sample.thread_id, []).append(sample)
    for thread in idle:
        samples = by_thread[thread.native_id]
        assert len(samples) == 1
        assert samples[0].state == detached("blocked")
    # At most one tick and one look an interval for each thread that may run, the main thread among them, and one at start.
    duration_s = profile.total_duration_ms / 1000
    taken = sum(thread.sample_count for thread in profile.threads) - len(idle)
    assert taken <= 6 * (2 * duration_s * 100 + 2)
