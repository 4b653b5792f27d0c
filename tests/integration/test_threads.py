"""Threads are found by themselves, whoever starts them and whenever, and keep their names after they have ended."""

import _thread
import ctypes
import hashlib
import sys
import threading
import time

import pytest
import spprof
from support import (
    CPU_CLOCK_STEP_NS,
    INTERVAL_MS,
    frames_of,
    not_on_windows,
    process_state,
    samples_of,
    spin,
    thread_of,
)

#: Enough of a thread's CPU for samples of it, s: ten times as long as it may take the collector to find it.
WORK_S = 0.1


class Worker:
    """A body for a thread: works once it is told to, and says so; it ends when it is told to."""

    def __init__(self):
        self.go = threading.Event()
        self.worked = threading.Event()
        self.leave = threading.Event()
        self.ended = threading.Event()
        self.begun = threading.Event()
        self.native_id = None

    def body(self):
        self.native_id = threading.get_native_id()
        self.python_id = threading.get_ident()
        self.begun.set()
        self.go.wait()
        spin(WORK_S)
        self.worked.set()
        self.leave.wait()
        self.ended.set()


def start_by_threading(worker):
    thread = threading.Thread(target=worker.body, name="by threading")
    thread.start()
    return thread.join


def start_by_low_level(worker):
    _thread.start_new_thread(worker.body, ())
    return worker.ended.wait


class ThreadOfC:
    """A thread that C makes and that enters Python by a callback."""

    def __init__(self, body):
        self._entry = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: body())
        if sys.platform == "win32":
            self._library = ctypes.CDLL("kernel32")
            self._library.CreateThread.restype = ctypes.c_void_p
            self._handle = ctypes.c_void_p(
                self._library.CreateThread(None, ctypes.c_size_t(0), self._entry, None, 0, None)
            )
            assert self._handle
        else:
            self._library = ctypes.CDLL(None)
            self._handle = ctypes.c_ulong()
            assert self._library.pthread_create(ctypes.byref(self._handle), None, self._entry, None) == 0

    def join(self):
        if sys.platform == "win32":
            assert self._library.WaitForSingleObject(self._handle, -1) == 0
            assert self._library.CloseHandle(self._handle)
        else:
            assert self._library.pthread_join(self._handle, None) == 0


def start_by_c(worker):
    return ThreadOfC(worker.body).join


def name_this_thread(name):
    """Gives the calling thread a name, as C does it."""
    if sys.platform == "win32":
        kernel32 = ctypes.CDLL("kernel32")
        kernel32.GetCurrentThread.restype = ctypes.c_void_p
        # A refusal is raised as OSError.
        kernel32.SetThreadDescription.restype = ctypes.HRESULT
        kernel32.SetThreadDescription(ctypes.c_void_p(kernel32.GetCurrentThread()), ctypes.c_wchar_p(name))
    else:
        assert ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0) == 0  # PR_SET_NAME


def spinning_samples(profile, native_id):
    """Samples of a thread at its work. It has samples without frames as well, of before it came to Python."""
    return [
        sample
        for sample in samples_of(profile, native_id)
        if sample.frames and sample.frames[-1].function_name == "spin"
    ]


STARTERS = [start_by_threading, start_by_low_level, start_by_c]


@pytest.mark.parametrize("when", ["before start", "after start"])
@pytest.mark.parametrize("starter", STARTERS, ids=lambda starter: starter.__name__)
def test_a_thread_is_found_without_registration(starter, when):
    worker = Worker()
    if when == "before start":
        join = starter(worker)
        worker.begun.wait()
        spprof.start(interval_ms=INTERVAL_MS)
    else:
        spprof.start(interval_ms=INTERVAL_MS)
        join = starter(worker)
        worker.begun.wait()
    worker.go.set()
    worker.worked.wait()
    worker.leave.set()
    join()
    profile = spprof.stop()

    thread = thread_of(profile, worker.native_id)
    assert thread.python_id == worker.python_id
    assert not thread.is_main
    if starter is start_by_threading:
        assert thread.name == "by threading"
    else:
        # `threading` does not know it, and it bears the name of the program.
        assert thread.name == f"Thread-{worker.native_id}"
    spinning = spinning_samples(profile, worker.native_id)
    assert spinning
    assert all(frames_of(sample)[-2][1].endswith("body") for sample in spinning)
    assert all(sample.thread_name == thread.name for sample in spinning)


def test_short_threads_that_nobody_announced_are_found_while_another_works():
    """The thread that works is never parked, so nothing but its ticks makes the collector look for who was born.

    A birth is seen in a tick, and makes it look once an interval at most: a thread is found after two of them. In rounds of 50 ms
    no more than 16 of these would be.
    """
    data = bytes(1 << 20)
    threads = 20
    cpu_ns = {}
    ended = threading.Event()

    def hash_for(seconds):
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            hashlib.sha256(data)

    def body(number):
        hash_for(0.04)
        if number < threads:
            _thread.start_new_thread(body, (number + 1,))
        # To start a thread is work of this one.
        cpu_ns[threading.get_native_id()] = time.thread_time_ns()
        if len(cpu_ns) == threads:
            ended.set()

    spprof.start(interval_ms=INTERVAL_MS)
    _thread.start_new_thread(body, (1,))
    while not ended.is_set():
        hash_for(0.005)
    profile = spprof.stop()

    found = {thread.native_id for thread in profile.threads}
    assert found >= set(cpu_ns), f"of {threads} threads {len(set(cpu_ns) - found)} were not seen"
    # Of a thread that ends unannounced nobody knows what it used since its last tick: an interval, or two if a tick is late.
    sampled_ns = sum(sample.cpu_ns for native_id in cpu_ns for sample in samples_of(profile, native_id))
    tolerance_ns = threads * CPU_CLOCK_STEP_NS
    assert sampled_ns <= sum(cpu_ns.values()) + tolerance_ns
    assert sampled_ns >= sum(cpu_ns.values()) - threads * 2 * INTERVAL_MS * 1_000_000 - tolerance_ns


