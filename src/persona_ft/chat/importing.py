"""From an export to training pairs and a test set: paired, cleaned of private data, without doubles, split by time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from persona_ft.chat.messages import Funnel, open_text
from persona_ft.chat.pairing import Pairing, Reply, advice, pairs_of
from persona_ft.chat.privacy import REGIONS, Privacy, kinds
from persona_ft.chat.read import read_chat, speakers
from persona_ft.conversation import Conversation
from persona_ft.dataset import comparable, near_duplicates
from persona_ft.errors import PersonaError
from persona_ft.settings import resolve


@dataclass(frozen=True)
class Imported:
    """Pairs to train on (oldest first), the newest pairs to test with, what became of the rest, and what was private.

    ``months``: pairs by month of the answer. ``findings`` holds the originals in their context, in memory alone: show
    it to nobody but the user.
    """

    pairs: list[Conversation]
    test: list[Conversation]
    funnel: Funnel
    months: dict[str, int]
    privacy: Privacy
    findings: list[dict[str, str]]


def choose_me(found: Sequence[tuple[str, int]], me: str) -> frozenset[str]:
    """The speakers that are you: names separated by commas, as the export writes them.

    Raises
    ------
    PersonaError
        None is given, or one is no speaker; the message lists those that there are, with their messages.
    """
    there = ", ".join(f"{name} ({n:,})" for name, n in found[:10])
    wanted = frozenset(name.strip() for name in me.split(",") if name.strip())
    if not wanted or not wanted <= {name for name, _ in found}:
        unknown = ", ".join(sorted(wanted - {name for name, _ in found}))
        reason = f"nobody in the chat is called {unknown}" if unknown else "who of the speakers are you?"
        raise PersonaError(reason, f"set ME to one of: {there or 'nobody, the chat has no text'}")
    return wanted


def import_chat(
    path: Path | str,
    me: str,
    how: Pairing | None = None,
    privacy: Privacy | None = None,
    fmt: str = "auto",
    columns: dict[str, str] | None = None,
    n_pairs: int = 500,
    n_test: int = 30,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    seed: int = 42,
) -> Imported:
    """Read, pair, clean and split one export. Nothing is written.

    The newest ``n_test`` replies are for the test, and what lies before the pause in front of them for training, so
    that one talk is not on both sides; pairs whose question is nearly a test question are left out, as are doubles. Of
    more than ``n_pairs`` a sample is drawn by ``seed``. Everything that is left out is in the funnel.

    Parameters
    ----------
    me : the speakers that are you, separated by commas.
    how : windows and limits; its ``me`` is replaced.
    privacy : takes private data out; the speakers' names are added to its own.
    columns : for a table whose columns have other names, as :func:`~persona_ft.chat.read.read_chat` takes them.
    keep : kinds of private data to leave as they are.
    drop : kinds of private data whose pairs are left out altogether.

    Raises
    ------
    PersonaError
        The export cannot be read, nobody is ``me``, or too little is left; the message says what to change.
    """
    keep, drop = kinds(keep), kinds(drop)
    found = speakers(read_chat(path, fmt, columns))
    mine = choose_me(found, me)
    how = Pairing(mine) if how is None else Pairing(mine, *_limits(how))
    names = [name for name, _ in found if name not in mine]
    privacy = Privacy([*(privacy.names if privacy else ()), *names], privacy.regions if privacy else REGIONS)
    funnel = Funnel()
    replies = sorted(pairs_of(read_chat(path, fmt, columns), how, funnel), key=lambda reply: reply.at)
    seen: set[tuple[str, str]] = set()
    unique: list[Reply] = []
    for reply in replies:
        key = (comparable(reply.question), comparable(reply.answer))
        if key in seen:
            funnel.drop("said before, word for word", f"{reply.at:%Y-%m-%d %H:%M}")
            continue
        seen.add(key)
        private = {f.kind for text in (reply.question, reply.answer) for f in privacy.find(text)} if drop else set()
        if private & set(drop):
            funnel.drop(f"holds {', '.join(sorted(private & set(drop)))}", f"{reply.at:%Y-%m-%d %H:%M}")
            continue
        unique.append(reply)
    if len(unique) < n_test + 8:
        funnel.kept = len(unique)
        raise PersonaError(
            f"{len(unique)} pairs are left of {funnel.read:,} messages, too few to test with {n_test} and train on 8",
            advice(funnel, how) or "lower N_TEST, or take a longer chat",
            Path(path).name,
        )
    at, cut = pause_before(unique, len(unique) - n_test), len(unique) - n_test
    for reply in unique[at:cut]:
        funnel.drop("of the same talk as a test question", f"{reply.at:%Y-%m-%d %H:%M}")
    before, newest = unique[:at], unique[cut:]
    if len(before) > n_pairs:
        funnel.drop("more than N_PAIRS: a sample was drawn", f"{len(before)} pairs", len(before) - n_pairs)
        before = [before[i] for i in sorted(random.Random(seed).sample(range(len(before)), n_pairs))]
    findings = [row for reply in (*before, *newest) for row in privacy.review((reply.question, reply.answer))]
    test = [_cleaned(reply, privacy, keep, f"C{n:02d}") for n, reply in enumerate(newest, start=1)]
    pairs = [_cleaned(reply, privacy, keep) for reply in before]
    near = (
        {leak.first for leak in near_duplicates([p.question for p in pairs], [t.question for t in test])}
        if test
        else set()
    )
    for pair in pairs:
        if pair.question in near:
            funnel.drop("nearly a test question", "after the split")
    pairs = [pair for pair in pairs if pair.question not in near]
    funnel.kept = len(pairs) + len(test)
    months = Counter(f"{reply.at:%Y-%m}" for reply in (*before, *newest))
    return Imported(pairs, test, funnel, dict(sorted(months.items())), privacy, findings)


def listed(text: str) -> list[str]:
    """Parts separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def names_in(names: str) -> list[str]:
    """Names from a text file with one a line, or separated by commas.

    Raises
    ------
    PersonaError
        The file cannot be read.
    """
    if not names.strip().lower().endswith(".txt"):
        return listed(names)
    with open_text(resolve(names.strip())) as stream:
        return [line.strip() for line in stream if line.strip()]


