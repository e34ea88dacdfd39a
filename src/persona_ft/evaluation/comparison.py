"""One comparison: arms asked the same questions, scored, set against each other, and said in three sentences.

The classes are the schema of ``comparison.json``; ``Comparison.model_json_schema()`` prints it as JSON Schema.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from persona_ft.errors import PersonaError
from persona_ft.evaluation.disclosure import asked_for_ai, refuses, refuses_formally, says_ai
from persona_ft.evaluation.facts import judge, mentioned
from persona_ft.evaluation.memorisation import Copied, copied
from persona_ft.evaluation.statistics import (
    ALPHA,
    Difference,
    Interval,
    difference,
    mean_interval,
    share,
    together,
)
from persona_ft.evaluation.style import NgramProfile, StyleClassifier, preparations
from persona_ft.evaluation.surface import Feature, learn_features, measure
from persona_ft.language import LAUGHTER
from persona_ft.model import Completion
from persona_ft.persona import Fact, Persona

SCHEMA = 3
BEFORE, AFTER = "base + prompt", "tuned + prompt"
PROBLEMS = ("no final channel", "called a tool", "empty", "cut off")
# The same two characters or more, four times in a row: w and 、 may be repeated, words are not.
REPEATS = re.compile(r"(\w{2,}?)\1{3,}")
# Below this share of whole answers a condition is named before anything is said of it.
ENOUGH_ANSWERS = 0.9
Stated = Literal["train", "prompt", "never"]


@dataclass(frozen=True)
class Score:
    """A headline score: its key, how tables name it, whether more is better, whether it is a share of answers,
    whether it belongs to all answers together rather than to each, and whether it lies between 0 and 1."""

    key: str
    label: str
    more_is_better: bool = True
    is_share: bool = False
    pooled: bool = False
    bounded: bool = False

    def word(self, mean: float, p_adjusted: float) -> str:
        """What may be said of a difference: better or worse where its adjusted p is below 0.05."""
        if p_adjusted >= ALPHA:
            return "no clear difference"
        return "better" if (mean > 0) == self.more_is_better else "worse"


HEADLINES = (
    Score("style", "answers in the person's style", is_share=True),
    Score("distance", "character n-gram distance to the person", more_is_better=False, pooled=True),
    Score("log_likelihood", "log-likelihood of the person's answer, nats per token"),
    Score("true_first", "the true answer is likelier than 3 others of the person", is_share=True),
    Score("facts_said", "stated facts that are said, share of those asked for", bounded=True),
    Score("not_invented", "facts that nobody stated, share not invented", bounded=True),
)

SCORES = {score.key: score for score in HEADLINES}
# Scores of what an answer says, which an answer that never came does not have.
HEARD = ("style", "distance")


class FactMark(BaseModel):
    """A fact that a question touches, and where the person has stated it: in training, in the prompt alone, nowhere."""

    id: str
    stated: Stated


class Question(BaseModel):
    """A test question with the person's own answer."""

    id: str
    category: str
    question: str
    reference: str
    facts: list[FactMark]
    asks_for_ai: bool


class FactVerdict(BaseModel):
    """What an answer does with a fact, and the words that decided it."""

    verdict: Literal["supported", "contradicted", "absent"]
    evidence: str = ""
    by: Literal["", "alias", "negation", "value"] = ""


