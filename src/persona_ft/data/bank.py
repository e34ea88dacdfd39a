"""The interview's bank of questions, and what is said to a reader in their language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from persona_ft.conversation import Conversation, Text, read_jsonl
from persona_ft.io import read_rows
from persona_ft.paths import resolve

BANK = "data/questions.jsonl"


class BankQuestion(BaseModel):
    """A question of the bank, in Japanese and in English."""

    model_config = ConfigDict(extra="forbid")

    id: Text
    category: Text
    ja: Text
    en: Text


@cache
def words(language: str) -> dict[str, Any]:
    """What is said to a reader, in Japanese or English (words.yaml)."""
    texts = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
    return texts["ja" if language == "ja" else "en"]


def is_test(question: Conversation) -> bool:
    """Whether it is one of the bank's test questions, T01 to T30, which are never trained on."""
    return bool(re.fullmatch(r"T\d\d", question.id or ""))


def read_bank(language: str = "ja", path: Path | str | None = None) -> list[Conversation]:
    """The bank's questions in one language, test questions last, as conversations whose answer is still open (…).

    Raises
    ------
    PersonaError
        Names file and line of what cannot be used.
    """
    rows = read_rows(path or resolve(BANK), BankQuestion, 'write {"id": …, "category": …, "ja": …, "en": …}').values()
    return [
        Conversation.pair(row.en if language == "en" else row.ja, "…", id=row.id, category=row.category) for row in rows
    ]


def questions_for(source: Path | str, language: str, with_test: bool = False) -> list[Conversation]:
    """The interview's questions: ``"bank"``, or those of a JSONL file.

    Of the bank, categories take turns, so that stopping early leaves a spread; ``with_test`` lets a test question open
    each round of three.
    """
    if str(source) != "bank":
        return read_jsonl(resolve(source))
    bank = read_bank(language)
    test, train = (_in_turns([q for q in bank if is_test(q) == wanted]) for wanted in (True, False))
    if not with_test:
        return train
    rounds = [[question, *train[2 * i : 2 * i + 2]] for i, question in enumerate(test)]
    return [question for one in rounds for question in one] + train[2 * len(test) :]


def _in_turns(questions: Sequence[Conversation]) -> list[Conversation]:
    """A question of each category in turn, as far as they go."""
    piles: dict[str | None, list[Conversation]] = {}
    for question in questions:
        piles.setdefault(question.category, []).append(question)
    return [question for row in zip_longest(*piles.values()) for question in row if question]
