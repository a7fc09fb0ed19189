"""Intervals, p-values and numbers of seeds, by Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with the half-width of its 95 % interval; `None` where one seed gives none."""

    mean: float
    half_width: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """The mean difference of two arms over the seeds that both have, its 95 % interval and two-sided p-value."""

    estimate: Estimate
    p: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of independent values; NaN of none."""
    count = len(values)
    if count < 2:
        return Estimate(float(np.mean(values)) if count else math.nan, None, count)
    half_width = stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count)
    return Estimate(float(np.mean(values)), float(half_width), count)


def paired_difference(values: dict[int, float], reference: dict[int, float]) -> Difference:
    """Of two arms' values by seed: a paired t-test over their common seeds."""
    common = sorted(values.keys() & reference.keys())
    differences = [values[seed] - reference[seed] for seed in common]
    if len(common) < 2 or len(set(differences)) == 1:
        return Difference(estimate(differences), None)
    return Difference(estimate(differences), float(stats.ttest_1samp(differences, 0).pvalue))


def pooled_difference(
    values: Sequence[float], reference: Sequence[float], others: Sequence[Sequence[float]]
) -> Difference:
    """Difference of two arms' means with the spread that all arms of a study show together (the error term of a
    one-way analysis of variance), which few seeds of one arm cannot tell; unpaired, every seed counts.

    Args:
        values, reference: of the two arms.
        others: of the study's other arms, which have the same spread by assumption.
    """
    spread, freedom = pooled_deviation([values, reference, *others])
    if not values or not reference or not freedom:
        return Difference(Estimate(_mean(values) - _mean(reference), None, len(values)), None)
    error = spread * math.sqrt(1 / len(values) + 1 / len(reference))
    difference = _mean(values) - _mean(reference)
    half_width = float(stats.t.ppf(0.975, freedom) * error)
    p = float(2 * stats.t.sf(abs(difference) / error, freedom)) if error else None
    return Difference(Estimate(difference, half_width, len(values)), p)


def pooled_half_width(count: int, arms: Sequence[Sequence[float]]) -> float | None:
    """Half of the 95 % interval of a mean of `count` values with the spread of all arms; `None` where none has two."""
    spread, freedom = pooled_deviation(arms)
    return float(stats.t.ppf(0.975, freedom) * spread / math.sqrt(count)) if freedom else None


def pooled_deviation(arms: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation around each arm's own mean, and its degrees of freedom."""
    freedom = sum(len(arm) - 1 for arm in arms if arm)
    squares = sum((value - _mean(arm)) ** 2 for arm in arms for value in arm)
    return (math.sqrt(squares / freedom) if freedom else math.nan), freedom


def deviation_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Standard deviation of normal values with its interval, by chi-squared."""
    freedom = len(values) - 1
    deviation = float(np.std(values, ddof=1))
    low, high = (math.sqrt(freedom / stats.chi2.ppf(edge, freedom)) for edge in ((1 + level) / 2, (1 - level) / 2))
    return deviation, deviation * low, deviation * high


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def reaches(values: Sequence[float], target: float) -> float | None:
    """One-sided p-value that the mean of `values` is above `target`: the test of a record."""
    if len(set(values)) < 2:
        return None
    return float(stats.ttest_1samp(values, target, alternative="greater").pvalue)


def seeds_needed(sigma: float, difference: float, power: float = 0.8, level: float = 0.05) -> int:
    """Seeds per arm for an unpaired two-sided t-test to find `difference` with that power.

    Args:
        sigma: standard deviation over seeds, the same in both arms.
        difference: of the means, in the unit of sigma.
    """
    for count in range(2, 10_000):
        freedom, shift = 2 * count - 2, difference / (sigma * math.sqrt(2 / count))
        edge = stats.t.ppf(1 - level / 2, freedom)
        found = stats.nct.sf(edge, freedom, shift) + stats.nct.cdf(-edge, freedom, shift)
        if found >= power:
            return count
    raise ValueError(f"a difference of {difference} beside a sigma of {sigma} takes more than 10,000 seeds")