class Answer(BaseModel):
    """One arm's answer to one question. ``log_likelihood`` and ``rank`` are of the reference under that arm."""

    text: str
    problem: Literal["no final channel", "called a tool", "empty", "cut off"] | None
    n_tokens: int = Field(default=0, description="new tokens, analysis included")
    wanted_tokens: int | None = Field(default=None, description="of one that was cut off: what it took with more room")
    thinking: str | None = Field(default=None, description="what it wrote to the analysis channel")
    ran_on: bool = Field(default=False, description="went on after its answer; that part is not in the text")
    style: float | None = Field(description="classifier's probability for the person, 0 to 1")
    log_likelihood: float = Field(description="nats per token of the person's answer")
    rank: int = Field(description="of the person's answer among 4, 1 is the likeliest")
    facts: dict[str, FactVerdict]
    says_ai: bool
    refuses: bool
    copied: str = Field(description="longest run of characters shared with a training answer")
    near_duplicate: bool

    def values(self, marks: Sequence[FactMark]) -> dict[str, float]:
        """Its headline scores. NaN is no score: of facts where none is asked for, and of anything that is heard in an
        answer where there is no whole answer. What never came has no style, says no fact and invents none."""
        whole = not self.problem
        stated = [self.facts[m.id].verdict == "supported" for m in marks if m.stated != "never" and whole]
        never = [self.facts[m.id].verdict == "absent" for m in marks if m.stated == "never" and whole]
        return {
            "style": float(self.style > 0.5) if whole and self.style is not None else float("nan"),
            "log_likelihood": self.log_likelihood,
            "true_first": float(self.rank == 1),
            "facts_said": float(np.mean(stated)) if stated else float("nan"),
            "not_invented": float(np.mean(never)) if never else float("nan"),
        }


class ArmResult(BaseModel):
    """An arm with its answers: the first pass whole, further samples as texts, and the scores' means over passes."""

    name: str
    description: str
    answers: list[Answer]
    samples: list[list[str]] = []
    problems: dict[str, int] = Field(description="what was no usable answer, over all passes -> how often")
    scores: dict[str, list[float | None]] = Field(description="headline score -> value a question; None: no such score")
    final_channel: float | None = Field(
        default=None, description="mean log-probability of going straight to the final channel, nats"
    )

    @property
    def texts(self) -> list[str]:
        """Its answers of the first pass, whole or not."""
        return [answer.text for answer in self.answers]

    @property
    def whole(self) -> list[bool]:
        """Which questions of the first pass have a whole answer."""
        return [not answer.problem for answer in self.answers]

    @property
    def whole_texts(self) -> list[str]:
        """The whole answers of the first pass."""
        return [answer.text for answer in self.answers if not answer.problem]

    def values(self, score: str) -> np.ndarray:
        """A headline score for each of n questions, shape (n,), NaN where a question has none."""
        return np.array([float("nan") if v is None else v for v in self.scores[score]], float)


class IntervalModel(BaseModel):
    """A value and its 95 % interval; ``None`` where there is nothing to count."""

    value: float | None
    low: float | None
    high: float | None


class DifferenceModel(BaseModel):
    """``after`` minus ``before``, paired by question; ``p_adjusted`` is Holm's over all differences of the table."""

    before: str
    after: str
    score: str
    mean: float
    low: float
    high: float
    n: int
    p: float
    p_adjusted: float


class Change(BaseModel):
    """How an answer changed from ``base + prompt`` to ``tuned + prompt``, in the article's terms, with the evidence."""

    id: str
    kind: str
    good: bool
    evidence: str
    strength: float


class SurfaceRow(BaseModel):
    """A countable habit: the person's mean in training, and each arm's mean with its interval.

    The intervals are Bonferroni's: together they hold with 95 %, however many habits the panel shows.
    """

    name: str
    unit: str
    person: float
    arms: dict[str, IntervalModel]


