"""Paired slices: the same work with and without, in turn, inside one process."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .build import INSIDE, last_line
from .estimates import Estimate, median_of

BARE = ("off", "off-again")
"""The two conditions without anything: what the others are compared with, and with each other."""


class Slices:
    """The slices of one program."""

    def __init__(self, slices: Sequence[dict[str, Any]], rss_before_bytes: int = 0) -> None:
        self.slices = slices
        self.rss_before_bytes = rss_before_bytes
        """Resident memory of the process with the program in it and no profiler."""
        self._rounds: dict[int, dict[str, dict[str, Any]]] = {}
        for each in slices:
            self._rounds.setdefault(each["round"], {})[each["condition"]] = each

    def of(self, condition: str) -> list[dict[str, Any]]:
        """The slices under a condition."""
        return [each for each in self.slices if each["condition"] == condition]

    def added(self, condition: str, clock: str = "cpu_ns") -> Estimate:
        """What the condition adds to the clock, in per cent of the work: by round, against the mean of the bare slices."""
        return median_of(self._added(condition, clock))

    def noise(self, clock: str = "cpu_ns") -> Estimate:
        """The same between the two bare conditions: what nothing looks like."""
        first, second = BARE
        return median_of([100 * (of[second][clock] / of[first][clock] - 1) for of in self._rounds.values()])

    def added_over(self, condition: str, other: str) -> Estimate:
        """How much more CPU time one condition adds than another, in percentage points, by round."""
        pairs = zip(self._added(condition, "cpu_ns"), self._added(other, "cpu_ns"))
        return median_of([one - two for one, two in pairs])

    def _added(self, condition: str, clock: str) -> list[float]:
        found = []
        for of in self._rounds.values():
            bare = statistics.fmean(of[name][clock] for name in BARE)
            found.append(100 * (of[condition][clock] / bare - 1))
        return found

    def got_of_asked(self, condition: str) -> Estimate:
        """Samples taken, in per cent of those asked for, over all slices; the interval is that of single slices."""
        slices = self.of(condition)
        each = [100 * one["samples"] / one["asked"] for one in slices]
        total = 100 * sum(one["samples"] for one in slices) / sum(one["asked"] for one in slices)
        spread = median_of(each)
        return Estimate(total, min(total, spread.low), max(total, spread.high))

    def per_second(self, condition: str, figure: str) -> float:
        """A figure's sum by second of the measured time."""
        slices = self.of(condition)
        return float(sum(one[figure] for one in slices) / sum(one["wall_ns"] for one in slices) * 1e9)


def measure(
    python: Path,
    program: str,
    conditions: Sequence[str],
    *,
    rounds: int,
    slice_ms: float,
    prefix: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
    seconds: float = 900,
) -> Slices:
    """Runs `program` of benches/programs under `conditions`, the bare ones included."""
    command = [*(prefix or (str(python),)), INSIDE / "slices.py", program, slice_ms, rounds, *BARE, *conditions]
    found = json.loads(last_line(command, seconds, more))
    return Slices(found["slices"], found["rss_before_bytes"])
