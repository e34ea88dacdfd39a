"""The comparison as a whole, and what may be said of it in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persona_ft.evaluate.changes import classify_changes
from persona_ft.evaluate.counts import count_person, count_table, fact_table, interval_model, stylometric_rows
from persona_ft.evaluate.differences import best_conditions, compare_conditions
from persona_ft.evaluate.schema import (
    AFTER,
    BEFORE,
    ENOUGH_ANSWERS,
    HEADLINE,
    HEADLINES,
    PROBLEMS,
    SCORES,
    Comparison,
    ConditionResult,
    DifferenceModel,
    IntervalModel,
)
from persona_ft.evaluate.scoring import Scorer, interval_of
from persona_ft.evaluate.stylometry import learn_features

# Where fewer of the person's own answers pass, the rulers see little, and the verdict says so.
WEAK_RULER = 0.6


def phrases(language: str = "en") -> dict[str, str]:
    """The sentences and headings of the verdict and the report in a language; English where it has none."""
    import yaml

    table = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    return {key: texts.get(language, texts["en"]) for key, texts in table.items()}


def verdict(comparison: Comparison, language: str = "en") -> list[str]:
    """Three sentences that a friend understands: how many answers sound like the person and answer the question, what
    may be claimed against the base, and facts. Where many answers are missing, a sentence on those comes first; where
    the rulers let few of the person's own answers through, one on that comes last."""
    say, name, n = phrases(language), comparison.persona, len(comparison.questions)
    summary, facts = comparison.summary, comparison.facts[AFTER]

    def times(interval: IntervalModel | None) -> str:
        return "?" if interval is None or interval.value is None else f"{round(interval.value * n)}"

    own = comparison.person.get(HEADLINE.key)
    counted = {"n": n, "tuned": times(summary[AFTER][HEADLINE.key]), "base": times(summary[BEFORE][HEADLINE.key])}
    sentences = [say["headline"].format(name=name, own=times(own), **counted)]
    claims = []
    for d in comparison.differences:
        if d.score == HEADLINE.key and d.after == AFTER and d.before in (BEFORE, "base + examples"):
            word = say[SCORES[d.score].word(d.mean, d.p_adjusted)].format(other=d.before)
            over = say["over"].format(n=d.n) if d.n < n else ""
            claims.append(f"{word} ({d.mean * 100:+.0f} [{d.low * 100:+.0f}, {d.high * 100:+.0f}]{over})")
    if claims:
        sentences.append(say["against"].format(claims=say["and"].join(claims)))
    stated = {kind: facts["train"][kind] + facts["prompt"][kind] for kind in facts["train"]}
    never, invented = sum(facts["never"].values()), facts["never"]["supported"] + facts["never"]["contradicted"]
    asked = {"stated": sum(stated.values()), "said": stated["supported"], "wrong": stated["contradicted"]}
    sentences.append(
        say["facts"].format(never=never, invented=invented, **asked) if asked["stated"] else say["no facts"]
    )
    if own and own.value is not None and own.value < WEAK_RULER:
        sentences.append(say["weak"].format(name=name, own=times(own), n=n))
    missing = missing_answers(comparison, language)
    return [missing, *sentences] if missing else sentences


def missing_answers(comparison: Comparison, language: str = "en") -> str:
    """A sentence that names each condition with less than 90 % whole answers, and what would help; else empty."""
    say, named = phrases(language), []
    for condition in comparison.conditions:
        n = len(condition.answers)
        if sum(condition.whole) >= ENOUGH_ANSWERS * n:
            continue
        counts = {kind: sum(a.problem == kind for a in condition.answers) for kind in PROBLEMS}
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        named.append(say["gave"].format(condition=condition.name, whole=sum(condition.whole), n=n, kinds=kinds))
    if not named:
        return ""
    limit = comparison.setup.get("max_new_tokens", "?")
    more = [a.wanted_tokens for condition in comparison.conditions for a in condition.answers if a.wanted_tokens]
    remedy = say["room"].format(most=max(more), n=len(more)) if more else ""
    return say["missing"].format(limit=limit, named="; ".join(named), remedy=remedy)


def build_comparison(
    scorer: Scorer,
    conditions: Sequence[ConditionResult],
    setup: dict[str, Any],
    person_sense: Sequence[float] | None = None,
    language: str = "en",
) -> Comparison:
    """Put scored conditions together into one comparison.

    Parameters
    ----------
    conditions : the scored conditions, ``base + prompt`` and ``tuned + prompt`` among them.
    setup : what was run on what, for the record.
    person_sense : information that the person's own test answers share with their questions, nats per token.
    language : of the verdict.
    """
    after = next(condition for condition in conditions if condition.name == AFTER)
    before = next(condition for condition in conditions if condition.name == BEFORE)
    texts = {condition.name: condition.whole_texts for condition in conditions}
    compared = compare_conditions(after, [condition for condition in conditions if condition is not after])
    summary = {c.name: {s.key: interval_of(c, s) for s in HEADLINES} for c in conditions}
    scales = {"impostors": len(scorer.style.impostors), "own answers accepted as style": scorer.style.own_accepted}
    if scorer.scale:
        scales |= {"own answers accepted as sense": scorer.scale.own, "sense threshold": scorer.scale.threshold}
    comparison = Comparison(
        setup=setup,
        persona=scorer.persona.profile.name,
        questions=scorer.questions,
        conditions=list(conditions),
        summary={name: {key: interval_model(i) for key, i in scores.items()} for name, scores in summary.items()},
        best=best_conditions(conditions, summary),
        person={key: interval_model(interval) for key, interval in scorer.person(person_sense).items()},
        differences=[
            DifferenceModel(before=other, after=AFTER, score=key, **d.fields())
            for (other, key), d in compared.items()
            if d.n
        ],
        scales={key: None if np.isnan(value) else value for key, value in scales.items()},
        stylometry=stylometric_rows(learn_features(scorer.style.person, scorer.style.base), scorer.style.person, texts),
        facts={condition.name: fact_table(scorer.questions, condition) for condition in conditions},
        counts={condition.name: count_table(scorer.questions, condition) for condition in conditions}
        | {"the person": count_person(scorer.questions, scorer.style.person)},
        changes=classify_changes(scorer.questions, before, after, scorer.persona),
        verdict=[],
    )
    comparison.verdict = verdict(comparison, language)
    return comparison