class Comparison(BaseModel):
    """comparison.json."""

    schema_version: Literal[3] = SCHEMA
    setup: dict[str, Any]
    persona: str
    questions: list[Question]
    arms: list[ArmResult]
    summary: dict[str, dict[str, IntervalModel]] = Field(description="arm -> headline score -> interval")
    person: dict[str, IntervalModel] = Field(
        description="the person's own test answers under the same scores: the ceiling"
    )
    best: dict[str, list[str]] = Field(
        description="headline score -> the best arm, then those that cannot be told from it"
    )
    differences: list[DifferenceModel]
    style_checks: dict[str, dict[str, float | None]] = Field(
        description="preparation -> accuracy, person, and share by arm"
    )
    surface: list[SurfaceRow]
    facts: dict[str, dict[str, dict[str, int]]] = Field(description="arm -> where stated -> verdict -> count")
    counts: dict[str, dict[str, float | None]] = Field(description="arm -> what is counted -> number")
    general: dict[str, Any] | None = None
    changes: list[Change]
    verdict: list[str]
    judge: dict[str, Any] | None = None

    @property
    def protocol(self) -> str:
        """How all conditions were asked, in a sentence."""
        limit, effort = self.setup.get("max_new_tokens", "?"), self.setup.get("reasoning effort", "?")
        if self.setup.get("think"):
            return (
                f"Protocol: every condition was asked at {effort} effort and thought first, within {limit} new tokens, "
                "analysis included."
            )
        return (
            f"Protocol: every condition was asked at {effort} effort with the final channel already open, so all "
            f"answered without analysis, within {limit} new tokens."
        )

    def arm(self, name: str) -> ArmResult:
        """An arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)


def questions_of(persona: Persona) -> list[Question]:
    """The test questions; where a fact is stated is read from the texts, whatever the file's mark claims: some answers
    may have been set aside."""
    facts = known_facts(persona)
    stated: dict[str, Stated] = {}
    for fact_id, fact in facts.items():
        in_training = any(mentioned(pair.answer, fact) for pair in persona.train)
        topic = fact_id in {topic.id for topic in persona.profile.unknown_topics}
        in_prompt = mentioned(persona.profile.system_prompt, fact)
        stated[fact_id] = "never" if topic else "train" if in_training else "prompt" if in_prompt else "never"
    return [
        Question(
            id=item.id or "",
            category=item.category or "",
            question=item.question,
            reference=item.answer,
            facts=[FactMark(id=m.id, stated=stated[m.id]) for m in item.facts if m.id in facts],
            asks_for_ai=asked_for_ai(item.question),
        )
        for item in persona.test
    ]


def check_test(persona: Persona) -> None:
    """Stop at fact marks that mean nothing, and say when there are too few questions for any test.

    Raises
    ------
    PersonaError
        A test item names a fact or topic that persona.yaml does not have.
    """
    profile = persona.profile
    known = {fact.id for fact in profile.facts} | {topic.id for topic in profile.unknown_topics}
    for item in persona.test:
        for mark in item.facts:
            if mark.id not in known:
                remedy = "add it to facts: or unknown_topics: in persona.yaml, or remove the mark"
                raise PersonaError(f"{item.id} names the fact {mark.id!r}, which nobody knows", remedy, "test.jsonl")
    if len(persona.test) < 6:
        print(f"note: with {len(persona.test)} questions no difference can be told from chance; 30 are a start")


def known_facts(persona: Persona) -> dict[str, Fact]:
    """The facts that can be judged, by id: the persona's, and the unknown topics whose claims are listed."""
    topics = [fact for topic in persona.profile.unknown_topics if (fact := topic.as_fact())]
    return {fact.id: fact for fact in [*persona.profile.facts, *topics]}


def with_distractors(references: Sequence[str], n: int = 3, seed: int = 0) -> list[list[str]]:
    """For each reference answer itself and then n other test answers of the same person, drawn by seed."""
    draw = random.Random(seed)
    others = [[text for text in references if text != reference] for reference in references]
    return [[r, *draw.sample(o, min(n, len(o)))] for r, o in zip(references, others, strict=True)]


