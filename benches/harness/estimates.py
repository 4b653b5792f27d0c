"""Estimates with their spread."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A value and the interval that holds the true one with 95 % probability."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float, offset: float = 0.0) -> Estimate:
        """`factor * x + offset` of each."""
        ends = sorted((factor * self.low + offset, factor * self.high + offset))
        return Estimate(factor * self.value + offset, ends[0], ends[1])


def median_of(values: Sequence[float]) -> Estimate:
    """The median, with the interval of 2,000 bootstrap resamples, always the same ones."""
    draw = random.Random(20_000 + len(values))
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Estimate(statistics.median(values), medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1])


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean, with the bootstrap's interval."""
    draw = random.Random(30_000 + len(values))
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Estimate(statistics.fmean(values), means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1])


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def span_of(values: Sequence[float]) -> Estimate:
    """The median between the smallest and the largest: for few values, all of which are told."""
    return Estimate(statistics.median(values), min(values), max(values))
