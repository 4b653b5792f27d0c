"""The ways to tick a thread on CPU, compared: samples got of those asked for, and CPU time added."""

from __future__ import annotations

from typing import Any

from .build import Built
from .numbers import Effort
from .slices import measure

WAYS = {
    "floor:cpu-clock": "`timer_create` on the thread's CPU clock, periodic; empty handler",
    "floor:periodic": "`timer_create` on CLOCK_MONOTONIC, periodic; empty handler: the floor",
    "floor:one-shot": "the same, one-shot, set again by the handler to a random place in the next interval",
    "floor:sender": "a thread that sleeps to absolute deadlines and sends with `rt_tgsigqueueinfo`; empty handler",
    "spprof": "spprof: one-shot as above, with all it does",
}
"""By the condition's name without the interval."""

INTERVALS_MS = (10, 1, 0.1)


def compare(built: Built, effort: Effort) -> list[dict[str, Any]]:
    """A row for each way and interval; at every interval all ways share one run."""
    rows: list[dict[str, Any]] = []
    for interval_ms in INTERVALS_MS:
        conditions = [f"{way}:{interval_ms:g}" for way in WAYS]
        slices = measure(
            built.python, "recursion", conditions, rounds=max(3, effort.rounds // 3), slice_ms=effort.slice_ms
        )
        for way, condition in zip(WAYS, conditions):
            rows.append(
                {
                    "way": way,
                    "interval_ms": interval_ms,
                    "got": vars(slices.got_of_asked(condition)),
                    "cpu": vars(slices.added(condition)),
                    "wall": vars(slices.added(condition, "wall_ns")),
                    "noise": vars(slices.noise()),
                }
            )
    return rows
