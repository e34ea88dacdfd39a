"""Uncertainty: exact intervals for shares, bootstrap intervals and permutation tests for paired differences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def share(successes: int, n: int) -> Interval:
    """A share of n with its exact (Clopper-Pearson) interval; a normal one is too narrow at n = 30."""
    from scipy.stats import binomtest

    if not n:
        return Interval(*[float("nan")] * 3)
    interval = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high))


def mean_interval(
    values: Sequence[float], seed: int = 0, confidence: float = 1 - ALPHA, bounded: bool = False
) -> Interval:
    """A mean over questions with its BCa bootstrap interval (10,000 resamples; Efron, 1987); NaNs are left out.

    ``bounded``: values lie between 0 and 1, so that all 0 or all 1 has the exact interval of a share.
    """
    from scipy.stats import bootstrap

    kept = np.asarray(values, float)
    kept = kept[~np.isnan(kept)]
    if kept.size == 0:
        return Interval(*[float("nan")] * 3)
    if np.ptp(kept) == 0:  # nothing varies: the bootstrap has no interval to give
        value = float(kept[0])
        if bounded and value in (0.0, 1.0):
            return share(int(value) * kept.size, kept.size)
        return Interval(value, value, value)
    rng = np.random.default_rng(seed)
    result = bootstrap((kept,), np.mean, n_resamples=10_000, confidence_level=confidence, rng=rng)
    return Interval(float(kept.mean()), *map(float, result.confidence_interval))


def paired_difference(
    after: Sequence[float], before: Sequence[float], seed: int = 0, confidence: float = 1 - ALPHA
) -> Interval:
    """Mean of after - before with its BCa bootstrap interval over questions.

    Where yes/no scores change the same way on every one of n questions there is nothing to resample; the interval then
    is what an exact one for n of n allows (Clopper-Pearson): the share of other questions may be 1 - 0.025^(1/n).
    """
    found = mean_interval(np.subtract(after, before), seed, confidence)
    both = np.concatenate([np.asarray(after, float), np.asarray(before, float)])
    n = int(np.sum(~np.isnan(np.subtract(after, before))))
    if found.low == found.high and set(both[~np.isnan(both)]) <= {0.0, 1.0} and n:
        slack = 1 - ((1 - confidence) / 2) ** (1 / n)
        return Interval(found.value, max(-1.0, found.value - slack), min(1.0, found.value + slack))
    return found


def sign_test(after: Sequence[float], before: Sequence[float]) -> tuple[int, int, float]:
    """Questions where ``after`` is higher, questions that differ, and the exact two-sided p-value."""
    from scipy.stats import binomtest

    wins = sum(a > b for a, b in zip(after, before, strict=True))
    n = sum(a != b for a, b in zip(after, before, strict=True))
    return wins, n, float(binomtest(wins, n).pvalue) if n else 1.0


def permutation_p(after: Sequence[float], before: Sequence[float], seed: int = 0) -> float:
    """Two-sided p-value of no difference: the signs of the paired differences are flipped at random (9,999 times, or
    all ways when there are fewer). It holds at any n, where a bootstrap interval is somewhat too narrow at n = 30.

    Questions without the score (NaN) are left out.
    """
    from scipy.stats import permutation_test

    differences = np.subtract(np.asarray(after, float), np.asarray(before, float))
    differences = differences[~np.isnan(differences) & (differences != 0)]
    if differences.size < 2:  # one question that differs can be chance either way
        return 1.0
    result = permutation_test(
        (differences,),
        lambda x, axis=-1: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: dict[Hashable, float]) -> dict[Hashable, float]:
    """p-values adjusted for how many are looked at together (Holm, 1979): 5 % for one error in all of them."""
    adjusted, reached = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        reached = max(reached, min(1.0, p * (len(p_values) - rank)))
        adjusted[name] = reached
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class Difference:
    """A paired difference: mean with its interval, n questions, p-value, and p adjusted by :func:`holm`.

    The interval is corrected as the p is, so the two never contradict each other.
    """

    mean: Interval
    n: int
    p: float
    p_adjusted: float

    def fields(self) -> dict[str, float]:
        """Everything by name, the interval's ends beside its mean."""
        ends = {"mean": self.mean.value, "low": self.mean.low, "high": self.mean.high}
        return ends | {"n": self.n, "p": self.p, "p_adjusted": self.p_adjusted}


def together(found: dict[Hashable, tuple[np.ndarray, np.ndarray]]) -> dict[Hashable, Difference]:
    """One family of paired differences, corrected together.

    Each interval has the level at which Holm tests its p: 1 - 0.05 / m for the smallest of m. Where the test and the
    bootstrap disagree, neither claims: the adjusted p is at least 0.05 and the interval reaches zero. A wider interval
    still holds what it promises.

    Parameters
    ----------
    found : key -> (after, before), n values each; NaN where a question has no score.
    """
    p_values = {key: permutation_p(*pair) for key, pair in found.items()}
    adjusted = holm(p_values)
    differences = {}
    for rank, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        after, before = found[key]
        interval = paired_difference(after, before, confidence=1 - ALPHA / (len(found) - rank))
        p = adjusted[key]
        if p < ALPHA and interval.low <= 0 <= interval.high:
            p = ALPHA
        if p >= ALPHA:
            interval = replace(interval, low=min(interval.low, 0.0), high=max(interval.high, 0.0))
        n = int(np.sum(~np.isnan(np.subtract(after, before))))
        differences[key] = Difference(interval, n, p_values[key], p)
    return {key: differences[key] for key in found}


def jackknife_interval(value: float, left_out: np.ndarray) -> Interval:
    """A 95 % interval from n values, each computed with one question left out, shape (n,) (Efron and Stein, 1981)."""
    from scipy.stats import t

    n = len(left_out)
    error = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)) if n > 1 else float("nan")
    reach = float(t.ppf(1 - ALPHA / 2, max(n - 1, 1)) * error)
    return Interval(value, value - reach, value + reach)
