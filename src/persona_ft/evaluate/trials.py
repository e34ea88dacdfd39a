"""Small experiments: a fresh adapter, trained for a few steps with one setting changed, and three figures for it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_ft.conversation import Conversation
from persona_ft.errors import PersonaError
from persona_ft.evaluate.conditions import reference_likelihoods
from persona_ft.evaluate.schema import Texts
from persona_ft.evaluate.statistics import Interval, share
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.evaluate.stylometry import copied
from persona_ft.gpt_oss.generate import generate_completions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Trial:
    """One experiment on the test questions: the last batch's loss (nats per graded token), the share of answers in the
    person's style, the likelihood of the person's own answers (nats per token), the longest run of characters shared
    with a trained answer, mean over the answers and over the person's own, and the answers. ``value``, of the setting
    that was changed, is filled in by whoever changed it."""

    steps: int
    loss: float
    style: Interval
    log_likelihood: float
    copied: float
    person_copied: float
    answers: tuple[str, ...]
    value: float = math.nan

    def __str__(self) -> str:
        trained = f"{self.value:g}: {self.steps} steps, last loss {self.loss:.2f}" if self.steps else "not trained"
        scores = f"style {self.style.value:.0%}, likelihood {self.log_likelihood:.2f}"
        return f"{trained}; {scores}, copied {self.copied:.1f} of {self.person_copied:.1f}"


def values_to_try(name: str, values: object, least: float, most: float = math.inf, whole: bool = True) -> list:
    """A parameter's list of values, sorted; those above ``most`` are left out, with a word. PersonaError names what is
    no list of numbers, or holds one below ``least``."""
    kind = int if whole else (int, float)
    if not isinstance(values, list) or not all(isinstance(value, kind) and value >= least for value in values):
        what = f"{'whole numbers' if whole else 'numbers'} of at least {least:g}"
        raise PersonaError(f"{name} is {values!r}, no list of {what}", f"give {name} as a list, or [] to leave it out")
    if over := [str(value) for value in values if value > most]:
        print(f"{name}: {', '.join(over)} left out, since there are {most}")
    return sorted({value for value in values if value <= most})


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    references: Texts,
    style: StyleClassifier,
    trained_on: Sequence[Conversation],
    losses: Sequence[float],
    max_new_tokens: int = 96,
) -> Trial:
    """Ask the n test questions, greedily, and score the answers. ``references``: the person's own; ``trained_on``: the
    pairs of this trial, whose answers may have been copied; ``losses``: one a step, none of a base."""
    answers = [c.answer or "" for c in generate_completions(model, tokenizer, prompts, max_new_tokens)]
    likely = reference_likelihoods(model, tokenizer, prompts, references)
    shown = [pair.answer for pair in trained_on]
    runs, own_runs = ([len(copied(text, shown).copied) for text in texts] for texts in (answers, references))
    return Trial(
        steps=len(losses),
        loss=losses[-1] if losses else math.nan,
        style=share(int((style.probabilities(answers) > 0.5).sum()), len(answers)),
        log_likelihood=float(likely.mean()),
        copied=statistics.mean(runs),
        person_copied=statistics.mean(own_runs),
        answers=tuple(answers),
    )
