"""Which pairs are taken: no doubles, nothing unwanted, training and test apart in time and in what is asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import accumulate, pairwise

from persona_ft.chat.messages import Funnel
from persona_ft.chat.pairing import Reply
from persona_ft.chat.privacy import Finding, Privacy
from persona_ft.conversation import Conversation
from persona_ft.data.split import comparable, near_duplicates, near_places
from persona_ft.language import script_share

# A pause this long ends a talk.
TALK = timedelta(hours=6)


def sieved(
    replies: Sequence[Reply], privacy: Privacy, drop: Sequence[str], language: str, funnel: Funnel
) -> Iterator[Reply]:
    """Replies that were not said before, are in the language, and hold nothing whose pairs are to be left out, by kind
    or in the review; the same is left out of what came before them."""

    def unwanted(finding: Finding) -> bool:
        return finding.kind in drop or privacy.decision(finding) == "drop"

    looked_for = drop or "drop" in privacy.decisions.values()
    seen: set[tuple[str, str]] = set()
    for reply in replies:
        where, key = f"{reply.at:%Y-%m-%d %H:%M}", (comparable(reply.question), comparable(reply.answer))
        share = script_share(reply.answer, language) if language else None
        found = [f for text in (reply.question, reply.answer) for f in privacy.find(text)] if looked_for else []
        private = sorted({f.kind for f in found if f.kind in drop})
        if key in seen:
            funnel.drop("said before, word for word", where)
        elif share is not None and share < 0.5:
            funnel.drop(f"not in LANGUAGE = {language}", where)
        elif private:
            funnel.drop(f"holds {', '.join(private)}", where)
        elif any(unwanted(f) for f in found):
            funnel.drop("left out in the review of private data", where)
        else:
            yield _history_without(reply, privacy, unwanted) if looked_for else reply
        seen.add(key)


def split(
    unique: Sequence[Reply], n_test: int, n_pairs: int, seed: int, funnel: Funnel
) -> tuple[list[Reply], list[Reply]]:
    """What to train on, at most ``n_pairs``, and the newest replies; the talk that the cut goes through is left out."""
    cut = len(unique) - n_test
    at = _pause_before(unique, cut) if n_test else cut
    for reply in unique[at:cut]:
        funnel.drop("of the same talk as a test question", f"{reply.at:%Y-%m-%d %H:%M}")
    before, newest = list(unique[:at]), list(unique[cut:])
    # What a test goes on from is no text that was trained on.
    newest = [
        reply._replace(history=tuple(exchange for exchange in reply.history if exchange.at >= newest[0].at))
        for reply in newest
    ]
    if len(before) > n_pairs:
        funnel.drop("more than N_PAIRS: a sample was drawn", f"{len(before)} pairs", len(before) - n_pairs)
        before = [before[i] for i in sorted(random.Random(seed).sample(range(len(before)), n_pairs))]
    return before, newest


def _pause_before(replies: Sequence[Reply], index: int) -> int:
    """Where training should end for a test that begins at ``index``: at the longest pause within the hundred replies
    before it, six hours or more being enough."""
    places = [i for i in range(index, max(8, index - 100), -1) if i < len(replies)]
    pauses = {i: replies[i].at - replies[i - 1].at for i in places}
    return next((i for i in places if pauses[i] >= TALK), max(places, key=pauses.__getitem__, default=index))


def _history_without(reply: Reply, privacy: Privacy, unwanted: Callable[[Finding], bool]) -> Reply:
    """The reply with that part of its history that comes after the last text with something unwanted."""
    for n, before in enumerate(reversed(reply.history)):
        if any(unwanted(f) for text in (before.question, before.answer) for f in privacy.find(text)):
            return reply._replace(history=reply.history[len(reply.history) - n :])
    return reply


def talks(replies: Sequence[Reply]) -> list[int]:
    """The number of each reply's talk: a new one begins after a pause of :data:`TALK`."""
    return list(accumulate((later.at - at.at >= TALK for at, later in pairwise(replies)), initial=0))


def near_ones(pairs: list[Conversation], test: Sequence[Conversation], similar: float, funnel: Funnel) -> set[int]:
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
    if left_out:
        funnel.drop("nearly a test question", "after the split", len(left_out))
    whole = [f"{pair.question}\n{pair.answer}" for pair in pairs]
    twins = {later for _, later, _ in near_places(whole, threshold=similar)} if similar else set()
    if twins - left_out:
        reason = f"nearly the same as an earlier pair (SIMILAR = {similar:g})"
        funnel.drop(reason, "after the split", len(twins - left_out))
    return left_out | twins
