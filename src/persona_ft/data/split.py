"""A data set: keep every line, look for duplicates and leaks, split."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_ft.conversation import Conversation
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.harmony import as_text, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def comparable(text: str) -> str:
    """Letters and digits alone, in one width and case, so that punctuation and spaces do not hide a duplicate."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


@dataclass(frozen=True)
class NearDuplicate:
    """Two texts that are nearly the same. ``similarity`` is rapidfuzz's ratio, 0 to 100."""

    first: str
    second: str
    similarity: float


def near_duplicates(
    texts: Sequence[str], others: Sequence[str] | None = None, threshold: float = 80.0
) -> list[NearDuplicate]:
    """Pairs of texts whose normalised edit similarity reaches the threshold, most similar first.

    Parameters
    ----------
    texts : n texts.
    others : compare with these instead of among themselves.
    threshold : rapidfuzz's ratio, ``100 x (1 - insertions and deletions / both lengths)``.
    """
    second = texts if others is None else others
    found = [NearDuplicate(texts[i], second[j], score) for i, j, score in near_places(texts, others, threshold)]
    return sorted(found, key=lambda pair: -pair.similarity)


def near_places(
    texts: Sequence[str], others: Sequence[str] | None = None, threshold: float = 80.0
) -> Iterator[tuple[int, int, float]]:
    """As :func:`near_duplicates`: (place in ``texts``, place in the other texts or later in ``texts``, similarity).

    A thousand texts are compared at a time, so that memory grows with their number and not with its square.
    """
    from rapidfuzz import fuzz, process

    mine = [comparable(text) for text in texts]
    theirs = mine if others is None else [comparable(text) for text in others]
    for start in range(0, len(mine), 1000):
        scores = process.cdist(mine[start : start + 1000], theirs, scorer=fuzz.ratio, score_cutoff=threshold)
        for i, j in zip(*scores.nonzero(), strict=True):
            if others is not None or start + i < j:
                yield start + int(i), int(j), float(scores[i, j])


def check_leakage(train: Sequence[Conversation], test: Sequence[Conversation], threshold: float = 80.0) -> None:
    """Refuse test questions that the training pairs already answer.

    Raises
    ------
    PersonaError
        A test question is nearly the same as a training question.
    """
    leaks = near_duplicates([c.question for c in test], [c.question for c in train], threshold)
    if leaks:
        lines = "; ".join(f"「{leak.first}」 ~ 「{leak.second}」" for leak in leaks[:3])
        raise PersonaError(
            f"{len(leaks)} test questions are nearly the same as training questions: {lines}",
            "reword or remove one of each pair: a model that is tested on what it has seen is not tested",
        )


def allot(n_pairs: int, n_test: int = 30, n_validation: int = 8) -> tuple[int, int]:
    """How many pairs to test with and how many to watch: what is asked for, and of few pairs a quarter and a fifth of
    the rest at most. A number to watch that leaves nothing to train on is left for :func:`split_validation` to refuse.
    """
    test = min(n_test, n_pairs // 4)
    left = n_pairs - test
    return test, n_validation if n_validation >= left else min(n_validation, left // 5)


def split_validation(
    pairs: Sequence[Conversation],
    n_validation: int,
    seed: int = 42,
    groups: Sequence[int] | None = None,
    similar: float = 80.0,
) -> tuple[list[Conversation], list[Conversation]]:
    """Set pairs aside to watch while training, from all categories in turn, the same ones for the same seed.

    A pair whose question has a near twin among the others stays in training: set aside, it would be known already.

    Parameters
    ----------
    pairs : the training pairs.
    n_validation : how many to set aside; fewer than the pairs.
    groups : the talk that each pair is from, in the order of time; whole talks are set aside then, so that none is on
        both sides, and a few pairs more than ``n_validation`` may be. Of a single long talk the newest pairs are.
    similar : what a near twin is, as :func:`near_duplicates` has it.

    Returns
    -------
    train, validation : both in the order of ``pairs``.
    """
    if not 0 <= n_validation < len(pairs):
        raise PersonaError(
            f"N_VALIDATION = {n_validation} does not leave a pair to train on ({len(pairs)} pairs)",
            f"set N_VALIDATION between 0 and {len(pairs) - 1}",
        )
    generator = random.Random(seed)
    twins = {
        q for twin in near_duplicates([p.question for p in pairs], threshold=similar) for q in (twin.first, twin.second)
    }
    free = [i for i, pair in enumerate(pairs) if pair.question not in twins]
    free = free if len(free) >= n_validation else list(range(len(pairs)))
    chosen = (
        _by_category(pairs, free, n_validation, generator)
        if groups is None
        else _by_talk(groups, free, n_validation, generator)
    )
    return [p for i, p in enumerate(pairs) if i not in chosen], [p for i, p in enumerate(pairs) if i in chosen]


def _by_category(
    pairs: Sequence[Conversation], free: Sequence[int], n_validation: int, generator: random.Random
) -> set[int]:
    by_category: dict[str, list[int]] = {}
    for i in free:
        by_category.setdefault(pairs[i].category or "", []).append(i)
    piles = [generator.sample(rows, len(rows)) for _, rows in sorted(by_category.items())]
    generator.shuffle(piles)
    chosen: set[int] = set()
    while len(chosen) < n_validation:
        for pile in piles:
            if pile and len(chosen) < n_validation:
                chosen.add(pile.pop())
    return chosen


def _by_talk(groups: Sequence[int], free: Sequence[int], n_validation: int, generator: random.Random) -> set[int]:
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    whole = [rows for rows in members.values() if set(rows) <= set(free)]
    chosen: set[int] = set()
    for rows in generator.sample(whole, len(whole)):
        if len(chosen) >= n_validation:
            return chosen
        if len(chosen) + len(rows) <= max(2 * n_validation, n_validation + 4):
            chosen.update(rows)
    return chosen if len(chosen) >= n_validation else set(range(len(groups) - n_validation, len(groups)))


def token_lengths(tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Conversation]) -> list[int]:
    """Tokens in each pair's answer, without the template around it."""
    return [len(encode(tokenizer, as_text(pair.answer))) for pair in pairs]
