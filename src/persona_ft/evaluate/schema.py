"""comparison.json: its classes; ``Comparison.model_json_schema()`` prints it as JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from persona_ft.evaluate.statistics import ALPHA

SCHEMA = 4

BEFORE, AFTER = "base + prompt", "tuned + prompt"
PROBLEMS = ("no final channel", "called a tool", "empty", "cut off", "broken characters", "repeats itself")
Problem = Literal["no final channel", "called a tool", "empty", "cut off", "broken characters", "repeats itself"]

# Below this share of whole answers a condition is named before anything is said of it.
ENOUGH_ANSWERS = 0.9

Stated = Literal["train", "prompt", "never"]


@dataclass(frozen=True)
class Score:
    """A score of the first table: its key, how tables name it, whether it is a share of answers, whether it lies
    between 0 and 1. More is better in all of them."""

    key: str
    label: str
    is_share: bool = False
    bounded: bool = False

    def word(self, mean: float, p_adjusted: float) -> str:
        """What may be said of a difference: better or worse where its adjusted p is below 0.05."""
        if p_adjusted >= ALPHA:
            return "no clear difference"
        return "better" if mean > 0 else "worse"


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

# Scores of what an answer says, which an answer that never came does not have.
HEARD = ("style", "sense")


class FactAnnotation(BaseModel):
    """A fact that a question touches, and where the person has stated it: in training, in the prompt alone, nowhere."""

    id: str
    stated: Stated


class Question(BaseModel):
    """A test question with the person's own answer."""

    id: str
    category: str
    question: str
    reference: str
    facts: list[FactAnnotation]
    asks_for_ai: bool


class FactVerdict(BaseModel):
    """What an answer does with a fact, and the words that decided it."""

    verdict: Literal["supported", "contradicted", "absent"]
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
    style: float | None = Field(description="classifier's probability for the person; above 0.5 it is accepted")
    sense: float | None = Field(default=None, description="information shared with its question, nats per token")
    fits: bool | None = Field(default=None, description="whether that is above the threshold of the scale")
    log_likelihood: float = Field(description="nats per token of the person's answer")
    facts: dict[str, FactVerdict]
    says_ai: bool
    refuses: bool
    copied: str = Field(description="longest run of characters shared with a training answer")
    nearest: str = Field(default="", description="the training answer that is most like it")
    near_duplicate: bool

    def values(self, marks: Sequence[FactAnnotation]) -> dict[str, float]:
        """Its headline scores. NaN is no score: of facts where none is asked for, and of anything that is heard in an
        answer where there is no whole answer. What never came has no style, says no fact and invents none; in
        the headline it has failed."""
        whole = not self.problem
        stated = [self.facts[m.id].verdict == "supported" for m in marks if m.stated != "never" and whole]
        never = [self.facts[m.id].verdict == "absent" for m in marks if m.stated == "never" and whole]
        sounds = float("nan") if self.style is None or not whole else float(self.style > 0.5)
        fits = float("nan") if self.fits is None or not whole else float(self.fits)
        return {
            "headline": sounds * fits if whole else 0.0,
            "style": sounds,
            "sense": fits,
            "log_likelihood": self.log_likelihood,
            "facts_said": float(np.mean(stated)) if stated else float("nan"),
            "not_invented": float(np.mean(never)) if never else float("nan"),
        }


class ConditionResult(BaseModel):
    """A condition with its answers: the first pass whole, further samples as texts, and scores averaged over passes."""

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
    """``after`` minus ``before``, paired by question; p and interval are corrected for all differences of the table."""

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


class StylometricRow(BaseModel):
    """A countable habit: the person's mean in training, and each condition's mean with its interval.

    The intervals are Bonferroni's: together they hold with 95 %, however many habits the panel shows.
    """

    name: str
    unit: str
    person: float
    conditions: dict[str, IntervalModel]


class Comparison(BaseModel):
    """comparison.json."""

    schema_version: Literal[4] = SCHEMA
    setup: dict[str, Any]
    persona: str
    questions: list[Question]
    conditions: list[ConditionResult]
    summary: dict[str, dict[str, IntervalModel]] = Field(description="condition -> headline score -> interval")
    person: dict[str, IntervalModel] = Field(
        description="the person's own test answers under the same scores: the ceiling"
    )
    best: dict[str, list[str]] = Field(
        description="headline score -> the best condition, then those that cannot be told from it"
    )
    differences: list[DifferenceModel]
    scales: dict[str, float | None] = Field(description="what the two rulers let through, where they had not looked")
    stylometry: list[StylometricRow]
    facts: dict[str, dict[str, dict[str, int]]] = Field(description="condition -> where stated -> verdict -> count")
    counts: dict[str, dict[str, float | None]] = Field(description="condition -> what is counted -> number")
    general: dict[str, Any] | None = None
    changes: list[Change]
    verdict: list[str]
    judge: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Comparison:
        """Every table is over the same questions and conditions; a file that was put together otherwise is refused."""
        names, keys, n = [c.name for c in self.conditions], {s.key for s in HEADLINES}, len(self.questions)
        whole = {BEFORE, AFTER} <= set(names) and self.summary.keys() == self.facts.keys() == set(names)
        for condition in self.conditions:
            whole &= len(condition.answers) == n and condition.scores.keys() == keys
            whole &= all(len(values) == n for values in condition.scores.values())
        known = all(s.keys() == keys for s in self.summary.values()) and {d.score for d in self.differences} <= keys
        if not (whole and known and self.best.keys() == keys and self.counts.keys() >= set(names)):
            raise ValueError("its conditions, questions and tables do not belong together")
        return self

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

    def condition(self, name: str) -> ConditionResult:
        """A condition by its name."""
        return next(condition for condition in self.conditions if condition.name == name)
