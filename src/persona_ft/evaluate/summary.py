"""The comparison as a whole, and what may be said of it in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from persona_ft.evaluate.changes import classify_changes
from persona_ft.evaluate.schema import (
    AFTER,
    BEFORE,
    ENOUGH_ANSWERS,
    HEADLINE,
    HEADLINES,
    PROBLEMS,
    STATED,
    VERDICTS,
    Comparison,
    ConditionResult,
    DifferenceModel,
    IntervalModel,
    Question,
    Score,
)
from persona_ft.evaluate.scoring import Scorer
from persona_ft.evaluate.statistics import ALPHA, Interval, mean_interval, share, together, word_for
from persona_ft.evaluate.stylometry import learn_features, stylometric_rows

# Where fewer of the person's own answers pass, the rulers see little, and the verdict says so.
WEAK_RULER = 0.6


@cache
def phrases(language: str = "en") -> dict[str, str]:
    """The sentences and headings of the verdict and the report in a language; English where it has none."""
    table = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    return {key: texts.get(language, texts["en"]) for key, texts in table.items()}


def verdict(comparison: Comparison, language: str = "en") -> list[str]:
    """Sentences that a friend understands: many missing answers, how many pass the headline, what is claimed against
    the base, facts, and rulers that let few of the person's own answers through."""
    say, name, n = phrases(language), comparison.persona, len(comparison.questions)
    own = comparison.person.get(HEADLINE.key)

    def times(interval: IntervalModel | None) -> str:
        return "?" if interval is None or interval.value is None else f"{round(interval.value * n)}"

    tuned, base = (times(comparison.summary[condition][HEADLINE.key]) for condition in (AFTER, BEFORE))
    sentences = [say["headline"].format(name=name, own=times(own), n=n, tuned=tuned, base=base)]
    claims = []
    for d in comparison.differences:
        if d.score == HEADLINE.key and d.before in (BEFORE, "base + examples"):
            over = say["over"].format(n=d.n) if d.n < n else ""
            points = f"({d.mean * 100:+.0f} [{d.low * 100:+.0f}, {d.high * 100:+.0f}]{over})"
            claims.append(f"{say[word_for(d)].format(other=d.before)} {points}")
    if claims:
        sentences.append(say["against"].format(claims=say["and"].join(claims)))
    train, prompt, never = (comparison.facts[AFTER][stated] for stated in STATED)
    said, wrong, silent = (train[kind] + prompt[kind] for kind in VERDICTS)
    asked = {"stated": said + wrong + silent, "said": said, "wrong": wrong}
    asked |= {"never": sum(never.values()), "invented": never["supported"] + never["contradicted"]}
    sentences.append(say["facts"].format(**asked) if asked["stated"] else say["no facts"])
    if own and own.value is not None and own.value < WEAK_RULER:
        sentences.append(say["weak"].format(name=name, own=times(own), n=n))
    return [*_missing_answers(comparison, say), *sentences]


def _missing_answers(comparison: Comparison, say: dict[str, str]) -> list[str]:
    """A sentence that names each condition with less than 90 % whole answers, and what would help, if there is one."""
    named, n = [], len(comparison.questions)
    for condition in comparison.conditions:
        whole = len(condition.whole_texts)
        if whole < ENOUGH_ANSWERS * n:
            counts = {kind: sum(a.problem == kind for a in condition.answers) for kind in PROBLEMS}
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            named.append(say["gave"].format(condition=condition.name, whole=whole, n=n, kinds=kinds))
    if not named:
        return []
    limit = comparison.setup.get("max_new_tokens", "?")
    more = [a.wanted_tokens for condition in comparison.conditions for a in condition.answers if a.wanted_tokens]
    remedy = say["room"].format(most=max(more), n=len(more)) if more else ""
    return [say["missing"].format(limit=limit, named="; ".join(named), remedy=remedy)]