@dataclass
class Scorer:
    """What all arms are scored with: the persona, what tells its style, and the questions."""

    persona: Persona
    style: StyleClassifier
    profile: NgramProfile
    questions: list[Question]

    def score(
        self, completions: Sequence[Completion], likelihoods: Sequence[float], ranks: Sequence[int]
    ) -> list[Answer]:
        """Score one pass over the n test questions.

        Parameters
        ----------
        completions : one a question; one without a final channel, or an empty one, has no style and no fact.
        likelihoods : of the reference under the arm, nats per token.
        ranks : of the reference among itself and the distractors.
        """
        texts = [completion.answer or "" for completion in completions]
        facts, training = known_facts(self.persona), [pair.answer for pair in self.persona.train]
        probabilities = self.style.probabilities(texts)
        found = []
        for i, (question, completion, text) in enumerate(zip(self.questions, completions, texts, strict=True)):
            span = copied(text, training)
            found.append(
                Answer(
                    text=text,
                    problem=completion.problem,
                    n_tokens=completion.n_tokens,
                    wanted_tokens=completion.wanted,
                    thinking=completion.thinking,
                    ran_on=completion.ran_on,
                    style=None if np.isnan(probabilities[i]) else float(probabilities[i]),
                    log_likelihood=float(likelihoods[i]),
                    rank=int(ranks[i]),
                    facts={m.id: FactVerdict(**asdict(judge(text, facts[m.id]))) for m in question.facts},
                    says_ai=says_ai(text),
                    refuses=refuses(text),
                    copied=span.span,
                    near_duplicate=span.near_duplicate,
                )
            )
        return found

    def arm(
        self,
        name: str,
        description: str,
        passes: Sequence[Sequence[Answer]],
        final_channel: Sequence[float] | None = None,
    ) -> ArmResult:
        """Put one or more passes of an arm together; scores are means over the passes that have them.

        ``final_channel``: for each question the log-probability of going straight to the final channel.
        """
        values = [[answer.values(q.facts) for answer, q in zip(one, self.questions, strict=True)] for one in passes]
        scores = {
            score.key: mean_known([[v[score.key] for v in one] for one in values])
            for score in HEADLINES
            if not score.pooled
        }
        return ArmResult(
            name=name,
            description=description,
            answers=list(passes[0]),
            samples=[[answer.text for answer in one] for one in passes[1:]],
            problems={kind: sum(a.problem == kind for one in passes for a in one) for kind in PROBLEMS},
            scores={key: [None if np.isnan(v) else v for v in row] for key, row in scores.items()},
            final_channel=None if final_channel is None else float(np.mean(final_channel)),
        )

    def person(self) -> dict[str, Interval]:
        """The person's own test answers: style, distance from training to test, facts as judged."""
        texts = [question.reference for question in self.questions]
        facts = known_facts(self.persona)
        said = [
            [judge(q.reference, facts[m.id]).verdict == "supported" for m in q.facts if m.stated != "never"]
            for q in self.questions
        ]
        return {
            "style": style_share(self.style, texts),
            "distance": self.profile.interval(texts),
            "facts_said": mean_interval([float(np.mean(one)) for one in said if one], bounded=True),
        }


def mean_known(passes: Sequence[Sequence[float]]) -> list[float]:
    """Mean over passes, question by question; NaN where no pass has the score."""
    rows = np.asarray(passes, float)
    known = ~np.isnan(rows)
    return (np.where(known, rows, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)).tolist()


def ranks_of(log_likelihoods: Sequence[Sequence[float]]) -> list[int]:
    """Rank of each row's first candidate among its row, 1 is the likeliest."""
    return [1 + sum(other > row[0] for other in row[1:]) for row in log_likelihoods]


def style_share(style: StyleClassifier, texts: Sequence[str]) -> Interval:
    """Share of texts in the person's style, with its exact interval; NaN where the classifier knows nothing."""
    likely = style.probabilities(texts)
    return share(int((likely > 0.5).sum()), int((~np.isnan(likely)).sum()))


def interval_of(arm: ArmResult, score: Score, profile: NgramProfile) -> Interval:
    """An arm's score with its interval: exact for a share of answers asked once, jackknife for a pooled score, else
    bootstrap."""
    if score.pooled:
        return profile.interval(arm.whole_texts)
    values = arm.values(score.key)
    values = values[~np.isnan(values)]
    if score.is_share and set(values) <= {0.0, 1.0}:
        return share(int(values.sum()), len(values))
    return mean_interval(values, bounded=score.bounded)


def arm_difference(
    after: ArmResult, before: ArmResult, score: Score, profile: NgramProfile
) -> tuple[Interval, int, float]:
    """``after`` minus ``before`` in one score, over the questions that both have it for: mean with interval, n
    questions, p-value."""
    if score.pooled:
        both = [i for i, pair in enumerate(zip(after.whole, before.whole, strict=True)) if all(pair)]
        interval, p = profile.difference([after.texts[i] for i in both], [before.texts[i] for i in both])
        return interval, len(both), p
    return difference(after.values(score.key), before.values(score.key))


