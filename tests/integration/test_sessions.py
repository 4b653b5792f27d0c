"""A session leaves nothing behind, and the next is like the first."""

import sys
import threading

import pytest
import spprof
from support import (
    MOST_GROWTH_BYTES,
    process_state,
    resident_bytes,
    sample_clock_ns,
    samples_of,
    spin,
    thread_of,
)

SESSIONS = 20

#: CPU time of each session, s.
SESSION_S = 0.3


def test_twenty_sessions_are_alike_and_leave_nothing():
    native_id = threading.get_native_id()
    before = process_state()
    tick_rates, sample_rates, resident = [], [], []
    for _ in range(SESSIONS):
        spprof.start(interval_ms=1)
        spin(SESSION_S)
        profile = spprof.stop()

        thread = thread_of(profile, native_id)
        # On a machine that others use as well the thread does not run at each tick: those that it missed are counted, and
        # one that waits is taken as soon as it runs. So it is ticks that are as many as milliseconds of wall time, while
        # samples are as many as milliseconds of CPU time, or more.
        tick_rates.append((thread.sample_count + profile.counters["missed_ticks"]) / (thread.wall_ns / 1e9))
        sample_rates.append(thread.sample_count / (thread.cpu_ns / 1e9))
        del profile, thread
        assert process_state() == before
        assert not spprof.is_active()
        assert spprof.stats() is None
        resident.append(resident_bytes())

    if sys.platform != "win32":
        # What rate Wine reaches says nothing.
        assert tick_rates == pytest.approx([1000] * SESSIONS, rel=0.1)
        assert min(sample_rates) > 900
    assert resident[19] - resident[4] <= MOST_GROWTH_BYTES


def test_a_thousand_empty_sessions_leave_nothing():
    for _ in range(20):
        spprof.start()
        spprof.stop()
    before, resident = process_state(), resident_bytes()
    for _ in range(1000):
        spprof.start(interval_ms=0.1)
        profile = spprof.stop()
        assert profile.interval_ms == 0.1
    del profile

    assert process_state() == before
    assert resident_bytes() - resident <= MOST_GROWTH_BYTES


def test_sessions_in_turn_from_several_threads():
    before = process_state()
    for _ in range(5):
        for action in (lambda: spprof.start(interval_ms=1), lambda: spin(0.02), spprof.stop):
            thread = threading.Thread(target=action)
            thread.start()
            thread.join()

    assert not spprof.is_active()
    assert process_state() == before


def test_every_sample_lies_within_its_session():
    for _ in range(3):
        before_ns = sample_clock_ns()
        spprof.start(interval_ms=1)
        spin(0.05)
        profile = spprof.stop()
        after_ns = sample_clock_ns()

        times = [sample.timestamp_ns for sample in profile.samples]
        assert times == sorted(times)
        assert before_ns <= times[0] <= times[-1] <= after_ns


def test_while_paused_nothing_is_sampled_and_no_time_is_counted():
    native_id = threading.get_native_id()
    spprof.start(interval_ms=1)
    spin(0.05)
    spprof.pause()
    before = spprof.snapshot()
    spin(0.2)
    after = spprof.snapshot()
    spprof.resume()
    spin(0.05)
    profile = spprof.stop()

    def totals(profile):
        samples = samples_of(profile, native_id)
        return len(samples), sum(sample.cpu_ns for sample in samples), sum(sample.wall_ns for sample in samples)

    assert totals(after) == totals(before)
    assert totals(profile)[0] > totals(before)[0]
    # 0.1 s were worked outside the pause, and 0.2 s within it.
    assert 0.09e9 < totals(profile)[1] < 0.15e9