def build_comparison(
    scorer: Scorer,
    conditions: Sequence[ConditionResult],
    setup: dict[str, Any],
    person_sense: Sequence[float] | None = None,
    language: str = "en",
) -> Comparison:
    """Put scored conditions, ``base + prompt`` and ``tuned + prompt`` among them, together. ``setup``: what was run on
    what, for the record; ``person_sense``: information that the person's own test answers share with their questions,
    nats per token; ``language``: of the verdict."""
    by_name, questions, style = {condition.name: condition for condition in conditions}, scorer.questions, scorer.style
    person = scorer.person(person_sense)
    known = {"style", "facts_said"} | ({"headline", "sense"} if style.trained and person_sense is not None else set())
    summary = {name: {score.key: _interval(c, score) for score in HEADLINES} for name, c in by_name.items()}
    scales = {"impostors": len(style.impostors), "own answers accepted as style": style.own_accepted}
    if scorer.scale:
        scales |= {"own answers accepted as sense": scorer.scale.own, "sense threshold": scorer.scale.threshold}
    comparison = Comparison(
        setup=setup,
        persona=scorer.persona.profile.name,
        questions=questions,
        conditions=list(conditions),
        summary=summary,
        best={score.key: _best(conditions, score.key, summary) for score in HEADLINES},
        person={score.key: _interval(person, score) for score in HEADLINES if score.key in known},
        differences=_differences(by_name),
        scales=scales,
        stylometry=stylometric_rows(
            learn_features(style.person, style.base), style.person, {name: c.whole_texts for name, c in by_name.items()}
        ),
        facts={name: _fact_table(questions, condition) for name, condition in by_name.items()},
        counts={condition.name: _counts(questions, condition) for condition in [*conditions, person]},
        changes=classify_changes(questions, by_name[BEFORE], by_name[AFTER], scorer.persona),
        verdict=[],
    )
    comparison.verdict = verdict(comparison, language)
    return comparison


def _interval(condition: ConditionResult, score: Score) -> Interval:
    """A condition's score with its interval: exact for a share of answers asked once, else bootstrap."""
    values = condition.values(score.key)
    values = values[~np.isnan(values)]
    if score.is_share and set(values) <= {0.0, 1.0}:
        return share(int(values.sum()), len(values))
    return mean_interval(values, bounded=score.bounded)


def _differences(conditions: dict[str, ConditionResult]) -> list[DifferenceModel]:
    """``tuned + prompt`` minus each other condition, every score, over the questions that both have it for. The
    headline was named before anybody looked, so it is a family of its own under Holm's correction."""
    found = {}
    for family in (HEADLINES[:1], HEADLINES[1:]):
        pairs = [(name, score.key) for name in conditions if name != AFTER for score in family]
        found |= together({(n, key): (conditions[AFTER].values(key), conditions[n].values(key)) for n, key in pairs})
    return [DifferenceModel(before=n, after=AFTER, score=key, **vars(d)) for (n, key), d in found.items() if d.n]


def _best(conditions: Sequence[ConditionResult], key: str, summary: dict[str, dict[str, Interval]]) -> list[str]:
    """The condition that is best in a score, and those that cannot be told from it (p > 0.05, Holm over them)."""
    known = {c.name: mean for c in conditions if not np.isnan(mean := summary[c.name][key].value)}
    if not known:
        return []
    best = max(known, key=known.__getitem__)
    values = {condition.name: condition.values(key) for condition in conditions}
    against = together({name: (values[best], other) for name, other in values.items() if name != best})
    return [best, *(name for name, d in against.items() if d.p_adjusted >= ALPHA)]


def _fact_table(questions: Sequence[Question], condition: ConditionResult) -> dict[str, dict[str, int]]:
    """Verdicts counted by where the fact is stated."""
    table = {stated: dict.fromkeys(VERDICTS, 0) for stated in STATED}
    for question, answer in zip(questions, condition.answers, strict=True):
        for mark in question.facts:
            table[mark.stated]["absent" if answer.problem else answer.facts[mark.id].verdict] += 1
    return table


def _counts(questions: Sequence[Question], condition: ConditionResult) -> dict[str, float | None]:
    """What is counted beside the scores, in the first pass; unusable answers in all passes."""
    answers, at_once = condition.answers, condition.final_channel
    disclosed = [question.asks_for_ai for question, a in zip(questions, answers, strict=True) if a.says_ai]
    n_tokens, runs = (np.array([of(a) for a in answers]) for of in (lambda a: a.n_tokens, lambda a: len(a.copied)))
    return condition.problems | {
        "went on after its answer": sum(a.ran_on for a in answers),
        "thought before answering": sum(bool(a.thinking) for a in answers),
        "new tokens, analysis included, median": np.median(n_tokens) if n_tokens.any() else None,
        "probability of answering at once": None if at_once is None else math.exp(at_once),
        "says it is an AI, unasked": len(disclosed) - sum(disclosed),
        "says it is an AI, asked": sum(disclosed),
        "refuses": sum(a.refuses for a in answers),
        "near-duplicate of a training answer": sum(a.near_duplicate for a in answers),
        "longest copied run, median characters": np.median(runs),
        "longest copied run, most characters": runs.max(),
        "length, mean characters": np.mean([len(a.text) for a in answers]),
    }
