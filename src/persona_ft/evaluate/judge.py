"""A model as judge, as support and never as the verdict: which of two answers sounds more like the person?

A judge that changes its mind with the order has said nothing: a tie (Zheng et al., arXiv 2306.05685, on position bias).
"""

import re
from collections import Counter
from typing import Any

from persona_ft.evaluate.schema import Texts
from persona_ft.evaluate.statistics import sign_test
from persona_ft.gpt_oss.ask import Ask

INSTRUCTIONS = (
    "You compare two answers to the same message. Below are messages that one person really wrote. Say which of the "
    "two answers sounds more like that person: tone, length, words, habits. Do not judge whether it is right, polite "
    "or helpful. Reply with one letter: A or B."
)


def judge_messages(samples: Texts, question: str, first: str, second: str) -> list[dict[str, str]]:
    """The messages that ask a judge about one pair in one order."""
    shown = "\n".join(f"- {sample}" for sample in samples)
    text = f"Messages of the person:\n{shown}\n\nMessage to answer:\n{question}\n\nA:\n{first}\n\nB:\n{second}"
    return [{"role": "developer", "content": INSTRUCTIONS}, {"role": "user", "content": text}]


def parse_vote(reply: str) -> str | None:
    """A or B where the reply says only one of them; None is no vote."""
    letters = set(re.findall(r"(?<![A-Za-z])[AB](?![A-Za-z])", reply))
    return letters.pop() if len(letters) == 1 else None


def pairwise(ask: Ask, samples: Texts, questions: Texts, first: Texts, second: Texts) -> dict[str, Any]:
    """Ask about n questions with two conditions' answers in both orders; only a judgement that survives counts. ``ask``
    sends n prompts and returns n replies; ``samples`` are some of the person's training answers.

    Returns votes for the first condition, for the second, ties (another vote in the other order), pairs without two
    votes, and the sign test's p-value.
    """
    pairs = list(zip(questions, first, second, strict=True))
    straight = [judge_messages(samples, q, a, b) for q, a, b in pairs]
    swapped = [judge_messages(samples, q, b, a) for q, a, b in pairs]
    votes = [parse_vote(reply) for reply in ask(straight + swapped)]
    both = Counter(zip(votes[: len(pairs)], votes[len(pairs) :], strict=True))
    wins, losses, ties = both["A", "B"], both["B", "A"], both["A", "A"] + both["B", "B"]
    found = {"first": wins, "second": losses, "ties": ties, "unanswered": len(pairs) - wins - losses - ties}
    return found | {"p": sign_test(wins, losses)}


def judged(
    ask: Ask, samples: Texts, questions: Texts, first: Texts, second: Texts, control: tuple[Texts, Texts]
) -> dict[str, Any]:
    """A judge's verdict on two conditions, and beside it its verdict on one condition against itself: ``control``, two
    passes sampled alike, which it should call ties."""
    verdict, a_a = (pairwise(ask, samples, questions, *texts) for texts in ((first, second), control))
    tied, tied_a_a = (v["ties"] / max(1, v["first"] + v["second"] + v["ties"]) for v in (verdict, a_a))
    return verdict | {"n": len(questions), "order_agreement": 1 - tied, "a_a_ties": tied_a_a, "a_a": a_a}
