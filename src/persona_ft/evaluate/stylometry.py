"""Countable habits, each found in the data: length, endings, first person, marks, politeness, language, markdown."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from persona_ft.language import JAPANESE, LAUGHTER, POLITE

# Words for "I" that an answer may use; which one is the person's is learnt.
FIRST_PERSON = {
    **{
        word: re.escape(word)
        for word in ("僕", "ぼく", "ボク", "俺", "おれ", "オレ", "私", "わたし", "あたし", "うち", "わし")
    },
    "I": r"\bI\b",
}
MARKDOWN = re.compile(r"\*\*|^#{1,6} |^\s*(?:[-*+]|\d+\.) |`|\]\(|^\|", re.M)
SENTENCE_END = re.compile(r"[。．.！!？?…\n]+")


@dataclass(frozen=True)
class Feature:
    """A countable habit: its name, what its values count, and the function that counts it in an answer."""

    name: str
    unit: str
    count: Callable[[str], float]


def sentences(text: str) -> list[str]:
    """The text's sentences, without what stands between them."""
    return [part for part in (piece.strip() for piece in SENTENCE_END.split(text)) if part]


def ending(sentence: str) -> str:
    """The last two letters of a sentence, after its marks and laughter."""
    return re.sub(r"[\W_]+$", "", LAUGHTER.sub("", sentence))[-2:]


def marks_of(text: str) -> Counter[str]:
    """Punctuation, symbols and emoji, and laughter under one name."""
    rest, laughs = LAUGHTER.subn("", text)
    found = Counter(c for c in rest if unicodedata.category(c)[0] in "PS")
    return found + Counter({"laughter": laughs}) if laughs else found


def is_emoji(character: str) -> bool:
    """Whether a character is a pictograph (Unicode's blocks of them)."""
    return 0x1F300 <= ord(character) <= 0x1FAFF or 0x2600 <= ord(character) <= 0x27BF


def learn_features(person: Sequence[str], base: Sequence[str], n_marks: int = 5, n_endings: int = 3) -> list[Feature]:
    """What to count, from the training answers and the base's answers to the same questions.

    The marks are those whose mean count differs most between the two, the endings the person's most common ones, the
    word for "I" the one that the person uses most. Weakness: each is one number of a habit, and a model can meet all of
    them and say nothing.
    """
    features = [
        Feature("length", "characters", len),
        Feature("polite forms", "share of sentences", lambda text: _share(text, lambda s: bool(POLITE.search(s)))),
        Feature("Japanese", "share of letters", _japanese_share),
        Feature("markdown", "share of answers", lambda text: float(bool(MARKDOWN.search(text)))),
        Feature("emoji", "per answer", lambda text: float(sum(map(is_emoji, text)))),
    ]
    words = Counter({word: sum(bool(re.search(p, text)) for text in person) for word, p in FIRST_PERSON.items()})
    if words and words.most_common(1)[0][1]:
        word = words.most_common(1)[0][0]
        pattern = re.compile(FIRST_PERSON[word])
        features.append(Feature(f"says {word}", "share of answers", lambda text: float(bool(pattern.search(text)))))
    means = [Counter[str]() for _ in range(2)]
    for texts, mean in zip((person, base), means, strict=True):
        for text in texts:
            mean.update({mark: n / len(texts) for mark, n in marks_of(text).items()})
    apart = sorted(means[0].keys() | means[1].keys(), key=lambda m: -abs(means[0][m] - means[1][m]))
    for mark in [m for m in apart if m == "laughter" or not is_emoji(m)][:n_marks]:
        features.append(
            Feature(
                mark if mark == "laughter" else f"mark {mark}", "per answer", lambda text, m=mark: marks_of(text)[m]
            )
        )
    endings = Counter(e for text in person for sentence in sentences(text) if len(e := ending(sentence)) == 2)
    for end, n in endings.most_common(n_endings):
        if n >= 2:
            count = lambda text, e=end: _share(text, lambda s: ending(s) == e)  # noqa: E731
            features.append(Feature(f"ends in -{end}", "share of sentences", count))
    return features


def measure(features: Sequence[Feature], answers: Sequence[str]) -> dict[str, np.ndarray]:
    """Each feature's value for each of n answers: name -> shape (n,)."""
    return {feature.name: np.array([feature.count(answer) for answer in answers], float) for feature in features}


def _share(text: str, test: Callable[[str], bool]) -> float:
    parts = sentences(text)
    return sum(map(test, parts)) / len(parts) if parts else 0.0


def _japanese_share(text: str) -> float:
    letters = [c for c in text if c.isalpha()]
    return len(JAPANESE.findall(text)) / len(letters) if letters else 0.0
