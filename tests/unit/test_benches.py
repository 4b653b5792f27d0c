"""What the benchmarks conclude from what they measure."""

import pathlib
import random
import sys

import pytest

BENCHES = pathlib.Path(__file__).parent.parent.parent / "benches"
sys.path[:0] = [str(BENCHES), str(BENCHES / "inside")]

import histogram  # noqa: E402
import peer_conditions  # noqa: E402
from harness import estimates, render  # noqa: E402
from harness.slices import Slices  # noqa: E402


def test_buckets_begin_where_the_native_code_puts_durations():
    # crates/capture/src/cycle_histogram.rs: single cycles to 63, then 32 buckets for each power of two.
    begins = [histogram.smallest_of(bucket) for bucket in (0, 31, 32, 63, 64, 65, 95, 96, 97)]
    assert begins == [0, 31, 32, 63, 64, 66, 126, 128, 132]


def test_a_histogram_gives_the_quantiles_of_what_was_counted():
    counts = [0] * 200
    counts[10], counts[20], counts[64] = 50, 45, 5
    cycles = iter(range(0, 10**12, 10**6))

    def take(out):
        out[:] = counts
        return 65

    durations = histogram.Durations(lambda: 200, take, lambda: next(cycles))
    durations._rate = 1.0
    found = durations.take()
    assert (found["count"], found["max_ns"]) == (100, 65)
    assert (found["p50_ns"], found["p90_ns"], found["p99_ns"]) == (11, 21, 66)
    assert found["histogram"] == [[10, 50], [20, 45], [64, 5]]


def made_up_slices(rounds=30):
    """A machine that gets slower by and by, a profiler that costs 3 %, and one that costs 5 %."""
    draw = random.Random(5)
    slices = []
    for number in range(rounds):
        base = 100_000_000 * (1 + number / 50)
        for condition, factor in (("off", 1), ("off-again", 1), ("one", 1.03), ("other", 1.05)):
            noise = draw.gauss(1, 0.001)
            slices.append({"round": number, "condition": condition, "cpu_ns": base * factor * noise, "wall_ns": 1e8})
    return Slices(slices)


def test_paired_slices_find_what_a_drifting_machine_hides():
    slices = made_up_slices()
    for estimate, truth in (
        (slices.added("one"), 3),
        (slices.added("other"), 5),
        (slices.added_over("other", "one"), 2),
        (slices.noise(), 0),
    ):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.value == pytest.approx(truth, abs=0.15)


def test_samples_got_of_asked_are_those_of_all_slices_together():
    slices = Slices(
        [
            {"round": 1, "condition": "one", "samples": 9, "asked": 10.0},
            {"round": 2, "condition": "one", "samples": 30, "asked": 30.0},
        ]
    )
    got = slices.got_of_asked("one")
    assert (got.value, got.low, got.high) == (97.5, 90, 100)


def test_the_interval_of_a_median_holds_it_and_is_the_same_each_time():
    values = [float(number) for number in range(101)]
    estimate = estimates.median_of(values)
    assert estimate == estimates.median_of(values)
    assert estimate.value == 50
    # By order statistics the interval is from the 41st to the 61st of the 101; resampling finds it to a few.
    assert 37 <= estimate.low <= 44
    assert 56 <= estimate.high <= 63


def test_austin_s_file_is_read():
    def integer(value):
        assert value < 64
        return bytes([value])

    def text(words):
        return words.encode() + b"\0"

    data = b"MOJ" + integer(3) + b"\1" + text("mode") + text("wall")
    for key, name in ((1, "file.py"), (2, "outer"), (3, "inner")):
        data += b"\x0b" + integer(key) + text(name)
    for key, scope in ((10, 2), (11, 3)):
        data += b"\3" + integer(key) + integer(1) + integer(scope) + 4 * integer(7)
    stack = b"\2" + integer(5) + integer(0) + text("4b20")
    data += stack + b"\5" + integer(10) + b"\5" + integer(11) + b"\x09" + integer(40)
    # A number of two bytes: 6 bits, then 7.
    data += stack + b"\5" + integer(10) + b"\x09" + bytes([0x80 | 5, 2])
    assert peer_conditions.read_mojo(data) == {"inner": 40, "outer": 5 + (2 << 6)}


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1234.5, "1,234"), (12.34, "12.3"), (0.5, "0.50"), (-0.0123, "-0.012")]
)
def test_figures_have_the_digits_that_count(value, shown):
    assert render.figure(value) == shown
