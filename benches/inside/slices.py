"""Runs one program in slices of the same work under several conditions in turn, and prints what each slice took.

`python slices.py PROGRAM SLICE_MS ROUNDS CONDITION…`: in each round every condition has one slice, in a new order. A
condition is a name of `conditions.make`. The answer is JSON on the last line.
"""

from __future__ import annotations

import gc
import importlib
import json
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "programs"))


def cpu_ns():
    """CPU time of the process, all its threads, from getrusage: the kernel's own sum at the moment of asking."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def calibrate(work, slice_ms):
    """How many times `work` fits into a slice."""
    work()
    best = float("inf")
    for _ in range(5):
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return max(1, round(slice_ms / 1e3 / best))


def repeat(work, times):
    for _ in range(times):
        work()


def main(program, slice_ms, rounds, names):
    import conditions

    work = importlib.import_module(program).work
    times = calibrate(work, slice_ms)
    rss_before = conditions.status_bytes("VmRSS")
    made = {name: conditions.make(name) for name in names}
    slices = []
    order = random.Random(1)
    for number in range(rounds + 1):
        turn = list(made)
        order.shuffle(turn)
        for name in turn:
            condition = made[name]
            gc.collect()
            condition.begin()
            # Everybody's caches, and the profiler's first samples, are not what is asked for.
            repeat(work, max(1, times // 8))
            condition.mark()
            cpu, wall = cpu_ns(), time.perf_counter_ns()
            repeat(work, times)
            cpu, wall = cpu_ns() - cpu, time.perf_counter_ns() - wall
            extra = condition.end(wall)
            # The first round is for the program itself to warm up.
            if number > 0:
                slices.append({"round": number, "condition": name, "cpu_ns": cpu, "wall_ns": wall, **extra})
    print(json.dumps({"times": times, "rss_before_bytes": rss_before, "slices": slices}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