def compare_arms(
    after: ArmResult, others: Sequence[ArmResult], profile: NgramProfile
) -> dict[tuple[str, str], Difference]:
    """``after`` minus each other arm, every headline score: (other's name, score) -> difference, all Holm-adjusted
    together."""
    return together(
        {(o.name, score.key): arm_difference(after, o, score, profile) for o in others for score in HEADLINES}
    )


def best_arms(
    arms: Sequence[ArmResult], summary: dict[str, dict[str, Interval]], profile: NgramProfile
) -> dict[str, list[str]]:
    """For each headline score the best arm, and those that cannot be told from it (p > 0.05, Holm over the arms)."""
    found = {}
    for score in HEADLINES:
        means = {arm.name: summary[arm.name][score.key].value for arm in arms}
        known = {name: value for name, value in means.items() if not np.isnan(value)}
        if not known:
            found[score.key] = []
            continue
        best = (max if score.more_is_better else min)(known, key=known.__getitem__)
        first = next(arm for arm in arms if arm.name == best)
        against = together({arm.name: arm_difference(first, arm, score, profile) for arm in arms if arm is not first})
        found[score.key] = [best, *(name for name, d in against.items() if d.p_adjusted > ALPHA)]
    return found


def fact_table(questions: Sequence[Question], arm: ArmResult) -> dict[str, dict[str, int]]:
    """Verdicts counted by where the fact is stated."""
    table = {
        stated: dict.fromkeys(("supported", "contradicted", "absent"), 0) for stated in ("train", "prompt", "never")
    }
    for question, answer in zip(questions, arm.answers, strict=True):
        for mark in question.facts:
            table[mark.stated]["absent" if answer.problem else answer.facts[mark.id].verdict] += 1
    return table


def count_table(questions: Sequence[Question], arm: ArmResult) -> dict[str, float | None]:
    """What is counted beside the scores, in the first pass; unusable answers in all passes."""
    copies = [Copied(a.copied, a.near_duplicate) for a in arm.answers]
    answers = arm.answers
    thought = [a for a in answers if a.thinking]
    return arm.problems | {
        "went on after its answer": sum(a.ran_on for a in answers),
        "thought before answering": len(thought),
        "new tokens, analysis included, median": float(np.median([a.n_tokens for a in answers])),
        "probability of answering at once": None if arm.final_channel is None else math.exp(arm.final_channel),
        **_counts(questions, arm.texts, copies),
    }


def count_person(questions: Sequence[Question], training: Sequence[str]) -> dict[str, float | None]:
    """The same counts for the person's own test answers, which were not copied from anywhere."""
    texts = [question.reference for question in questions]
    none = dict.fromkeys((*PROBLEMS, "went on after its answer", "thought before answering"), 0)
    unknown = dict.fromkeys(("new tokens, analysis included, median", "probability of answering at once"))
    return none | unknown | _counts(questions, texts, [copied(text, training) for text in texts])


def _counts(questions: Sequence[Question], texts: Sequence[str], copies: Sequence[Copied]) -> dict[str, float]:
    disclosed = [question.asks_for_ai for question, text in zip(questions, texts, strict=True) if says_ai(text)]
    runs = [len(copy.span) for copy in copies]
    return {
        "says it is an AI, unasked": len(disclosed) - sum(disclosed),
        "says it is an AI, asked": sum(disclosed),
        "refuses": sum(map(refuses, texts)),
        "holds a broken character": sum("\ufffd" in text for text in texts),
        "repeats itself": sum(REPEATS.search(text) is not None for text in texts),
        "near-duplicate of a training answer": sum(copy.near_duplicate for copy in copies),
        "longest copied run, median characters": float(np.median(runs)),
        "longest copied run, most characters": max(runs),
        "length, mean characters": float(np.mean([len(text) for text in texts])),
    }


