"""What is counted in texts: habits, each found in the data, and what is copied from the training answers."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial

import numpy as np

from persona_ft.evaluate.schema import StylometricRow, Texts
from persona_ft.evaluate.statistics import ALPHA, mean_interval
from persona_ft.language import LAUGHTER, POLITE, script_share

# Words for "I" that an answer may use; which one is the person's is learnt.
FIRST_PERSON = ("僕", "ぼく", "ボク", "俺", "おれ", "オレ", "私", "わたし", "あたし", "うち", "わし", "I")
MARKDOWN = re.compile(r"\*\*|^#{1,6} |^[^\S\n]*(?:[-*+]|\d+\.) |`|\]\(|^\|", re.M)
# Above this similarity (rapidfuzz's ratio, 0 to 100) two answers are the same but for a letter or two.
NEAR_DUPLICATE = 90.0
SENTENCE_END = re.compile(r"[。．.！!？?…\n]+")


@dataclass(frozen=True)
class Feature:
    """A countable habit: its name, what its values count, and the function that counts it in an answer."""

    name: str
    unit: str
    count: Callable[[str], float]


def _share_of_sentences(test: Callable[[str], object], text: str) -> float:
    parts = _sentences(text)
    return sum(bool(test(part)) for part in parts) / len(parts) if parts else 0.0


def _sentences(text: str) -> list[str]:
    return [part for piece in SENTENCE_END.split(text) if (part := piece.strip())]


def _ending(sentence: str) -> str:
    """The last two letters of a sentence, after its marks and laughter."""
    text = LAUGHTER.sub("", sentence)
    return text.rstrip("".join(c for c in {*text} if not c.isalnum()))[-2:]


def _marks(text: str) -> Counter[str]:
    """Punctuation, symbols and emoji, and laughter under one name."""
    rest, laughs = LAUGHTER.subn("", text)
    return Counter([c for c in rest if unicodedata.category(c)[0] in "PS"] + ["laughter"] * laughs)


def _is_emoji(character: str) -> bool:
    """Whether a character is a pictograph (Unicode's blocks of them)."""
    return 0x1F300 <= ord(character) <= 0x1FAFF or 0x2600 <= ord(character) <= 0x27BF


def _says_i(word: str, text: str) -> bool:
    return bool(re.search(r"\bI\b" if word == "I" else word, text))


def learn_features(person: Texts, base: Texts, n_marks: int = 5, n_endings: int = 3) -> list[Feature]:
    """What to count: the marks whose mean count differs most between the training answers and the base's, the person's
    most common endings and word for "I". Weakness: a model can meet all of them and say nothing."""
    features = [
        Feature("length", "characters", len),
        Feature("polite forms", "share of sentences", partial(_share_of_sentences, POLITE.search)),
        Feature("Japanese", "share of letters", lambda text: script_share(text, "ja") or 0.0),
        Feature("markdown", "share of answers", lambda text: float(bool(MARKDOWN.search(text)))),
        Feature("emoji", "per answer", lambda text: float(sum(map(_is_emoji, text)))),
    ]
    word, n = Counter({word: sum(_says_i(word, text) for text in person) for word in FIRST_PERSON}).most_common(1)[0]
    if n:
        features.append(Feature(f"says {word}", "share of answers", partial(_says_i, word)))
    own, other = (sum(map(_marks, texts), Counter()) for texts in (person, base))
    apart = sorted(own | other, key=lambda m: -abs(own[m] / max(1, len(person)) - other[m] / max(1, len(base))))
    for mark in [m for m in apart if m == "laughter" or not _is_emoji(m)][:n_marks]:
        name = mark if mark == "laughter" else f"mark {mark}"
        features.append(Feature(name, "per answer", lambda text, mark=mark: _marks(text)[mark]))
    endings = Counter(_ending(sentence) for text in person for sentence in _sentences(text))
    common = [end for end, n in endings.most_common() if n >= 2 and len(end) == 2]
    for end in common[:n_endings]:
        count = partial(_share_of_sentences, lambda sentence, end=end: _ending(sentence) == end)
        features.append(Feature(f"ends in -{end}", "share of sentences", count))
    return features


def measure(features: Sequence[Feature], answers: Texts) -> dict[str, np.ndarray]:
    """Each feature's value for each of n answers: name -> shape (n,)."""
    return {feature.name: np.array([feature.count(answer) for answer in answers], float) for feature in features}


def stylometric_rows(person: Texts, base: Texts, conditions: dict[str, Texts]) -> list[StylometricRow]:
    """The stylometry panel: each habit's mean in the training answers and, with its interval, in each condition."""
    features = learn_features(person, base)
    own, *measured = (measure(features, texts) for texts in (person, *conditions.values()))
    confidence, rows = 1 - ALPHA / max(1, len(features) * len(conditions)), []
    for feature in features:
        intervals = (mean_interval(values[feature.name], confidence) for values in measured)
        found, mean = dict(zip(conditions, intervals, strict=True)), own[feature.name].mean()
        rows.append(StylometricRow(name=feature.name, unit=feature.unit, person=mean, conditions=found))
    return rows


@dataclass(frozen=True)
class Copied:
    """The longest run of characters that an answer shares with a training answer, the training answer that is most like
    the whole of it, and whether it is that answer."""

    copied: str = ""
    nearest: str = ""
    near_duplicate: bool = False


def copied(answer: str, training_answers: Texts) -> Copied:
    """Compare one answer with all training answers (longest common substring; Carlini et al., arXiv 2202.07646).
    Everyday phrases are shared without having been copied: read it against the person's own test answers."""
    from rapidfuzz import fuzz, process

    if not (answer and training_answers):
        return Copied()
    matches = [SequenceMatcher(None, answer, text, autojunk=False).find_longest_match() for text in training_answers]
    longest = max(matches, key=lambda match: match.size)
    text, ratio, _ = process.extractOne(answer, training_answers, scorer=fuzz.ratio)
    return Copied(answer[longest.a :][: longest.size], text, ratio >= NEAR_DUPLICATE)
