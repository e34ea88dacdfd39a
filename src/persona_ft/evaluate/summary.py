"""The comparison as a whole, and what may be said of it in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from persona_ft.evaluate.changes import classify_changes
from persona_ft.evaluate.counts import count_person, count_table, fact_table, interval_model, stylometric_rows
from persona_ft.evaluate.differences import best_conditions, compare_conditions
from persona_ft.evaluate.schema import (
    AFTER,
    BEFORE,
    ENOUGH_ANSWERS,
    HEADLINES,
    HEARD,
    PROBLEMS,
    SCORES,
    Comparison,
    ConditionResult,
    DifferenceModel,
    IntervalModel,
    Score,
)
from persona_ft.evaluate.scoring import Scorer, interval_of, style_share
from persona_ft.evaluate.statistics import ALPHA
from persona_ft.evaluate.style import StyleClassifier, preparations
from persona_ft.evaluate.stylometry import learn_features


def verdict(comparison: Comparison) -> list[str]:
    """Three sentences, on style, likelihood and facts, that claim no more than the adjusted tests allow. Where many
    answers are missing, one on those comes first."""
    found = {(d.before, d.score): d for d in comparison.differences if d.after == AFTER}

    def against(score: Score, unit: str) -> str:
        said = []
        for condition in comparison.conditions:
            d = found.get((condition.name, score.key))
            if d is None or condition.name not in (BEFORE, "base + examples"):
                continue
            word = score.word(d.mean, d.p_adjusted)
            word = f"{word} than" if d.p_adjusted < ALPHA else "not clearly different from"
            scale, digits = (100, 0) if unit == "points" else (1, 2)
            over = f", over {d.n} questions" if d.n < len(comparison.questions) and score.key in HEARD else ""
            said.append(
                f"{word} {condition.name} ({d.mean * scale:+.{digits}f} {unit} "
                f"[{d.low * scale:+.{digits}f}, {d.high * scale:+.{digits}f}]{over})"
            )
        return " and ".join(said) if said else "with nothing to compare with"

    def number(interval: IntervalModel) -> str:
        return "?" if interval.value is None else f"{interval.value:.2f}"

    tuned = comparison.summary[AFTER]
    style, facts = tuned["style"], comparison.facts[AFTER]
    stated = sum(facts["train"].values()) + sum(facts["prompt"].values())
    said = facts["train"]["supported"] + facts["prompt"]["supported"]
    wrong = facts["train"]["contradicted"] + facts["prompt"]["contradicted"]
    invented = facts["never"]["supported"] + facts["never"]["contradicted"]
    heard = (
        f"{style.value:.0%} of the whole answers of {AFTER} [{style.low:.0%}, {style.high:.0%}]"
        if style.value is not None
        else f"an unknown share of the answers of {AFTER}"
    )
    missing = missing_answers(comparison)
    sentences = [
        *([missing] if missing else []),
        f"Style: {heard} are in "
        f"{comparison.persona}'s style by a classifier that hears tone and not sense, "
        f"{against(SCORES['style'], 'points')}; by n-grams its answers are {number(tuned['distance'])} away from the "
        f"person, the person's own {number(comparison.person['distance'])}.",
        f"Likelihood: it finds {comparison.persona}'s own held-out answers "
        f"{against(SCORES['log_likelihood'], 'nats per token')}.",
    ]
    if stated:
        sentences.append(
            f"Facts, by the values that persona.yaml lists: of {stated} that were stated and asked for it says "
            f"{said} and contradicts {wrong}, and of "
            f"{sum(facts['never'].values())} that nobody stated it invents {invented}; in facts said it is "
            f"{against(SCORES['facts_said'], 'of 1')}."
        )
    else:
        sentences.append("Facts: no question asks for one, so nothing can be said about them.")
    return sentences


def missing_answers(comparison: Comparison) -> str:
    """A sentence that names each condition with less than 90 % whole answers, and what would help; else empty."""
    named = []
    for condition in comparison.conditions:
        n = len(condition.answers)
        if sum(condition.whole) >= ENOUGH_ANSWERS * n:
            continue
        kinds = ", ".join(
            f"{count} {kind}" for kind in PROBLEMS if (count := sum(a.problem == kind for a in condition.answers))
        )
        named.append(f"{condition.name} gave {sum(condition.whole)} whole answers to {n} questions ({kinds})")
    if not named:
        return ""
    limit = comparison.setup.get("max_new_tokens")
    more = [a.wanted_tokens for condition in comparison.conditions for a in condition.answers if a.wanted_tokens]
    remedy = f"; with room for {max(more)} tokens {len(more)} more would have been whole" if more else ""
    at = f" within {limit} new tokens" if limit else ""
    return (
        f"Missing answers{at}: {'; '.join(named)}{remedy}. What an answer says is compared over the questions that "
        "both conditions answered."
    )


def build_comparison(
    scorer: Scorer,
    conditions: Sequence[ConditionResult],
    setup: dict[str, Any],
    person_train: Sequence[str],
    base_train: Sequence[str],
) -> Comparison:
    """Put scored conditions together into one comparison.

    Parameters
    ----------
    conditions : the scored conditions, ``base + prompt`` and ``tuned + prompt`` among them.
    setup : what was run on what, for the record.
    person_train, base_train : the person's and the base's answers to the training questions.
    """
    after = next(condition for condition in conditions if condition.name == AFTER)
    texts = {condition.name: condition.whole_texts for condition in conditions}
    references = [question.reference for question in scorer.questions]
    checks = {}
    for name, prepared in preparations(person_train).items():
        classifier = StyleClassifier(person_train, base_train, prepared=prepared)
        shares = {condition: style_share(classifier, t).value for condition, t in texts.items()}
        person = style_share(classifier, references).value
        checks[name] = {"accuracy": classifier.cross_validated_accuracy, "the person": person} | shares
        checks[name] = {key: None if np.isnan(value) else value for key, value in checks[name].items()}
    compared = compare_conditions(
        after, [condition for condition in conditions if condition is not after], scorer.profile
    )
    summary = {
        condition.name: {s.key: interval_of(condition, s, scorer.profile) for s in HEADLINES}
        for condition in conditions
    }
    comparison = Comparison(
        setup=setup,
        persona=scorer.persona.profile.name,
        questions=scorer.questions,
        conditions=list(conditions),
        summary={
            condition: {key: interval_model(i) for key, i in scores.items()} for condition, scores in summary.items()
        },
        best=best_conditions(conditions, summary, scorer.profile),
        person={key: interval_model(interval) for key, interval in scorer.person().items()},
        differences=[
            DifferenceModel(
                before=before,
                after=AFTER,
                score=key,
                mean=d.mean.value,
                low=d.mean.low,
                high=d.mean.high,
                n=d.n,
                p=d.p,
                p_adjusted=d.p_adjusted,
            )
            for (before, key), d in compared.items()
            if d.n
        ],
        style_checks=checks,
        stylometry=stylometric_rows(learn_features(person_train, base_train), person_train, texts),
        facts={condition.name: fact_table(scorer.questions, condition) for condition in conditions},
        counts={condition.name: count_table(scorer.questions, condition) for condition in conditions}
        | {"the person": count_person(scorer.questions, person_train)},
        changes=classify_changes(
            scorer.questions,
            next(condition for condition in conditions if condition.name == BEFORE),
            after,
            scorer.persona,
        ),
        verdict=[],
    )
    comparison.verdict = verdict(comparison)
    return comparison
