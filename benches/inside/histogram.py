"""Durations of signal handlers as the native code counts them, in ns."""

from __future__ import annotations

import ctypes
import time

DETAIL_BITS = 5


def smallest_of(bucket):
    """The smallest duration of a bucket, cycles; see crates/capture/src/cycle_histogram.rs."""
    detail = 1 << DETAIL_BITS
    if bucket < 2 * detail:
        return bucket
    power, rest = divmod(bucket, detail)
    return (detail + rest) << (power - 1)


def cycles_per_ns(counter):
    """The rate of the processor's counter, over a tenth of a second."""
    cycles, ns = counter(), time.monotonic_ns()
    while time.monotonic_ns() - ns < 100_000_000:
        pass
    return (counter() - cycles) / (time.monotonic_ns() - ns)


class Durations:
    """The histogram behind `PREFIX_durations` of a library."""

    def __init__(self, buckets, take, counter):
        self._counts = (ctypes.c_uint64 * buckets())()
        self._take = take
        self._rate = cycles_per_ns(counter)

    def take(self):
        """Count, quantiles and maximum since the last call, ns. Each duration counts as its bucket's upper end."""
        longest = self._take(self._counts)
        counts = list(self._counts)
        total = sum(counts)
        found = {"count": total, "max_ns": longest / self._rate}
        for name, share in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99)):
            seen = 0
            for bucket, count in enumerate(counts):
                seen += count
                if total and seen >= share * total:
                    found[name] = smallest_of(bucket + 1) / self._rate
                    break
        found["histogram"] = [
            [round(smallest_of(bucket) / self._rate, 1), count] for bucket, count in enumerate(counts) if count
        ]
        return found
