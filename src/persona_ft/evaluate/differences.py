"""Conditions set against each other, paired by question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from persona_ft.evaluate.schema import HEADLINES, ConditionResult
from persona_ft.evaluate.statistics import ALPHA, Difference, Interval, together


def compare_conditions(after: ConditionResult, others: Sequence[ConditionResult]) -> dict[tuple[str, str], Difference]:
    """``after`` minus each other condition, every score, over the questions that both have it for.

    The headline was named before anybody looked, so it is a family of its own under Holm's correction; all other scores
    together are the second.

    Returns
    -------
    dict
        (the other condition's name, score) -> difference.
    """
    found = {}
    for family in (HEADLINES[:1], HEADLINES[1:]):
        found |= together({(o.name, s.key): (after.values(s.key), o.values(s.key)) for o in others for s in family})
    return found


def best_conditions(
    conditions: Sequence[ConditionResult], summary: dict[str, dict[str, Interval]]
) -> dict[str, list[str]]:
    """For each headline score the best condition, and those that cannot be told from it (p > 0.05, Holm over them)."""
    found = {}
    for score in HEADLINES:
        means = {condition.name: summary[condition.name][score.key].value for condition in conditions}
        known = {name: value for name, value in means.items() if not np.isnan(value)}
        if not known:
            found[score.key] = []
            continue
        best = max(known, key=known.__getitem__)
        values = {condition.name: condition.values(score.key) for condition in conditions}
        against = together({name: (values[best], other) for name, other in values.items() if name != best})
        found[score.key] = [best, *(name for name, d in against.items() if d.p_adjusted >= ALPHA)]
    return found
