"""A model as judge, as support and never as the verdict: which of two answers sounds more like the person?

Each pair is shown in both orders, and a judge that changes its mind with the order has said nothing: a tie (Zheng et
al., arXiv 2306.05685, on position bias). Its figure is worth what its A/A agreement is: how often it calls two answers
of *one* condition a tie, which they should be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from persona_ft.evaluate.statistics import sign_test
from persona_ft.gpt_oss.ask import Ask

Vote = Literal["A", "B"]

INSTRUCTIONS = (
    "You compare two answers to the same message. Below are messages that one person really wrote. Say which of the "
    "two answers sounds more like that person: tone, length, words, habits. Do not judge whether it is right, polite "
    "or helpful. Reply with one letter: A or B."
)


def judge_messages(samples: Sequence[str], question: str, first: str, second: str) -> list[dict[str, str]]:
    """The messages that ask a judge about one pair in one order."""
    shown = "\n".join(f"- {sample}" for sample in samples)
    text = f"Messages of the person:\n{shown}\n\nMessage to answer:\n{question}\n\nA:\n{first}\n\nB:\n{second}"
    return [{"role": "developer", "content": INSTRUCTIONS}, {"role": "user", "content": text}]


def parse_vote(reply: str) -> Vote | None:
    """A or B where the reply says only one of them; None is no vote."""
    letters = set(re.findall(r"(?<![A-Za-z])[AB](?![A-Za-z])", reply.strip()))
    return letters.pop() if len(letters) == 1 else None  # type: ignore[return-value]


@dataclass(frozen=True)
class Verdict:
    """Votes for the first condition, for the second, ties (another vote in the other order), pairs without two votes,
    and the sign test's p-value."""

    first: int
    second: int
    ties: int
    unanswered: int
    p: float


def pairwise(
    ask: Ask, samples: Sequence[str], questions: Sequence[str], first: Sequence[str], second: Sequence[str]
) -> Verdict:
    """Ask about n pairs in both orders; only a judgement that survives the order counts.

    Parameters
    ----------
    ask : sends n prompts and returns n replies.
    samples : some of the person's training answers.
    questions, first, second : n questions and two conditions' answers to them.
    """
    pairs = list(zip(questions, first, second, strict=True))
    replies = ask(
        [judge_messages(samples, q, a, b) for q, a, b in pairs]
        + [judge_messages(samples, q, b, a) for q, a, b in pairs]
    )
    n, votes = len(pairs), [0, 0, 0, 0]
    for straight, swapped in zip(replies[:n], replies[n:], strict=True):
        one, other = parse_vote(straight), parse_vote(swapped)
        votes[3 if None in (one, other) else {("A", "B"): 0, ("B", "A"): 1}.get((one, other), 2)] += 1
    p = sign_test([1.0] * votes[0] + [0.0] * votes[1], [0.5] * (votes[0] + votes[1]))[2]
    return Verdict(*votes, p)


def _tie_share(verdict: Verdict) -> float:
    """Ties among the pairs that got two votes."""
    return verdict.ties / max(1, verdict.first + verdict.second + verdict.ties)


def judged(
    ask: Ask,
    samples: Sequence[str],
    questions: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    control: tuple[Sequence[str], Sequence[str]],
) -> dict[str, Any]:
    """A judge's verdict on two conditions, and beside it its verdict on one condition against itself.

    Parameters
    ----------
    control : two passes of one condition, both sampled alike; the judge should call them ties.
    """
    verdict = pairwise(ask, samples, questions, first, second)
    a_a = pairwise(ask, samples, questions, *control)
    return {
        **asdict(verdict),
        "n": len(questions),
        "order_agreement": 1 - _tie_share(verdict),
        "a_a_ties": _tie_share(a_a),
        "a_a": asdict(a_a),
    }
