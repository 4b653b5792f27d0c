"""`<GC>` is the innermost frame of a thread while it collects garbage, and of no other."""

import gc
import threading
import time

import pytest
import spprof
from support import Parking, samples_of, spin

GC = ("", "<GC>", 0)


@pytest.fixture(autouse=True)
def no_collections_but_ours():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def make_cycles(count):
    """Objects that only a collection can look through; none is garbage."""
    kept = []
    for _ in range(count):
        cycle = []
        cycle.append(cycle)
        kept.append(cycle)
    return kept


def is_gc(sample):
    return bool(sample.frames) and (sample.frames[-1].filename, sample.frames[-1].function_name) == GC[:2]


def computing_samples(profile):
    """Samples that found the calling thread on CPU."""
    return [sample for sample in samples_of(profile, threading.get_native_id()) if sample.state.startswith("on-cpu")]


def collect_for(cpu_s):
    """Collects and computes by turns; returns the CPU time of each, ns."""
    collecting_ns = computing_ns = 0
    while collecting_ns + computing_ns < cpu_s * 1e9:
        begin = time.thread_time_ns()
        gc.collect()
        between = time.thread_time_ns()
        sum(range(200_000))
        collecting_ns += between - begin
        computing_ns += time.thread_time_ns() - between
    return collecting_ns, computing_ns


def test_the_share_of_collections_is_the_share_of_gc_frames():
    kept = make_cycles(50_000)
    spprof.start(interval_ms=1)
    collecting_ns, computing_ns = collect_for(1.0)
    profile = spprof.stop()
    del kept

    samples = samples_of(profile, threading.get_native_id())
    weighed = [sample for sample in samples if sample.cpu_ns]
    in_gc = [sample for sample in weighed if is_gc(sample)]
    share = sum(sample.cpu_ns for sample in in_gc) / sum(sample.cpu_ns for sample in weighed)
    expected = collecting_ns / (collecting_ns + computing_ns)
    assert 0.1 < expected < 0.99
    # A share seen by n samples has a standard deviation of sqrt(p (1 - p) / n); four of them, and what the two clock calls
    # and the session's own beginning and end take.
    deviation = (expected * (1 - expected) / len(weighed)) ** 0.5
    assert abs(share - expected) < 4 * deviation + 0.02
    for sample in in_gc:
        assert sample.frames[-2].function_name.endswith("collect_for")
        assert "gc" in sample.state.split(",")
    for sample in samples:
        assert is_gc(sample) == ("gc" in sample.state.split(","))
        assert GC[:2] not in [(frame.filename, frame.function_name) for frame in sample.frames[:-1]]


def test_without_collections_there_is_no_gc_frame():
    spprof.start(interval_ms=1)
    spin(0.3)
    profile = spprof.stop()

    samples = samples_of(profile, threading.get_native_id())
    assert len(samples) > 10
    assert not any(is_gc(sample) for sample in samples)


def test_a_finalizer_that_waits_lets_others_compute_without_gc_frames():
    parking = Parking()

    class Waits:
        def __del__(self):
            parking.park()

    def collect():
        garbage = Waits()
        garbage.itself = garbage
        del garbage
        gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    parking.wait_until_parked()
    spprof.start(interval_ms=1)
    while len(computing_samples(spprof.snapshot())) <= 10:
        spin(0.05)
    profile = spprof.stop()
    parking.leave()
    thread.join()
    parking.close()

    waiting = samples_of(profile, thread.native_id)
    assert waiting
    assert not any(is_gc(sample) for sample in waiting), "it is in the finalizer"
    assert not any(is_gc(sample) for sample in computing_samples(profile))


def test_a_finalizer_written_in_python_is_no_collector():
    class Computes:
        def __del__(self):
            spin(0.2)

    def collect():
        garbage = Computes()
        garbage.itself = garbage
        del garbage
        gc.collect()

    spprof.start(interval_ms=1)
    collect()
    profile = spprof.stop()

    finalizing = [
        sample
        for sample in samples_of(profile, threading.get_native_id())
        if any(frame.function_name.endswith("__del__") for frame in sample.frames)
    ]
    assert len(finalizing) > 10
    assert not any(is_gc(sample) for sample in finalizing)


def test_nothing_is_left_in_the_list_of_callbacks():
    before = list(gc.callbacks)
    spprof.start()
    spprof.stop()
    assert gc.callbacks == before
