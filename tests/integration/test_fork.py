"""A fork: the parent goes on sampling, the child is free of the session and can begin its own."""

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

if sys.platform == "win32":
    pytest.skip("there is no fork", allow_module_level=True)

import spprof
from support import (
    EMULATOR_THREADS,
    INTERVAL_MS,
    Parking,
    ends_well,
    forked,
    frames_of,
    process_state,
    samples_of,
    spin,
)

# What a child of a threaded program may do is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


def only_in_parent():
    spin(0.1)


def only_in_child():
    spin(0.1)


def functions_of(profile):
    return {name for sample in profile.samples for _, name, _ in frames_of(sample)}


def test_the_child_is_not_profiled_and_the_parent_is():
    def child():
        assert not spprof.is_active()
        assert spprof.stats() is None
        with pytest.raises(RuntimeError, match="Profiler not running"):
            spprof.stop()
        state = process_state()
        assert state["timers"] == ""
        assert len(state["threads"]) == 1 + EMULATOR_THREADS

    spprof.start(interval_ms=INTERVAL_MS)
    spin(0.05)
    assert ends_well(forked(child))
    assert spprof.is_active()
    only_in_parent()
    profile = spprof.stop()

    assert "only_in_parent" in functions_of(profile)


def test_the_child_has_the_signals_that_the_program_had():
    signals = process_state()["signals"]
    seen = {}

    def child():
        seen["signals"] = process_state()["signals"]
        assert seen["signals"] == signals

    spprof.start(interval_ms=INTERVAL_MS)
    assert ends_well(forked(child))
    spprof.stop()


def test_the_child_makes_a_profile_of_its_own():
    def child():
        for _ in range(3):
            spprof.start(interval_ms=INTERVAL_MS)
            only_in_child()
            profile = spprof.stop()
            assert "only_in_child" in functions_of(profile)
            assert "only_in_parent" not in functions_of(profile)
            assert [thread.native_id for thread in profile.threads] == [os.getpid()]
            assert samples_of(profile, os.getpid())

    spprof.start(interval_ms=INTERVAL_MS)
    only_in_parent()
    assert ends_well(forked(child))
    only_in_parent()
    profile = spprof.stop()

    assert "only_in_parent" in functions_of(profile)
    assert "only_in_child" not in functions_of(profile)


def test_a_grandchild_too():
    def child():
        spprof.start(interval_ms=INTERVAL_MS)
        assert ends_well(forked(grandchild))
        only_in_child()
        assert "only_in_child" in functions_of(spprof.stop())

    def grandchild():
        assert not spprof.is_active()
        spprof.start(interval_ms=INTERVAL_MS)
        only_in_child()
        assert "only_in_child" in functions_of(spprof.stop())

    spprof.start(interval_ms=INTERVAL_MS)
    assert ends_well(forked(child))
    spprof.stop()


def test_a_fork_from_a_thread_among_others():
    parking = Parking()
    idle = threading.Thread(target=parking.park)
    idle.start()
    parking.wait_until_parked()
    running = [True]

    def busy():
        while running:
            pass

    worker = threading.Thread(target=busy)
    worker.start()
    spprof.start(interval_ms=1)

    def child():
        assert not spprof.is_active()
        spprof.start(interval_ms=1)
        only_in_child()
        profile = spprof.stop()
        assert [thread.native_id for thread in profile.threads] == [os.getpid()]

    outcomes = []
    forking = threading.Thread(target=lambda: outcomes.append(ends_well(forked(child))))
    forking.start()
    forking.join()
    running.clear()
    worker.join()
    parking.leave()
    idle.join()
    parking.close()
    profile = spprof.stop()

    assert outcomes == [True]
    assert samples_of(profile, parking.native_id)


def test_two_hundred_forks_end_and_sampling_goes_on():
    # A fork that takes longer than an interval starts over for ever if a tick interrupts it.
    ballast = [bytes(1000) for _ in range(100_000)]
    spprof.start(interval_ms=1)
    for _ in range(200):
        assert ends_well(forked(lambda: None))
    only_in_parent()
    profile = spprof.stop()

    assert len(ballast) == 100_000
    assert "only_in_parent" in functions_of(profile)


def work_in_process(number):
    if spprof.is_active():
        return "active"
    spin(0.02)
    return number * number


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    context = multiprocessing.get_context(method)
    spprof.start(interval_ms=1)
    with context.Pool(2) as pool:
        results = pool.map(work_in_process, range(8))
    only_in_parent()
    profile = spprof.stop()

    assert results == [number * number for number in range(8)]
    assert "only_in_parent" in functions_of(profile)


def test_subprocess():
    spprof.start(interval_ms=1)
    outputs = [
        subprocess.run(
            [sys.executable, "-S", "-c", "print(6 * 7)"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            preexec_fn=preexec,
        ).stdout
        for preexec in [None, os.getpid] * 5
    ]
    only_in_parent()
    profile = spprof.stop()

    assert outputs == ["42\n"] * 10
    assert "only_in_parent" in functions_of(profile)
