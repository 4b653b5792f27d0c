"""The numbers of the contract, and a measured one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .estimates import Estimate

NUMBERS: dict[str, tuple[str, str, str]] = {
    "N1": ("CPU time added at 10 ms, one thread on CPU", "< 1 %", "< 0.5 %, and at most 1.2 × the floor"),
    "N2": ("CPU time added at 1 ms, one thread on CPU", "< 5 %", "at most 1.2 × the floor"),
    "N3": ("time inside the signal handler", "< 10 µs", "p50 < 1.5 µs at depth 20, p99 < 10 µs at depth 500"),
    "N4": ("start() to first sample", "< 50 ms", "< 15 ms"),
    "N5": ("stop() to returned profile, 1 M samples", "< 100 ms", "< 20 ms"),
    "N6": ("symbol resolution", "> 100 K frames/s", "> 5 M frames/s"),
    "N7": ("sample buffer", "≤ 16 MB", "≤ 4 MB at 100 threads, 10 ms"),
    "N8": ("symbol cache", "≤ 32 MB, bounded", "the same"),
    "N9": ("all memory the profiler adds", "≤ 100 MB", "≤ 32 MB for 1 M samples"),
    "N15": ("error of a known split", "", "1 percentage point of what sampling allows, no bias"),
    "N16": ("totals against the clocks of the thread", "", "within 1 %"),
    "N17": ("100 threads, 95 of them idle, 10 ms", "", "< 1 % CPU, no idle thread interrupted"),
    "N18": ("`import spprof` over a bare start; size installed", "", "< 20 ms; < 3 MB"),
}
"""What each number is, its limit and its goal (specification, section 1)."""


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    number: str
    """Which of NUMBERS."""
    what: str
    """What exactly was measured."""
    unit: str
    value: float
    low: float
    high: float
    """The spread: see `spread`."""
    spread: str
    """What `low` and `high` are: `95 %`, `min … max`."""
    note: str = ""
    meets: str = ""
    """`goal`, `limit` or `neither`; empty where the figure is there for comparison."""
    raw: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def row(number: str, what: str, unit: str, estimate: Estimate, spread: str = "95 %", **more: Any) -> Row:
    """A row of an estimate."""
    return Row(number, what, unit, estimate.value, estimate.low, estimate.high, spread, **more)


def below(value: float, goal: float | None, limit: float | None = None) -> str:
    """What a figure that should be small meets."""
    if goal is not None and value < goal:
        return "goal"
    if limit is not None and value < limit:
        return "limit"
    return "neither"
