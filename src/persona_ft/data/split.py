"""A data set: look for duplicates and leaks, and split it."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from persona_ft.conversation import Conversation
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.harmony import as_text, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Item = TypeVar("Item")
Texts = Sequence[str]


def comparable(text: str) -> str:
    """Letters and digits alone, in one width and case, so that punctuation and spaces do not hide a duplicate."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


class NearDuplicate(NamedTuple):
    """Two texts that are nearly the same. ``similarity`` is rapidfuzz's ratio, 0 to 100."""

    first: str
    second: str
    similarity: float


def near_duplicates(texts: Texts, others: Texts | None = None, threshold: float = 80.0) -> list[NearDuplicate]:
    """Texts and others, or without others texts among themselves, whose similarity reaches the threshold, most similar
    first: rapidfuzz's ratio, ``100 x (1 - insertions and deletions / both lengths)``."""
    second = texts if others is None else others
    found = [NearDuplicate(texts[i], second[j], score) for i, j, score in sorted(near_places(texts, others, threshold))]
    return sorted(found, key=lambda pair: -pair.similarity)


def near_places(texts: Texts, others: Texts | None = None, threshold: float = 80.0) -> Iterator[tuple[int, int, float]]:
    """As :func:`near_duplicates`, in no order: (place in ``texts``, place in the other texts or later in ``texts``,
    similarity). Texts of like length alone are compared, 200 at a time: 20,000 of a chat take some ten seconds."""
    from rapidfuzz import fuzz, process

    mine = sorted(enumerate(map(comparable, texts)), key=lambda row: len(row[1]))
    theirs = mine if others is None else sorted(enumerate(map(comparable, others)), key=lambda row: len(row[1]))
    share = threshold / (200 - threshold) - 1e-9  # of the longer one's length
    for start in range(0, len(mine), 200):
        rows, later = mine[start : start + 200], theirs[start:] if others is None else theirs
        least, most = len(rows[0][1]) * share, len(rows[-1][1])
        columns = [row for row in later if least <= len(row[1]) and len(row[1]) * share <= most]
        written = ([text for _, text in side] for side in (rows, columns))
        scores = process.cdist(*written, scorer=fuzz.ratio, score_cutoff=threshold, workers=-1)
        for row, column in zip(*scores.nonzero(), strict=True):
            i, j = rows[row][0], columns[column][0]
            if others is not None or row < column:
                yield *((i, j) if others is not None else sorted((i, j))), float(scores[row, column])


def check_leakage(train: Sequence[Conversation], test: Sequence[Conversation], threshold: float = 80.0) -> None:
    """Raise a PersonaError where a test question is nearly the same as a training question."""
    if leaks := near_duplicates([c.question for c in test], [c.question for c in train], threshold):
        lines = "; ".join(f"「{leak.first}」 ~ 「{leak.second}」" for leak in leaks[:3])
        reason = f"{len(leaks)} test questions are nearly the same as training questions: {lines}"
        remedy = "reword or remove one of each pair: a model that is tested on what it has seen is not tested"
        raise PersonaError(reason, remedy)


def allot(n_pairs: int, n_test: int = 30, n_validation: int = 8) -> tuple[int, int]:
    """How many pairs to test with and how many to watch: what is asked for, and of few pairs a quarter and a fifth of
    the rest at most. A number to watch that leaves nothing to train on is left for :func:`split_validation` to refuse.
    """
    test = min(n_test, n_pairs // 4)
    left = n_pairs - test
    return test, n_validation if n_validation >= left else min(n_validation, left // 5)


def split_validation(
    pairs: Sequence[Conversation], n_validation: int, seed: int = 42, groups: Sequence[int] | None = None
) -> tuple[list[Conversation], list[Conversation]]:
    """Set pairs aside to watch while training: training pairs and these, both in the order of ``pairs``.

    They are from all categories in turn, the same ones for the same seed. A pair whose question has a near twin among
    the others stays in training: set aside, it would be known already. PersonaError where none is left to train on.

    ``groups`` says from which talk each pair is, in the order of time: whole talks are set aside then, so that none is
    on both sides, and a few pairs more than ``n_validation`` may be. Of a single long talk the newest pairs are.
    """
    n = len(pairs)
    if not 0 <= n_validation < n:
        reason = f"N_VALIDATION = {n_validation} does not leave a pair to train on ({n} pairs)"
        raise PersonaError(reason, f"set N_VALIDATION between 0 and {n - 1}")
    draw = random.Random(seed)
    twins = {text for twin in near_duplicates([p.question for p in pairs]) for text in (twin.first, twin.second)}
    free = [i for i in range(n) if pairs[i].question not in twins]
    free = free if len(free) >= n_validation else list(range(n))
    if groups is None:
        by_category = sorted(_piles(free, lambda i: pairs[i].category or "").items())
        piles = [draw.sample(rows, len(rows))[::-1] for _, rows in by_category]
        draw.shuffle(piles)
        chosen = set(islice(_dealt(piles), n_validation))
    else:
        chosen = set()
        talks = [talk for talk in _piles(range(n), groups.__getitem__).values() if set(talk) <= set(free)]
        for talk in draw.sample(talks, len(talks)):
            if len(chosen) < n_validation and len(chosen) + len(talk) <= max(2 * n_validation, n_validation + 4):
                chosen.update(talk)
        chosen = chosen if len(chosen) >= n_validation else set(range(n - n_validation, n))
    return [pairs[i] for i in range(n) if i not in chosen], [pairs[i] for i in sorted(chosen)]


def in_turns(items: Iterable[Item], key: Callable[[Item], Hashable]) -> Iterator[Item]:
    """An item of each kind in turn, as far as they go."""
    return _dealt(_piles(items, key).values())


def _piles(items: Iterable[Item], key: Callable[[Item], Hashable]) -> dict[Hashable, list[Item]]:
    piles = defaultdict(list)
    for item in items:
        piles[key(item)].append(item)
    return piles


def _dealt(piles: Iterable[list[Item]]) -> Iterator[Item]:
    return (item for row in zip_longest(*piles) for item in row if item is not None)


def token_lengths(tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Conversation]) -> list[int]:
    """Tokens in each pair's answer, without the template around it."""
    return [len(encode(tokenizer, as_text(pair.answer))) for pair in pairs]
