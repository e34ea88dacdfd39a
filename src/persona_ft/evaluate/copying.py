"""How much of an answer is copied from the training answers, and which of them it is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# Above this similarity (rapidfuzz's ratio, 0 to 100) two answers are the same but for a letter or two.
NEAR_DUPLICATE = 90.0


@dataclass(frozen=True)
class Copied:
    """The longest run of characters that an answer shares with a training answer, the training answer that is most like
    the whole of it, and whether it is that answer."""

    span: str
    nearest: str
    near_duplicate: bool


def copied(answer: str, training_answers: Sequence[str]) -> Copied:
    """Compare one answer with all training answers (longest common substring; Carlini et al., arXiv 2202.07646).

    Weakness: everyday phrases are shared without having been copied, so read it against the person's own test answers.
    """
    from rapidfuzz import fuzz, process

    span = ""
    for text in training_answers:
        match = SequenceMatcher(None, answer, text, autojunk=False).find_longest_match()
        if match.size > len(span):
            span = answer[match.a : match.a + match.size]
    nearest = process.extractOne(answer, training_answers, scorer=fuzz.ratio) if answer else None
    return Copied(span, nearest[0], nearest[1] >= NEAR_DUPLICATE) if nearest else Copied(span, "", False)
