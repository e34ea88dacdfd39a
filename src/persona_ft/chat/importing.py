"""From an export to training pairs and a test set: paired, cleaned of private data, without doubles, split by time."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from persona_ft.chat.likely import read_likely
from persona_ft.chat.messages import Funnel, open_text, readable
from persona_ft.chat.pairing import MOST, Pairing, Reply, advice, check_number, pairs_of
from persona_ft.chat.privacy import REGIONS, Privacy
from persona_ft.chat.read import hear, read_chat, speakers
from persona_ft.chat.review import Review, apply_choices, export_digest, read_choices, review_of
from persona_ft.chat.table import COLUMNS
from persona_ft.chat.times import ORDERS
from persona_ft.conversation import CONTROL_WORD, Conversation
from persona_ft.data.split import comparable, near_duplicates, near_places
from persona_ft.errors import PersonaError
from persona_ft.io import packaged
from persona_ft.language import LANGUAGES, script_share
from persona_ft.paths import resolve

# A pause this long ends a talk.
TALK = timedelta(hours=6)
SIZES = {"n_pairs": (1, 20_000, int), "n_test": (0, 20_000, int), "similar": (0, 100, float)}


@dataclass(frozen=True)
class Imported:
    """Pairs to train on (oldest first), the newest pairs to test with, what became of the rest, and what was private.
    ``talks``: the number of each pair's talk, so that a split can keep talks whole. ``over_time``: pairs by month, or
    by day where the chat is short. ``review`` holds the originals: show it to nobody but the user."""

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
    """Read, pair, clean and split one export. Nothing is written. PersonaError where it cannot be read, nobody is
    ``me``, or too little is left; it says what to change.

    The newest ``n_test`` replies are for the test, and what lies before the pause in front of them for training, so
    that one talk is not on both sides; pairs whose question is nearly a test question are left out, as are doubles. Of
    more than ``n_pairs`` a sample is drawn by ``seed``. Everything that is left out is in the funnel.

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
    """
    keep, drop, name, funnel = list(keep), list(drop), Path(path).name, Funnel()
    _check_settings(language, keep, drop, n_pairs=n_pairs, n_test=n_test, similar=similar)
    n_pairs, n_test = int(n_pairs), int(n_test)
    # A name may hold a comma: then the speakers are listed first, and the export is read twice.
    several = choose_me(speakers(read_chat(path, fmt, columns)), me) if "," in str(me) else ()
    how, heard = replace(how or Pairing(frozenset()), me=frozenset(several or [str(me).strip()])), Counter[str]()
    by_time = sorted(pairs_of(hear(read_chat(path, fmt, columns), heard), how, funnel), key=lambda reply: reply.at)
    found = heard.most_common()
    choose_me(found, me)
    names = [other for other, _ in found if other not in how.me]
    numbers = {other: n for n, other in enumerate(names, start=1)}
    names += [other for other, decision in read_likely(likely).items() if decision == "replace"]
    privacy = Privacy([*(privacy.names if privacy else ()), *names], privacy.regions if privacy else REGIONS)
    # Replies of one time are told apart by their number.
    replies = [r._replace(nth=n) for _, same in groupby(by_time, lambda r: r.at) for n, r in enumerate(same)]
    of = export_digest(path, how)
    apply_choices(read_choices(choices, of), replies, privacy)
    unique = list(_sieved(replies, privacy, drop, language, funnel))
    if len(unique) < n_test + 8:
        funnel.kept = len(unique)
        reason = f"{len(unique)} pairs are left of {funnel.read:,} messages: too few to test with {n_test}, train on 8"
        if gone := "; ".join(f"{n} {reason}" for reason, n in funnel.dropped.most_common(4)):
            reason += f" (left out: {gone})"
        raise PersonaError(reason, advice(funnel, how) or "lower N_TEST, or take a longer chat", name)
    # A new talk begins after a pause. They are counted before the sample is drawn, which makes pauses longer.
    talks = accumulate((later.at - at.at >= TALK for at, later in pairwise(unique)), initial=0)
    talk_of = dict(zip(unique, talks, strict=True))
    before, newest = _split(unique, n_test, n_pairs, seed, funnel)
    review = review_of([*before, *newest], privacy, keep, of)
    test = [_cleaned(reply, privacy, keep, numbers, f"C{n:02d}") for n, reply in enumerate(newest, start=1)]
    pairs = [_cleaned(reply, privacy, keep, numbers) for reply in before]
    left_out = _near_ones(pairs, test, similar, funnel)
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
    kinds = packaged("chat/stand_ins")
    for unknown in (name for name in (*keep, *drop) if name not in kinds):
        raise PersonaError(f"{unknown!r} is no kind of private data", f"use some of {', '.join(kinds)}")
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


def _sieved(
    replies: Sequence[Reply], privacy: Privacy, drop: Sequence[str], language: str, funnel: Funnel
) -> Iterator[Reply]:
    """Replies that were not said before, are in the language, and hold nothing whose pairs are to be left out, by kind
    or in the review; the same is left out of what came before them."""
    looked_for = drop or "drop" in privacy.decisions.values()

    def unwanted(*texts: str) -> set[str]:
        """Kinds of what is to be left out; of what was chosen in the review the kind is empty."""
        found = [f for text in texts for f in privacy.find(text)] if looked_for else []
        return {f.kind if f.kind in drop else "" for f in found if f.kind in drop or privacy.decision(f) == "drop"}

    seen: set[tuple[str, str]] = set()
    for reply in replies:
        key = (comparable(reply.question), comparable(reply.answer))
        share = script_share(reply.answer, language) if language else None
        private = sorted(unwanted(reply.question, reply.answer))
        if key in seen:
            reason = "said before, word for word"
        elif share is not None and share < 0.5:
            reason = f"not in LANGUAGE = {language}"
        elif any(private):
            reason = f"holds {', '.join(filter(None, private))}"
        else:
            reason = "left out in the review of private data" if private else ""
        seen.add(key)
        if reason:
            funnel.drop(reason, f"{reply.at:%Y-%m-%d %H:%M}")
            continue
        spoilt = [n for n, past in enumerate(reply.history, 1) if unwanted(past.question, past.answer)]
        yield reply._replace(history=reply.history[max(spoilt, default=0) :])


def _split(
    unique: Sequence[Reply], n_test: int, n_pairs: int, seed: int, funnel: Funnel
) -> tuple[list[Reply], list[Reply]]:
    """What to train on, at most ``n_pairs``, and the newest replies; the talk that the cut goes through is left out."""
    at = cut = len(unique) - n_test
    if n_test:  # at the longest pause within the hundred replies before the test, six hours or more being enough
        pauses = {i: unique[i].at - unique[i - 1].at for i in range(cut, max(8, cut - 100), -1)}
        ends = (i for i, pause in pauses.items() if pause >= TALK)
        at = next(ends, max(pauses, key=pauses.__getitem__, default=cut))
    for reply in unique[at:cut]:
        funnel.drop("of the same talk as a test question", f"{reply.at:%Y-%m-%d %H:%M}")
    before, newest = list(unique[:at]), list(unique[cut:])
    # What a test goes on from is no text that was trained on.
    newest = [r._replace(history=tuple(past for past in r.history if past.at >= newest[0].at)) for r in newest]
    if len(before) > n_pairs:
        funnel.drop("more than N_PAIRS: a sample was drawn", f"{len(before)} pairs", len(before) - n_pairs)
        before = [before[i] for i in sorted(random.Random(seed).sample(range(len(before)), n_pairs))]
    return before, newest


def _near_ones(pairs: list[Conversation], test: Sequence[Conversation], similar: float, funnel: Funnel) -> set[int]:
    """Places of the pairs that nearly repeat an earlier pair, or whose question is nearly a test question; where it
    stands in what came before, the history is cut behind it, in place."""
    asked = list(dict.fromkeys(m.content for pair in pairs for m in pair.messages if m.role == "user"))
    near_test = {leak.first for leak in near_duplicates(asked, [t.question for t in test])} if test else set()
    left_out = set()
    for i, pair in enumerate(pairs):
        near = [n for n, message in enumerate(pair.messages) if message.content in near_test and message.role == "user"]
        if pair.question in near_test:
            left_out.add(i)
        elif near:
            pairs[i] = pair.model_copy(update={"messages": pair.messages[near[-1] + 2 :]})
    whole = [f"{pair.question}\n{pair.answer}" for pair in pairs]
    twins = {later for _, later, _ in near_places(whole, threshold=similar)} if similar else set()
    reasons = {"nearly a test question": left_out}
    reasons[f"nearly the same as an earlier pair (SIMILAR = {similar:g})"] = twins - left_out
    for reason, found in reasons.items():
        if found:
            funnel.drop(reason, "after the split", len(found))
    return left_out | twins


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
    path: Path | str, me: str, how: Pairing, fmt: str = "auto", columns: dict[str, str] | None = None
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
