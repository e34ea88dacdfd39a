"""From an export to training pairs and a test set: paired, cleaned of private data, without doubles, split by time."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path

from persona_ft.chat.likely import read_likely
from persona_ft.chat.messages import Funnel, open_text, readable
from persona_ft.chat.pairing import MOST, Pairing, Reply, advice, check_number, pairs_of
from persona_ft.chat.privacy import REGIONS, Privacy, kinds
from persona_ft.chat.read import read_chat, speakers
from persona_ft.chat.review import Review, apply_choices, export_digest, read_choices, review_of
from persona_ft.chat.sieve import near_ones, sieved, split, talks
from persona_ft.chat.table import COLUMNS
from persona_ft.chat.times import ORDERS
from persona_ft.conversation import CONTROL_WORD, Conversation
from persona_ft.errors import PersonaError
from persona_ft.language import LANGUAGES
from persona_ft.paths import resolve

SIZES = {"n_pairs": (1, 20_000, int), "n_test": (0, 20_000, int), "similar": (0, 100, float)}


@dataclass(frozen=True)
class Imported:
    """Pairs to train on (oldest first), the newest pairs to test with, what became of the rest, and what was private.

    ``talks``: the number of each pair's talk, so that a split can keep talks whole. ``over_time``: pairs by month, or
    by day where the chat is short. ``review`` holds the originals: show it to nobody but the user.
    """

    pairs: list[Conversation]
    test: list[Conversation]
    funnel: Funnel
    talks: list[int]
    over_time: dict[str, int]
    privacy: Privacy
    review: Review


def choose_me(found: Sequence[tuple[str, int]], me: str) -> frozenset[str]:
    """The speakers that are you: names separated by commas. Where one is no speaker, the error lists those that are."""
    names, me = {name for name, _ in found}, str(me).strip()
    wanted = frozenset([me] if me in names else listed(me))  # a name may hold a comma
    if not wanted or not wanted <= names:
        unknown = ", ".join(sorted(wanted - names))
        reason = f"nobody in the chat is called {unknown}" if unknown else "who of the speakers are you?"
        there = ", ".join(f"{name} ({n:,})" for name, n in found[:10])
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
    language: str = "",
    similar: float = 90.0,
    choices: Path | None = None,
    likely: Path | None = None,
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
    fmt, columns : as :func:`~persona_ft.chat.read.read_chat` takes them.
    keep : kinds of private data to leave as they are.
    drop : kinds of private data whose pairs are left out altogether.
    language : ``"ja"`` or ``"en"`` leaves out answers that are mostly in another script; empty takes all.
    similar : of pairs that are this similar (rapidfuzz's ratio, 0 to 100) the first is kept; 0 keeps all.
    choices : the file in which the review of single findings keeps what was chosen (:mod:`~persona_ft.chat.review`).
    likely : the file in which likely names are kept or replaced (:mod:`~persona_ft.chat.likely`).

    Raises
    ------
    PersonaError
        The export cannot be read, nobody is ``me``, or too little is left; the message says what to change.
    """
    keep, drop, name, funnel = kinds(keep), kinds(drop), Path(path).name, Funnel()
    _check_settings(language, keep, drop, n_pairs=n_pairs, n_test=n_test, similar=similar)
    n_pairs, n_test = int(n_pairs), int(n_test)
    found = speakers(read_chat(path, fmt, columns))
    how = replace(how or Pairing(frozenset()), me=choose_me(found, me))
    names = [other for other, _ in found if other not in how.me]
    numbers = {other: n for n, other in enumerate(names, start=1)}
    names += [other for other, decision in read_likely(likely).items() if decision == "replace"]
    privacy = Privacy([*(privacy.names if privacy else ()), *names], privacy.regions if privacy else REGIONS)
    by_time = sorted(pairs_of(read_chat(path, fmt, columns), how, funnel), key=lambda reply: reply.at)
    # Replies of one time are told apart by their number.
    replies = [r._replace(nth=n) for _, same in groupby(by_time, lambda r: r.at) for n, r in enumerate(same)]
    of = export_digest(path, how)
    apply_choices(read_choices(choices, of), replies, privacy)
    unique = list(sieved(replies, privacy, drop, language, funnel))
    if len(unique) < n_test + 8:
        funnel.kept = len(unique)
        reason = f"{len(unique)} pairs are left of {funnel.read:,} messages: too few to test with {n_test}, train on 8"
        if gone := "; ".join(f"{n} {reason}" for reason, n in funnel.dropped.most_common(4)):
            reason += f" (left out: {gone})"
        raise PersonaError(reason, advice(funnel, how) or "lower N_TEST, or take a longer chat", name)
    talk_of = dict(zip(unique, talks(unique), strict=True))  # before the sample is drawn: it makes pauses longer
    before, newest = split(unique, n_test, n_pairs, seed, funnel)
    review = review_of([*before, *newest], privacy, keep, of)
    test = [_cleaned(reply, privacy, keep, numbers, f"C{n:02d}") for n, reply in enumerate(newest, start=1)]
    pairs = [_cleaned(reply, privacy, keep, numbers) for reply in before]
    left_out = near_ones(pairs, test, similar, funnel)
    chosen = [i for i in range(len(pairs)) if i not in left_out]
    funnel.kept = len(chosen) + len(test)
    if not chosen:
        reason = f"all {len(pairs)} pairs to train on nearly repeat a test question or an earlier pair"
        raise PersonaError(reason, "take a longer chat, or lower N_TEST", name)
    taken = [*(before[i] for i in chosen), *newest]
    for reply in taken:
        if CONTROL_WORD.search(f"{reply.question} {reply.answer}"):
            funnel.note("with words such as <|end|>, which stay the text they are", f"{reply.at:%Y-%m-%d %H:%M}")
    times = sorted(reply.at for reply in taken)
    form = "%Y-%m" if times[-1] - times[0] > timedelta(days=92) else "%Y-%m-%d"
    over_time = dict(Counter(at.strftime(form) for at in times))
    of_talks = [talk_of[before[i]] for i in chosen]
    return Imported([pairs[i] for i in chosen], test, funnel, of_talks, over_time, privacy, review)


