"""Does an answer fit its question? Asked of the base model without a judge: is the answer likelier after its own
question than after others, and by how much (pointwise mutual information, nats per token)?"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from persona_ft.conversation import Conversation
from persona_ft.evaluate.schema import Texts
from persona_ft.gpt_oss.harmony import FINAL, as_text, encode, render_prompt
from persona_ft.gpt_oss.score import token_scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Share of the person's own answers to *other* questions that may pass as fitting.
FALSE_FIT = 0.10
# At most so many training pairs set the scale: a share of 60 is known well enough, and each costs eight rows to score.
SCALE_PAIRS = 60
N_OTHERS = 3
# A run of different letters four times over, or one sign thirty times: w and 、 may be repeated, words are not.
REPEATS = re.compile(r"((\w)(?!\2)\w+?)\1{3,}|(.)\3{29,}")


def defect(text: str) -> str | None:
    """What makes a text no answer whatever it says: broken characters, or a run that repeats itself."""
    return "broken characters" if "\ufffd" in text else "repeats itself" if REPEATS.search(text) else None


def information(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Texts,
    answers: Texts,
    among: Texts,
    batch_size: int = 32,
) -> np.ndarray:
    """Pointwise mutual information of n answers with their questions under the base, nats per token, shape (n,);
    NaN for an empty answer. Each token's log-probability after the answer's own question, less the log of its mean
    probability after three others of ``among``, averaged over the answer. Weakness: a base that understands little
    finds no answer likelier than another."""
    draw, place = random.Random(0), {}
    rows: list[list[int]] = []  # for each answer the numbers of what is scored: after its own question, after others
    for question, answer in zip(questions, answers, strict=True):
        pool = sorted({text for text in among if text != question})
        asked = [question, *draw.sample(pool, min(N_OTHERS, len(pool)))] if answer else []
        rows.append([place.setdefault((one, answer), len(place)) for one in asked])
    opened = {
        one: render_prompt(tokenizer, [{"role": "user", "content": one}], "low").removesuffix(FINAL) + FINAL
        for one in {question for question, _ in place}
    }
    before = [encode(tokenizer, opened[question]) for question, _ in place]
    after = [encode(tokenizer, f"{as_text(answer)}<|return|>") for _, answer in place]
    with model.disable_adapter() if hasattr(model, "peft_config") else nullcontext():
        scores = [np.array(row) for row in token_scores(model, tokenizer, before, after, batch_size)]

    def shared(own: int, *others: int) -> float:
        return float(np.mean(scores[own] - np.log(np.mean(np.exp([scores[k] for k in others]), axis=0))))

    return np.array([shared(*row) if len(row) > 1 else np.nan for row in rows])


@dataclass(frozen=True)
class SenseScale:
    """Where an answer fits: ``threshold``, nats per token that :data:`FALSE_FIT` of the person's training answers reach
    with a question of another pair, and ``own``, the share that reach it with theirs: what this base is able to see."""

    threshold: float
    own: float

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Conversation], **how: int
    ) -> SenseScale:
        """The scale of one base and one person."""
        chosen = random.Random(0).sample(list(pairs), min(SCALE_PAIRS, len(pairs)))
        questions, answers = [pair.question for pair in chosen], [pair.answer for pair in chosen]
        shuffled = [*questions[1:], *questions[:1]]  # in an order drawn by lot, so the next one is another at random
        found = information(model, tokenizer, [*questions, *shuffled], answers * 2, questions, **how)
        own, other = found[: len(chosen)], found[len(chosen) :]
        threshold = float(np.nanquantile(other, 1 - FALSE_FIT))
        return cls(threshold, float(np.mean(own > threshold)))
