"""Uncertainty: exact intervals for shares, bootstrap intervals and permutation tests for paired differences."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; NaN where there was nothing to count, and None once it was in a file."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def share(successes: int, n: int) -> Interval:
    """A share of n with its exact (Clopper-Pearson) interval; a normal one is too narrow at n = 30."""
    from scipy.stats import binomtest

    if not n:
        return Interval(np.nan, np.nan, np.nan)
    interval = binomtest(successes, n).proportion_ci(confidence_level=1 - ALPHA, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high))


def mean_interval(values: Sequence[float], confidence: float = 1 - ALPHA, bounded: bool = False) -> Interval:
    """A mean over questions with its BCa bootstrap interval (10,000 resamples; Efron, 1987); NaNs are left out.
    ``bounded``: values lie between 0 and 1, so that all 0 or all 1 has the exact interval of a share."""
    from scipy.stats import bootstrap

    kept = np.asarray(values, float)
    kept = kept[~np.isnan(kept)]
    if not kept.size:
        return share(0, 0)
    if np.ptp(kept) == 0:  # nothing varies: the bootstrap has no interval to give
        value = float(kept[0])
        if bounded and value in (0.0, 1.0):
            return share(int(value) * kept.size, kept.size)
        return Interval(value, value, value)
    rng = np.random.default_rng(0)
    result = bootstrap((kept,), np.mean, n_resamples=10_000, confidence_level=confidence, rng=rng)
    return Interval(float(kept.mean()), *map(float, result.confidence_interval))


def paired_difference(after: Sequence[float], before: Sequence[float], confidence: float = 1 - ALPHA) -> Interval:
    """Mean of after - before with its BCa bootstrap interval over questions. Where yes/no scores change the same way on
    every one of n questions, the exact interval for n of n: the share of other questions may be 1 - 0.025^(1/n)."""
    differences, values = np.subtract(after, before), np.concatenate([after, before])
    found = mean_interval(differences, confidence)
    if found.low == found.high and set(values[~np.isnan(values)]) <= {0.0, 1.0}:
        slack = 1 - ((1 - confidence) / 2) ** (1 / np.sum(~np.isnan(differences)))
        return Interval(found.value, max(-1.0, found.value - slack), min(1.0, found.value + slack))
    return found


def sign_test(wins: int, losses: int) -> float:
    """The exact two-sided p-value of so many wins and losses, if both were as likely."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def permutation_p(after: Sequence[float], before: Sequence[float]) -> float:
    """Two-sided p-value of no difference: the signs of the paired differences are flipped at random (9,999 times, or
    all ways when there are fewer). It holds at any n, where a bootstrap interval is somewhat too narrow at n = 30; NaNs
    are left out."""
    from scipy.stats import permutation_test

    differences = np.subtract(after, before)
    differences = differences[~np.isnan(differences) & (differences != 0)]
    if differences.size < 2:  # one question that differs can be chance either way
        return 1.0
    rng = np.random.default_rng(0)
    flipped = {"permutation_type": "samples", "vectorized": True, "n_resamples": 9_999, "rng": rng}
    return float(permutation_test((differences,), np.mean, **flipped).pvalue)


def holm(p_values: dict[Hashable, float]) -> dict[Hashable, float]:
    """p-values adjusted for how many are looked at together (Holm, 1979), the smallest first."""
    adjusted, reached = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        adjusted[name] = reached = max(reached, min(1.0, p * (len(p_values) - rank)))
    return adjusted


@dataclass(frozen=True)
class Difference:
    """The mean of a paired difference with its interval, n questions, p-value, and p adjusted by :func:`holm`."""

    mean: float
    low: float
    high: float
    n: int
    p: float
    p_adjusted: float


def word_for(difference: Difference) -> str:
    """What may be said of a difference: better or worse where its adjusted p is below 0.05."""
    if difference.p_adjusted >= ALPHA:
        return "no clear difference"
    return "better" if difference.mean > 0 else "worse"


def together(found: dict[Hashable, tuple[np.ndarray, np.ndarray]]) -> dict[Hashable, Difference]:
    """One family of paired differences, corrected together, so that no interval contradicts its p.

    Each interval has the level at which Holm tests its p: 1 - 0.05 / m for the smallest of m. Where the test and the
    bootstrap disagree, neither claims: the adjusted p is at least 0.05 and the interval reaches zero. ``found``: key ->
    (after, before), n values each; NaN where a question has no score.
    """
    p_values = {key: permutation_p(*pair) for key, pair in found.items()}
    differences = {}
    for rank, (key, p) in enumerate(holm(p_values).items()):
        after, before = found[key]
        interval = paired_difference(after, before, confidence=1 - ALPHA / (len(found) - rank))
        low, high = interval.low, interval.high
        if p < ALPHA and low <= 0 <= high:
            p = ALPHA
        if p >= ALPHA:
            low, high = min(low, 0.0), max(high, 0.0)
        n = int(np.sum(~np.isnan(np.subtract(after, before))))
        differences[key] = Difference(interval.value, low, high, n, p_values[key], p)
    return {key: differences[key] for key in found}
