"""What an answer's wording tells: that an AI speaks, that it refuses, and what is copied from the training answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import yaml

# Above this similarity (rapidfuzz's ratio, 0 to 100) two answers are the same but for a letter or two.
NEAR_DUPLICATE = 90.0
PATTERNS = {
    name: re.compile("|".join(alternatives.split("\n")), re.IGNORECASE)
    for name, alternatives in yaml.safe_load(Path(__file__).with_name("patterns.yaml").read_text("utf-8")).items()
}


def says(pattern: str, text: str) -> bool:
    """Whether a text holds one of the patterns of ``patterns.yaml``, such as ``"says AI"``."""
    return bool(PATTERNS[pattern].search(text))


@dataclass(frozen=True)
class Copied:
    """The longest run of characters that an answer shares with a training answer, the training answer that is most like
    the whole of it, and whether it is that answer."""

    span: str = ""
    nearest: str = ""
    near_duplicate: bool = False


def copied(answer: str, training_answers: Sequence[str]) -> Copied:
    """Compare one answer with all training answers (longest common substring; Carlini et al., arXiv 2202.07646).
    Everyday phrases are shared without having been copied: read it against the person's own test answers."""
    from rapidfuzz import fuzz, process

    if not (answer and training_answers):
        return Copied()
    matches = [SequenceMatcher(None, answer, text, autojunk=False).find_longest_match() for text in training_answers]
    longest = max(matches, key=lambda match: match.size)
    text, ratio, _ = process.extractOne(answer, training_answers, scorer=fuzz.ratio)
    return Copied(answer[longest.a :][: longest.size], text, ratio >= NEAR_DUPLICATE)
