"""What tuning cost: a few general questions with known answers, asked without any persona."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from persona_ft.conversation import Conversation, Text
from persona_ft.data.persona import Fact
from persona_ft.evaluate.facts import mentioned
from persona_ft.evaluate.statistics import paired_difference, sign_test
from persona_ft.io import read_rows


class GeneralQuestion(BaseModel):
    """A question that anybody can check; ``answer`` is scored, ``accept`` are ways to write a right answer."""

    model_config = ConfigDict(extra="forbid")

    id: Text
    question: Text
    answer: Text
    accept: list[Text] = Field(min_length=1)

    def is_right(self, text: str) -> bool:
        """Whether a text holds an accepted answer as a word of its own."""
        return mentioned(text, Fact(id=self.id, stated="never", aliases=self.accept))

    def conversation(self) -> Conversation:
        return Conversation.pair(self.question, self.answer, id=self.id)


def read_general(path: Path | str) -> list[GeneralQuestion]:
    """Read the questions, one JSON object a line; PersonaError names file and line of what cannot be used."""
    remedy = 'write {"id": …, "question": …, "answer": …, "accept": [ways to write it]}'
    return list(read_rows(path, GeneralQuestion, remedy).values())


@dataclass(frozen=True)
class GeneralResult:
    """Right answers and log-likelihoods (nats per token of the right answer) of base and tuned, n questions each."""

    base_right: Sequence[bool]
    tuned_right: Sequence[bool]
    base_likelihood: Sequence[float]
    tuned_likelihood: Sequence[float]

    def as_dict(self) -> dict[str, Any]:
        """Counts, the paired change in likelihood with its interval, and the sign test on right answers."""
        base, tuned = np.array(self.base_right, bool), np.array(self.tuned_right, bool)
        lost, won = int((base & ~tuned).sum()), int((tuned & ~base).sum())
        return {
            "n": len(base),
            "base_right": int(base.sum()),
            "tuned_right": int(tuned.sum()),
            "lost": lost,
            "p": sign_test(won, lost),
            "base_likelihood": float(np.mean(self.base_likelihood)),
            "tuned_likelihood": float(np.mean(self.tuned_likelihood)),
            "likelihood_change": list(astuple(paired_difference(self.tuned_likelihood, self.base_likelihood))),
        }
