"""comparison.json: its classes; ``Comparison.model_json_schema()`` prints it as JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from persona_ft.conversation import FactAnnotation
from persona_ft.evaluate.statistics import Difference, Interval

BEFORE, AFTER, PERSON = "base + prompt", "tuned + prompt", "the person"
Problem = Literal["no final channel", "called a tool", "empty", "cut off", "broken characters", "repeats itself"]
PROBLEMS = get_args(Problem)
# Where the person has stated a fact: in training, in the prompt alone, nowhere.
STATED = ("train", "prompt", "never")
Verdict = Literal["supported", "contradicted", "absent"]
VERDICTS = get_args(Verdict)

Texts = Sequence[str]
# A number, or None where there is none: JSON has no NaN.
Known = Annotated[float | None, BeforeValidator(lambda value: None if value != value else value)]
KnownInterval = Annotated[
    Interval,
    BeforeValidator(lambda i: Interval(*(None if n != n else n for n in astuple(i))) if isinstance(i, Interval) else i),
]
# Headline score -> its value for each question; None: no such score.
Scores = dict[str, list[Known]]


@dataclass(frozen=True)
class Score:
    """A score of the first table: its key, how tables name it, whether it is a share of answers, whether it lies
    between 0 and 1. More is better in all of them."""

    key: str
    label: str
    is_share: bool = False
    bounded: bool = False


HEADLINE = Score("headline", "sounds like the person and answers the question", is_share=True)
HEADLINES = (
    HEADLINE,
    Score("style", "sounds like the person and like nobody else", is_share=True),
    Score("sense", "answers the question, by the base model", is_share=True),
    Score("log_likelihood", "log-likelihood of the person's answer, nats per token"),
    Score("facts_said", "stated facts that are said, share of those asked for", bounded=True),
    Score("not_invented", "facts that nobody stated, share not invented", bounded=True),
)
SCORES = {score.key: score for score in HEADLINES}


class Question(BaseModel):
    """A test question with the person's own answer."""

    id: str
    category: str
    question: str
    reference: str
    facts: list[FactAnnotation]
    asks_for_ai: bool


class FactVerdict(BaseModel):
    """What an answer does with a fact, the words that decided it, and whether those are an alias, a negated one or
    another value."""

    verdict: Verdict = "absent"
    evidence: str = ""
    by: Literal["", "alias", "negation", "value"] = ""


class Answer(BaseModel):
    """One condition's answer to one question. ``log_likelihood`` is of the reference under it."""

    text: str
    problem: Problem | None
    n_tokens: int = Field(default=0, description="new tokens, analysis included")
    wanted_tokens: int | None = Field(default=None, description="of one that was cut off: what it took with more room")
    thinking: str | None = Field(default=None, description="what it wrote to the analysis channel")
    ran_on: bool = Field(default=False, description="went on after its answer; that part is not in the text")
    style: Known = Field(description="classifier's probability for the person; above 0.5 it is accepted")
    sense: Known = Field(default=None, description="information shared with its question, nats per token")
    fits: bool | None = Field(default=None, description="whether that is above the threshold of the scale")
    log_likelihood: float = Field(description="nats per token of the person's answer")
    facts: dict[str, FactVerdict]
    says_ai: bool
    refuses: bool
    copied: str = Field(description="longest run of characters shared with a training answer")
    nearest: str = Field(default="", description="the training answer that is most like it")
    near_duplicate: bool

    def values(self, marks: Sequence[FactAnnotation]) -> dict[str, float]:
        """Its headline scores; NaN is no score. What never came has no style, no sense and no facts, and has failed in
        the headline."""
        none = dict.fromkeys(SCORES, np.nan) | {"log_likelihood": self.log_likelihood}
        if self.problem:
            return none | {"headline": 0.0}
        stated = [self.facts[m.id].verdict == "supported" for m in marks if m.stated != "never"]
        never = [self.facts[m.id].verdict == "absent" for m in marks if m.stated == "never"]
        sounds = None if self.style is None else self.style > 0.5
        both = None if sounds is None or self.fits is None else sounds and self.fits
        found = {"headline": both, "style": sounds, "sense": self.fits}
        found |= {"facts_said": np.mean(stated) if stated else None, "not_invented": np.mean(never) if never else None}
        return none | {key: float(value) for key, value in found.items() if value is not None}


