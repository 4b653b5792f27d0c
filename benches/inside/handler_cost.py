"""N3: how long the handler takes at several stack depths, and an empty one beside it. Needs the build for benchmarks.

`python handler_cost.py SECONDS INTERVAL_MS DEPTH…`; depth 0 is the empty handler.
"""

from __future__ import annotations

import ctypes
import functools
import json
import sys
import time

import conditions
import spprof
from histogram import Durations

sys.setrecursionlimit(10_000)

#: What `floor_part_ns` measures.
PARTS = (
    "`clock_gettime(CLOCK_MONOTONIC)`",
    "`clock_gettime(CLOCK_THREAD_CPUTIME_ID)`",
    "`timer_settime`, later than one that was set",
    "a system call that does nothing",
    "`timer_settime`, the next that the processor waits for",
)

#: The parts of our handler, in the order of crates/capture/src/handler_timing.rs.
HANDLER_PARTS = ("whole", "walk", "timer", "bare_walk")


def spin(seconds, native=None):
    """With our library, every second call of the handler walks the bare way: here nothing calls or returns meanwhile."""
    if native is not None:
        native.spprof_bench_walk_bare(True)
    until = time.perf_counter() + seconds
    total = 0
    while time.perf_counter() < until:
        for number in range(1000):
            total += number * number
    if native is not None:
        native.spprof_bench_walk_bare(False)
    return total


def at_depth(depth, seconds, native=None):
    """Spins with `depth` Python frames on the stack."""
    frame, here = sys._getframe(), 0
    while frame is not None:
        frame, here = frame.f_back, here + 1

    def down(more):
        return spin(seconds, native) if more == 0 else down(more - 1)

    # `down` is entered once more than it goes down, and `spin` is the innermost.
    return down(depth - here - 2)


def native_library():
    library = ctypes.CDLL(spprof._native.__file__)
    library.spprof_bench_buckets.restype = ctypes.c_size_t
    library.spprof_bench_cycles.restype = ctypes.c_uint64
    library.spprof_bench_handler_durations.restype = ctypes.c_uint64
    library.spprof_bench_walk_bare.argtypes = [ctypes.c_bool]
    library.spprof_bench_watch_threads.restype = ctypes.c_uint64
    library.spprof_bench_watch_threads.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint64]
    library.spprof_bench_handler_durations.argtypes = [ctypes.c_size_t, ctypes.c_void_p]
    return library


def main(seconds, interval_ms, depths):
    native, floor = native_library(), conditions.floor_library()
    ours = {
        name: Durations(
            native.spprof_bench_buckets,
            functools.partial(native.spprof_bench_handler_durations, part),
            native.spprof_bench_cycles,
        )
        for part, name in enumerate(HANDLER_PARTS)
    }
    empty = Durations(floor.floor_buckets, floor.floor_handler_durations, floor.floor_cycles)
    found = []
    for depth in depths:
        if depth == 0:
            floor.floor_start(conditions.WAYS["periodic"], int(interval_ms * 1e6))
            spin(seconds)
            floor.floor_stop()
            found.append({"depth": depth, **empty.take()})
            continue
        spprof.start(interval_ms=interval_ms)
        # Names are read and pages touched the first time.
        at_depth(depth, 0.05)
        for part in ours.values():
            part.take()
        at_depth(depth, seconds, native)
        parts = {name: part.take() for name, part in ours.items()}
        profile = spprof.stop()
        seen = max(len(sample.frames) for sample in profile.samples[-20:])
        found.append({"depth": depth, "frames": seen, **parts.pop("whole"), "parts": parts})
    parts = {
        "a signal to oneself: call, delivery, empty handler, return": [floor.floor_signal_ns(500) for _ in range(200)]
    }
    for part, name in enumerate(PARTS):
        parts[name] = [floor.floor_part_ns(part, 50) for _ in range(200)]
    print(json.dumps({"depths": found, "parts_ns": parts}))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), [int(word) for word in sys.argv[3:]])