def surface_rows(
    features: Sequence[Feature], training: Sequence[str], arms: dict[str, Sequence[str]]
) -> list[SurfaceRow]:
    """The surface panel: each habit's mean for the person's training answers and, with intervals, for each arm."""
    person = measure(features, training)
    measured = {name: measure(features, texts) for name, texts in arms.items()}
    confidence = 1 - ALPHA / max(1, len(features) * len(arms))
    return [
        SurfaceRow(
            name=feature.name,
            unit=feature.unit,
            person=float(person[feature.name].mean()),
            arms={
                name: interval_model(mean_interval(values[feature.name], confidence=confidence))
                for name, values in measured.items()
            },
        )
        for feature in features
    ]


def interval_model(interval: Interval) -> IntervalModel:
    """An interval as JSON can hold it."""
    return IntervalModel(**{k: None if np.isnan(v) else v for k, v in asdict(interval).items()})


def classify_changes(
    questions: Sequence[Question], before: ArmResult, after: ArmResult, persona: Persona
) -> list[Change]:
    """The article's kinds of change, each given by a rule on the scores, with the evidence; strongest first.

    Good: *refusal tone* (turned down as a friend where the base was formal), *humour* (a laugh or an aside that the
    base has not), *avoided hallucination* (the base contradicted a fact or invented one), *fact recalled*, *tone*.
    Bad: *no usable answer*, *AI disclosure*, *invented facts* (a fact that nobody stated, or another value), *altered
    preference* (a stated fact turned into its opposite), *wrong domain* (another value where the question is about
    work or technology), *style not learnt*. A question has one kind: the first that fits, bad before good.
    """
    laughs = any(LAUGHTER.search(pair.answer) for pair in persona.train)
    found = []
    for question, b, a in zip(questions, before.answers, after.answers, strict=True):
        kind, good, evidence, strength = _change(question, b, a, laughs)
        if kind:
            found.append(Change(id=question.id, kind=kind, good=good, evidence=evidence, strength=strength))
    return sorted(found, key=lambda change: (-change.strength, change.id))


def _change(q: Question, b: Answer, a: Answer, laughs: bool) -> tuple[str, bool, str, float]:
    after, before = (0.5 if answer.style is None or answer.problem else answer.style for answer in (a, b))
    shift, gain = f"style {before:.2f} → {after:.2f}", after - before
    if a.problem:
        return "no usable answer", False, a.problem, 4.0
    if a.says_ai and not q.asks_for_ai:
        return "AI disclosure", False, "says that it is an AI", 3.5
    never = {m.id for m in q.facts if m.stated == "never"}

    def wrong(answer: Answer) -> tuple[str, FactVerdict] | None:
        """The first fact that an answer gets wrong: one that nobody stated, or one turned into something else."""
        for fact, found in answer.facts.items():
            if found.verdict == "contradicted" or (fact in never and found.verdict == "supported"):
                return fact, found
        return None

    if bad := wrong(a):
        fact, found = bad
        words = f"{fact}: 「{found.evidence}」"
        if fact in never:
            return "invented facts", False, f"nobody stated {words}", 3.0
        if found.by == "negation":
            return "altered preference", False, words, 2.9
        return ("wrong domain" if q.category in ("tech", "work") else "invented facts"), False, words, 2.8
    if a.style is not None and a.style <= 0.5:
        return "style not learnt", False, shift, 2.0 - a.style
    if bad := wrong(b):
        return "avoided hallucination", True, f"the base said {bad[0]}: 「{bad[1].evidence}」", 3.0
    for fact, found in a.facts.items():
        if found.verdict == "supported" and b.facts[fact].verdict != "supported":
            return "fact recalled", True, f"{fact}: 「{found.evidence}」", 2.5 + gain / 2
    if refuses_formally(b.text) and a.refuses and not refuses_formally(a.text):
        return "refusal tone", True, shift, 2.0 + gain / 2
    aside = LAUGHTER.search(a.text) if laughs else None
    if aside and not LAUGHTER.search(b.text):
        return "humour", True, f"「{aside.group()}」, {shift}", 1.0 + gain / 2
    return ("tone", True, shift, gain) if gain > 0 and before <= 0.5 else ("", True, "", 0.0)