def test_a_thread_of_c_has_the_name_that_it_gave_itself():
    worker = Worker()

    def body():
        name_this_thread("from C")
        worker.body()

    spprof.start(interval_ms=INTERVAL_MS)
    thread = ThreadOfC(body)
    worker.go.set()
    worker.worked.wait()
    assert thread_of(spprof.snapshot(), worker.native_id).name == "from C"
    worker.leave.set()
    thread.join()
    assert thread_of(spprof.stop(), worker.native_id).name == "from C"


def test_all_kinds_at_once():
    spprof.start(interval_ms=INTERVAL_MS)
    workers = [Worker() for _ in range(4 * len(STARTERS))]
    joins = [STARTERS[index % len(STARTERS)](worker) for index, worker in enumerate(workers)]
    for worker in workers:
        worker.go.set()
    for worker in workers:
        worker.worked.wait()
        worker.leave.set()
    for join in joins:
        join()
    profile = spprof.stop()

    ids = [thread.native_id for thread in profile.threads]
    for worker in workers:
        assert ids.count(worker.native_id) == 1
        assert spinning_samples(profile, worker.native_id)
    (main,) = [thread for thread in profile.threads if thread.is_main]
    assert (main.name, main.native_id) == ("MainThread", threading.main_thread().native_id)


@pytest.mark.parametrize("when", ["before start", "before the thread", "in the thread", "after its work"])
def test_a_thread_that_is_renamed_has_its_last_name(when):
    worker = Worker()
    thread = threading.Thread(target=worker.body, name="first name")
    if when == "before start":
        thread.name = "last name"
        thread.start()
        worker.begun.wait()
        spprof.start(interval_ms=INTERVAL_MS)
    else:
        spprof.start(interval_ms=INTERVAL_MS)
        if when == "before the thread":
            thread.name = "last name"
        thread.start()
        worker.begun.wait()
    if when == "in the thread":
        thread.name = "last name"
    worker.go.set()
    worker.worked.wait()
    if when == "after its work":
        thread.name = "last name"
    worker.leave.set()
    thread.join()
    profile = spprof.stop()

    assert thread_of(profile, worker.native_id).name == "last name"
    assert {sample.thread_name for sample in samples_of(profile, worker.native_id)} == {"last name"}


def test_names_of_every_kind():
    names = ["größe", "测试", "😀", "a;b\nc", "x" * 300, "", " "]
    spprof.start(interval_ms=INTERVAL_MS)
    ids = []
    for name in names:
        worker = Worker()
        worker.go.set()
        worker.leave.set()
        thread = threading.Thread(target=worker.body)
        # The constructor takes an empty name for none.
        thread.name = name
        thread.start()
        thread.join()
        ids.append(worker.native_id)
    profile = spprof.stop()

    by_id = {}
    for thread in profile.threads:
        by_id.setdefault(thread.native_id, []).append(thread.name)
    for name, native_id in zip(names, ids):
        assert name in by_id[native_id]


def test_two_hundred_short_lived_threads_keep_their_names_and_leave_nothing():
    before = process_state()
    spprof.start(interval_ms=INTERVAL_MS)
    expected = set()

    def work(name):
        spin(WORK_S / 10)
        expected.add((name, threading.get_native_id()))

    for index in range(200):
        thread = threading.Thread(target=work, args=(f"short {index}",), name=f"short {index}")
        thread.start()
        thread.join()
    # The last one may be the kernel's for a moment more.
    for _ in range(1000):
        stats = spprof.stats()
        if stats.threads == 1:
            break
        spin(0.001)
    profile = spprof.stop()

    assert len(expected) == 200
    assert expected <= {(thread.name, thread.native_id) for thread in profile.threads}
    assert stats.threads == 1
    assert stats.threads_refused == 0
    assert stats.threads_without_timer == 0
    assert process_state() == before


@not_on_windows("each is suspended once an interval, and under Wine that of 200 takes longer than an interval")
def test_two_hundred_threads_at_the_same_time():
    before = process_state()
    spprof.start(interval_ms=10)
    gate = threading.Event()
    ids = {}

    def wait(index):
        ids[index] = threading.get_native_id()
        gate.wait()

    threads = [threading.Thread(target=wait, args=(index,), name=f"idle {index}") for index in range(200)]
    for thread in threads:
        thread.start()
    while len(ids) < 200:
        threading.Event().wait(0.001)
    spin(0.1)
    gate.set()
    for thread in threads:
        thread.join()
    profile = spprof.stop()

    names = {thread.native_id: thread.name for thread in profile.threads}
    assert {index: names[native_id] for index, native_id in ids.items()} == {
        index: f"idle {index}" for index in range(200)
    }
    assert process_state() == before