def preview(
    path: Path | str,
    me: str,
    how: Pairing,
    fmt: str = "auto",
    columns: dict[str, str] | None = None,
    reply_minutes: Sequence[float] = (10, 60, 360, 1440),
) -> list[dict[str, float]]:
    """How many pairs other windows would give: one row for each of ``reply_minutes``, and your own merging beside half
    and twice as much."""
    mine = choose_me(speakers(read_chat(path, fmt, columns)), me)
    _, _, shortest, longest = _limits(how)
    rows = []
    for reply in sorted({*reply_minutes, how.reply_minutes}):
        row: dict[str, float] = {"reply within, minutes": reply}
        for merge in (how.merge_minutes / 2, how.merge_minutes, how.merge_minutes * 2):
            funnel = Funnel()
            for _ in pairs_of(read_chat(path, fmt, columns), Pairing(mine, merge, reply, shortest, longest), funnel):
                pass
            row[f"merged within {merge:g}"] = funnel.kept
        rows.append(row)
    return rows


def pause_before(replies: Sequence[Reply], index: int) -> int:
    """Where training should end for a test that begins at ``index``: at the longest pause within the hundred replies
    before it, six hours or more being enough."""
    best, longest = index, timedelta(0)
    for i in range(index, max(8, index - 100), -1):
        pause = replies[i].at - replies[i - 1].at if i < len(replies) else timedelta(0)
        if pause > longest:
            best, longest = i, pause
        if pause >= timedelta(hours=6):
            break
    return best


def _limits(how: Pairing) -> tuple[float, float, int, int]:
    return how.merge_minutes, how.reply_minutes, how.min_characters, how.max_characters


def _cleaned(reply: Reply, privacy: Privacy, keep: Sequence[str], pair_id: str | None = None) -> Conversation:
    question, answer = (privacy.clean(text, keep) for text in (reply.question, reply.answer))
    return Conversation.pair(question, answer, category="chat", id=pair_id)
