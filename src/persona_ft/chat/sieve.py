"""Which pairs are taken: no doubles, nothing unwanted, training and test apart in time and in what is asked."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import accumulate, pairwise

from persona_ft.chat.messages import Funnel
from persona_ft.chat.pairing import Reply
from persona_ft.chat.privacy import Privacy
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


def split(
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
    whole = [f"{pair.question}\n{pair.answer}" for pair in pairs]
    twins = {later for _, later, _ in near_places(whole, threshold=similar)} if similar else set()
    reasons = {"nearly a test question": left_out}
    reasons[f"nearly the same as an earlier pair (SIMILAR = {similar:g})"] = twins - left_out
    for reason, found in reasons.items():
        if found:
            funnel.drop(reason, "after the split", len(found))
    return left_out | twins
