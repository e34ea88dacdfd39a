"""The comparison as a whole, and what may be said of it in a few sentences."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from persona_ft.evaluate.facts import says
from persona_ft.evaluate.schema import (
    AFTER,
    BEFORE,
    HEADLINES,
    PROBLEMS,
    STATED,
    VERDICTS,
    Answer,
    Change,
    Comparison,
    ConditionResult,
    DifferenceModel,
    Question,
    Scores,
)
from persona_ft.evaluate.scoring import Scorer
from persona_ft.evaluate.statistics import ALPHA, Difference, Interval, mean_interval, share, together, word_for
from persona_ft.evaluate.stylometry import stylometric_rows
from persona_ft.language import LAUGHTER

# Below this share of whole answers a condition is named before anything is said of it.
ENOUGH_ANSWERS = 0.9
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
    own = comparison.person.get("headline")

    def times(interval: Interval | None) -> str:
        return "?" if interval is None or interval.value is None else f"{round(interval.value * n)}"

    tuned, base = (times(comparison.summary[condition]["headline"]) for condition in (AFTER, BEFORE))
    sentences = [say["headline"].format(name=name, own=times(own), n=n, tuned=tuned, base=base)]
    claims = []
    for d in comparison.differences:
        if d.score == "headline" and d.before in (BEFORE, "base + examples"):
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
    summary = {name: score_intervals(condition.scores) for name, condition in by_name.items()}
    scales = {"impostors": len(style.impostors), "own answers accepted as style": style.own_accepted}
    if scorer.scale:
        scales |= {"own answers accepted as sense": scorer.scale.own, "sense threshold": scorer.scale.threshold}
    after = by_name[AFTER].scores
    found = score_differences({name: (after, c.scores) for name, c in by_name.items() if name != AFTER})
    comparison = Comparison(
        setup=setup,
        persona=scorer.persona.profile.name,
        questions=questions,
        conditions=list(conditions),
        summary=summary,
        best={score.key: _best(conditions, score.key, summary) for score in HEADLINES},
        person={key: interval for key, interval in score_intervals(person.scores).items() if key in known},
        differences=[DifferenceModel(before=n, after=AFTER, score=key, **vars(d)) for (n, key), d in found.items()],
        scales=scales,
        stylometry=stylometric_rows(style.person, style.base, {n: c.whole_texts for n, c in by_name.items()}),
        facts={name: _fact_table(questions, condition) for name, condition in by_name.items()},
        counts={condition.name: _counts(questions, condition) for condition in [*conditions, person]},
        changes=_changes(questions, by_name[BEFORE], by_name[AFTER], any(map(LAUGHTER.search, style.person))),
        verdict=[],
    )
    comparison.verdict = verdict(comparison, language)
    return comparison


def score_intervals(scores: Scores) -> dict[str, Interval]:
    """Each headline score with its interval: exact for a share of answers asked once, else bootstrap."""
    found = {}
    for score in HEADLINES:
        values = np.array(scores[score.key], float)
        values = values[~np.isnan(values)]
        once = score.is_share and set(values) <= {0.0, 1.0}
        interval = share(int(values.sum()), values.size) if once else mean_interval(values, bounded=score.bounded)
        found[score.key] = interval
    return found


def score_differences(pairs: dict[str, tuple[Scores, Scores]]) -> dict[tuple[str, str], Difference]:
    """(name, score) -> the difference of a pair's (after, before), over the questions that both have it for. The
    headline was named before anybody looked, so it is a family of its own under Holm's correction."""
    found = {}
    for family in (HEADLINES[:1], HEADLINES[1:]):
        keys = [(name, score.key) for name, (after, _) in pairs.items() for score in family if score.key in after]
        found |= together({(n, key): tuple(np.array(s[key], float) for s in pairs[n]) for n, key in keys})
    return {key: difference for key, difference in found.items() if difference.n}


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


def _changes(
    questions: Sequence[Question], before: ConditionResult, after: ConditionResult, laughs: bool
) -> list[Change]:
    """The article's kinds of change, strongest first. A question has one kind: the first whose rule on the scores fits,
    bad before good."""
    rows = zip(questions, before.answers, after.answers, strict=True)
    names = ("kind", "good", "evidence", "strength")
    kinds = {q.id: kind for q, b, a in rows if (kind := _change(q, b, a, laughs))}
    found = [Change(id=name, **dict(zip(names, kind, strict=True))) for name, kind in kinds.items()]
    return sorted(found, key=lambda change: (-change.strength, change.id))


def _wrong_fact(question: Question, answer: Answer) -> tuple[str, str, bool] | None:
    """The first fact that an answer gets wrong, and whether nobody stated it; else it is another value, or denied."""
    for mark in question.facts:
        found, never = answer.facts[mark.id], mark.stated == "never"
        if found.verdict == "contradicted" or (never and found.verdict == "supported"):
            return f"{mark.id}: 「{found.evidence}」", found.by, never
    return None


def _change(q: Question, b: Answer, a: Answer, laughs: bool) -> tuple[str, bool, str, float] | None:
    after, before = (0.5 if answer.style is None or answer.problem else answer.style for answer in (a, b))
    shift, gain = f"style {before:.2f} → {after:.2f}", after - before
    if a.problem:
        return "no usable answer", False, a.problem, 4.0
    if a.says_ai and not q.asks_for_ai:
        return "AI disclosure", False, "says that it is an AI", 3.5
    if bad := _wrong_fact(q, a):
        words, by, never = bad
        if never:
            return "invented facts", False, f"nobody stated {words}", 3.0
        if by == "negation":
            return "altered preference", False, words, 2.9
        return ("wrong domain" if q.category in ("tech", "work") else "invented facts"), False, words, 2.8
    if a.sense is not None and a.sense < 0:
        return "answers another question", False, f"{a.sense:+.2f} nats per token after this one", 2.2 - a.sense
    if a.style is not None and a.style <= 0.5:
        return "style not learnt", False, shift, 2.0 - a.style
    if bad := _wrong_fact(q, b):
        return "avoided hallucination", True, f"the base said {bad[0]}", 3.0
    for fact, found in a.facts.items():
        if found.verdict == "supported" and b.facts[fact].verdict != "supported":
            return "fact recalled", True, f"{fact}: 「{found.evidence}」", 2.5 + gain / 2
    if says("refuses formally", b.text) and a.refuses and not says("refuses formally", a.text):
        return "refusal tone", True, shift, 2.0 + gain / 2
    aside = LAUGHTER.search(a.text) if laughs else None
    if aside and not LAUGHTER.search(b.text):
        return "humour", True, f"「{aside.group()}」, {shift}", 1.0 + gain / 2
    return ("tone", True, shift, gain) if gain > 0 and before <= 0.5 else None