class ConditionResult(BaseModel):
    """A condition with its answers: the first pass whole, further samples as texts, and scores averaged over passes."""

    name: str
    description: str
    answers: list[Answer]
    samples: list[list[str]] = []
    problems: dict[str, int] = Field(description="what was no usable answer, over all passes -> how often")
    scores: Scores = Field(description="headline score -> value a question; None: no such score")
    final_channel: float | None = Field(default=None, description="mean log-probability of no analysis, nats")

    @property
    def texts(self) -> list[str]:
        """Its answers of the first pass, whole or not."""
        return [answer.text for answer in self.answers]

    @property
    def whole_texts(self) -> list[str]:
        """The whole answers of the first pass."""
        return [answer.text for answer in self.answers if not answer.problem]

    def values(self, score: str) -> np.ndarray:
        """A headline score for each of n questions, shape (n,), NaN where a question has none."""
        return np.array(self.scores[score], float)


@dataclass(frozen=True)
class DifferenceModel(Difference):
    """``after`` minus ``before``, paired by question; p and interval are corrected for all differences of the table."""

    before: str
    after: str
    score: str


class Change(BaseModel):
    """How an answer changed from ``base + prompt`` to ``tuned + prompt``, in the article's terms, with the evidence."""

    id: str
    kind: str
    good: bool
    evidence: str
    strength: float


class StylometricRow(BaseModel):
    """A countable habit: the person's mean in training, and each condition's with its interval. The intervals hold
    together with 95 % (Bonferroni), however many habits the panel shows."""

    name: str
    unit: str
    person: float
    conditions: dict[str, KnownInterval]


class Comparison(BaseModel):
    """comparison.json."""

    schema_version: Literal[4] = 4
    setup: dict[str, Any]
    persona: str
    questions: list[Question]
    conditions: list[ConditionResult]
    summary: dict[str, dict[str, KnownInterval]] = Field(description="condition -> headline score -> interval")
    person: dict[str, KnownInterval] = Field(description="the same of the person's own test answers: the ceiling")
    best: dict[str, list[str]] = Field(description="headline score -> the best condition, and those as good (Holm)")
    differences: list[DifferenceModel]
    scales: dict[str, Known] = Field(description="what the two rulers let through, where they had not looked")
    stylometry: list[StylometricRow]
    facts: dict[str, dict[str, dict[str, int]]] = Field(description="condition -> where stated -> verdict -> count")
    counts: dict[str, dict[str, Known]] = Field(description="condition -> what is counted -> number")
    general: dict[str, Any] | None = None
    changes: list[Change]
    verdict: list[str]
    judge: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Comparison:
        """Every table is over the same questions and conditions; a file that was put together otherwise is refused."""
        names, n = {c.name for c in self.conditions}, len(self.questions)
        by_name = {BEFORE, AFTER} <= names == self.summary.keys() == self.facts.keys() and names <= self.counts.keys()
        by_score = [self.best, *self.summary.values(), *(condition.scores for condition in self.conditions)]
        by_question = [c.answers for c in self.conditions] + [v for c in self.conditions for v in c.scores.values()]
        fits = by_name and {d.score for d in self.differences} <= SCORES.keys()
        fits = fits and all(table.keys() == SCORES.keys() for table in by_score)
        if not fits or any(len(values) != n for values in by_question):
            raise ValueError("its conditions, questions and tables do not belong together")
        return self

    @property
    def protocol(self) -> str:
        """How all conditions were asked, in a sentence."""
        limit, effort = self.setup.get("max_new_tokens", "?"), self.setup.get("reasoning effort", "?")
        thought = f"and thought first, within {limit} new tokens, analysis included."
        at_once = f"with the final channel already open, so all answered without analysis, within {limit} new tokens."
        how = thought if self.setup.get("think") else at_once
        return f"Protocol: every condition was asked at {effort} effort {how}"

    def condition(self, name: str) -> ConditionResult:
        """A condition by its name."""
        return next(condition for condition in self.conditions if condition.name == name)