def _check_settings(language: str, keep: Sequence[str], drop: Sequence[str], **sizes: float) -> None:
    """Refuse what cannot be meant: sizes may come as 30.0, from a form or a command line."""
    if both := set(keep) & set(drop):
        raise PersonaError(f"{', '.join(sorted(both))} is to be kept and dropped", "name it in one of the two alone")
    for name, value in sizes.items():
        check_number(name, value, *SIZES[name])
    if 0 < (similar := sizes["similar"]) <= 1:
        reason = f"SIMILAR = {similar:g} would leave out nearly everything"
        raise PersonaError(reason, "it goes from 0 to 100: 90 is usual")
    if language not in ("", *LANGUAGES):
        known = ", ".join(LANGUAGES)
        raise PersonaError(f"LANGUAGE = {language!r} is not known", f"use one of {known}, or leave it empty")


def _cleaned(
    reply: Reply, privacy: Privacy, keep: Sequence[str], numbers: dict[str, int], pair_id: str | None = None
) -> Conversation:
    messages = []
    for side, text in reply.texts():
        role = "assistant" if side.endswith("a") else "user"
        # What came before is another pair, and was counted there.
        messages.append({"role": role, "content": privacy.clean(text, keep, counted=len(side) == 1)})
    known = {"id": pair_id, "category": "chat", "asker": numbers[reply.asker]}
    return Conversation.model_validate(known | {"messages": messages})


def listed(text: object) -> list[str]:
    """Parts separated by commas."""
    return [part.strip() for part in str(text).split(",") if part.strip()]


def columns_in(text: object) -> dict[str, str]:
    """``"time=日時,speaker=名前"`` as a map of time, speaker and text to columns, and ``dates`` to their order."""
    found = dict(part.partition("=")[::2] for part in listed(text))
    if "dates" in found:
        found["dates"] = re.sub("[^dmy]", "", found["dates"].lower())
    if not all(found.values()) or not set(found) <= {*COLUMNS, "dates"} or found.get("dates", "dmy") not in ORDERS:
        remedy = 'write it like "time=日時,speaker=名前,text=本文", and "dates=d/m/y" for how dates are written'
        raise PersonaError(f"COLUMNS = {text!r} cannot be used", remedy)
    return found


def names_in(names: str) -> list[str]:
    """Names from a text file with one a line, or separated by commas. What looks like a file must be one."""
    names = str(names).strip()
    is_path = re.search(r"[/\\~]|\.(?:txt|csv|tsv|md|json)$", names.lower()) and "," not in names
    if not names or not (is_path or resolve(names).is_file()):
        return listed(names)
    path = resolve(names)
    with readable(path.name), open_text(path) as stream:
        return [name for line in stream for name in listed(line)]


def preview(
    path: Path | str,
    me: str,
    how: Pairing,
    fmt: str = "auto",
    columns: dict[str, str] | None = None,
) -> list[dict[str, float]]:
    """How many pairs other windows would give: a row for each time to reply, and your own merging beside half and twice
    as much. The chat is held in memory."""
    messages = list(read_chat(path, fmt, columns))
    how = replace(how, me=choose_me(speakers(iter(messages)), me))
    rows = []
    for reply in sorted({10, 60, 360, 1440, how.reply_minutes}):
        row = {"reply within, minutes": reply}
        for merge in (how.merge_minutes / 2, how.merge_minutes, min(MOST, how.merge_minutes * 2)):
            other = replace(how, merge_minutes=merge, reply_minutes=reply)
            row[f"merged within {merge:g}"] = sum(1 for _ in pairs_of(messages, other, Funnel()))
        rows.append(row)
    return rows
