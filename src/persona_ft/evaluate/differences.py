"""Conditions set against each other, paired by question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from persona_ft.evaluate.schema import HEADLINES, ConditionResult, Score
from persona_ft.evaluate.statistics import ALPHA, Difference, Interval, difference, together
from persona_ft.evaluate.style import NgramProfile


def condition_difference(
    after: ConditionResult, before: ConditionResult, score: Score, profile: NgramProfile
) -> tuple[Interval, int, float]:
    """``after`` minus ``before`` in one score, over the questions that both have it for: mean with interval, n
    questions, p-value."""
    if score.pooled:
        both = [i for i, pair in enumerate(zip(after.whole, before.whole, strict=True)) if all(pair)]
        interval, p = profile.difference([after.texts[i] for i in both], [before.texts[i] for i in both])
        return interval, len(both), p
    return difference(after.values(score.key), before.values(score.key))


def compare_conditions(
    after: ConditionResult, others: Sequence[ConditionResult], profile: NgramProfile
) -> dict[tuple[str, str], Difference]:
    """``after`` minus each other condition, every headline score: (other's name, score) -> difference, Holm-adjusted
    together."""
    return together(
        {(o.name, score.key): condition_difference(after, o, score, profile) for o in others for score in HEADLINES}
    )


def best_conditions(
    conditions: Sequence[ConditionResult], summary: dict[str, dict[str, Interval]], profile: NgramProfile
) -> dict[str, list[str]]:
    """For each headline score the best condition, and those that cannot be told from it (p > 0.05, Holm over them)."""
    found = {}
    for score in HEADLINES:
        means = {condition.name: summary[condition.name][score.key].value for condition in conditions}
        known = {name: value for name, value in means.items() if not np.isnan(value)}
        if not known:
            found[score.key] = []
            continue
        best = (max if score.more_is_better else min)(known, key=known.__getitem__)
        first = next(condition for condition in conditions if condition.name == best)
        against = together(
            {
                condition.name: condition_difference(first, condition, score, profile)
                for condition in conditions
                if condition is not first
            }
        )
        found[score.key] = [best, *(name for name, d in against.items() if d.p_adjusted > ALPHA)]
    return found
