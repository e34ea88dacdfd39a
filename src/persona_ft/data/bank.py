"""The interview's bank of questions, and what is said to a reader in their language."""

import re
from itertools import filterfalse
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from persona_ft.conversation import Conversation, Text, read_jsonl
from persona_ft.data.split import in_turns
from persona_ft.io import packaged, read_rows
from persona_ft.paths import resolve

BANK = "data/questions.jsonl"


class BankQuestion(BaseModel, extra="forbid"):
    """A question of the bank, in Japanese and in English."""

    id: Text
    category: Text
    ja: Text
    en: Text


def words(language: str) -> dict[str, Any]:
    """What is said to a reader, in Japanese or English (words.yaml)."""
    return packaged("data/words")["ja" if language == "ja" else "en"]


def is_test(question: Conversation) -> bool:
    """Whether it is one of the bank's test questions, T01 to T30, which are never trained on."""
    return bool(re.fullmatch(r"T\d\d", question.id or ""))


def read_bank(language: str = "ja", path: Path | str | None = None) -> list[Conversation]:
    """The bank's questions in one language, test questions last, as conversations whose answer is still open (…)."""
    rows = read_rows(path or resolve(BANK), BankQuestion, 'write {"id": …, "category": …, "ja": …, "en": …}').values()
    said = "en" if language == "en" else "ja"
    return [Conversation.pair(getattr(row, said), "…", id=row.id, category=row.category) for row in rows]


def questions_for(source: Path | str, language: str, with_test: bool = False) -> list[Conversation]:
    """The interview's questions: ``"bank"``, or those of a JSONL file. Of the bank, categories take turns, so that
    stopping early leaves a spread; ``with_test`` lets a test question open each round of three."""
    if str(source) != "bank":
        return read_jsonl(resolve(source))
    bank, category = read_bank(language), attrgetter("category")
    questions = list(in_turns(filterfalse(is_test, bank), category))
    for n, question in enumerate(in_turns(filter(is_test, bank), category) if with_test else ()):
        questions.insert(3 * n, question)
    return questions