def verdict(comparison: Comparison) -> list[str]:
    """Three sentences, on style, likelihood and facts, that claim no more than the adjusted tests allow. Where many
    answers are missing, one on those comes first."""
    found = {(d.before, d.score): d for d in comparison.differences if d.after == AFTER}

    def against(score: Score, unit: str) -> str:
        said = []
        for arm in comparison.arms:
            d = found.get((arm.name, score.key))
            if d is None or arm.name not in (BEFORE, "base + examples"):
                continue
            word = score.word(d.mean, d.p_adjusted)
            word = f"{word} than" if d.p_adjusted < ALPHA else "not clearly different from"
            scale, digits = (100, 0) if unit == "points" else (1, 2)
            over = f", over {d.n} questions" if d.n < len(comparison.questions) and score.key in HEARD else ""
            said.append(
                f"{word} {arm.name} ({d.mean * scale:+.{digits}f} {unit} "
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
    for arm in comparison.arms:
        n = len(arm.answers)
        if sum(arm.whole) >= ENOUGH_ANSWERS * n:
            continue
        kinds = ", ".join(
            f"{count} {kind}" for kind in PROBLEMS if (count := sum(a.problem == kind for a in arm.answers))
        )
        named.append(f"{arm.name} gave {sum(arm.whole)} whole answers to {n} questions ({kinds})")
    if not named:
        return ""
    limit = comparison.setup.get("max_new_tokens")
    more = [a.wanted_tokens for arm in comparison.arms for a in arm.answers if a.wanted_tokens]
    remedy = f"; with room for {max(more)} tokens {len(more)} more would have been whole" if more else ""
    at = f" within {limit} new tokens" if limit else ""
    return (
        f"Missing answers{at}: {'; '.join(named)}{remedy}. What an answer says is compared over the questions that "
        "both conditions answered."
    )


def build_comparison(
    scorer: Scorer,
    arms: Sequence[ArmResult],
    setup: dict[str, Any],
    person_train: Sequence[str],
    base_train: Sequence[str],
) -> Comparison:
    """Put scored arms together into one comparison.

    Parameters
    ----------
    arms : the scored arms, ``base + prompt`` and ``tuned + prompt`` among them.
    setup : what was run on what, for the record.
    person_train, base_train : the person's and the base's answers to the training questions.
    """
    after = next(arm for arm in arms if arm.name == AFTER)
    texts = {arm.name: arm.whole_texts for arm in arms}
    references = [question.reference for question in scorer.questions]
    checks = {}
    for name, prepared in preparations(person_train).items():
        classifier = StyleClassifier(person_train, base_train, prepared=prepared)
        shares = {arm: style_share(classifier, t).value for arm, t in texts.items()}
        person = style_share(classifier, references).value
        checks[name] = {"accuracy": classifier.cross_validated_accuracy, "the person": person} | shares
        checks[name] = {key: None if np.isnan(value) else value for key, value in checks[name].items()}
    compared = compare_arms(after, [arm for arm in arms if arm is not after], scorer.profile)
    summary = {arm.name: {s.key: interval_of(arm, s, scorer.profile) for s in HEADLINES} for arm in arms}
    comparison = Comparison(
        setup=setup,
        persona=scorer.persona.profile.name,
        questions=scorer.questions,
        arms=list(arms),
        summary={arm: {key: interval_model(i) for key, i in scores.items()} for arm, scores in summary.items()},
        best=best_arms(arms, summary, scorer.profile),
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
        surface=surface_rows(learn_features(person_train, base_train), person_train, texts),
        facts={arm.name: fact_table(scorer.questions, arm) for arm in arms},
        counts={arm.name: count_table(scorer.questions, arm) for arm in arms}
        | {"the person": count_person(scorer.questions, person_train)},
        changes=classify_changes(
            scorer.questions, next(arm for arm in arms if arm.name == BEFORE), after, scorer.persona
        ),
        verdict=[],
    )
    comparison.verdict = verdict(comparison)
    return comparison
