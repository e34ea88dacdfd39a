"""A model as judge, as support and never as the verdict: which of two answers sounds more like the person?

Each pair is shown in both orders, and a judge that changes its mind with the order has said nothing: a tie (Zheng et
al., arXiv 2306.05685, on position bias). Its figure is worth what its A/A agreement is: how often it calls two answers
of *one* arm a tie, which they should be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from persona_ft.errors import PersonaError
from persona_ft.evaluation.statistics import sign_test

if TYPE_CHECKING:
    from openai import OpenAI
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEY = "OPENAI_API_KEY"
Vote = Literal["A", "B", "tie"]
# n prompts as messages -> n replies.
Ask = Callable[[list[list[dict[str, str]]]], list[str]]

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


def parse_vote(reply: str) -> Vote:
    """A or B where the reply says one of them alone, else a tie."""
    letters = set(re.findall(r"(?<![A-Za-z])[AB](?![A-Za-z])", reply.strip()))
    return letters.pop() if len(letters) == 1 else "tie"  # type: ignore[return-value]


@dataclass(frozen=True)
class Verdict:
    """Votes for the first arm, for the second, and ties, with the sign test's p-value."""

    first: int
    second: int
    ties: int
    p: float


def pairwise(
    ask: Ask, samples: Sequence[str], questions: Sequence[str], first: Sequence[str], second: Sequence[str]
) -> Verdict:
    """Ask about n pairs in both orders; only a judgement that survives the order counts.

    Parameters
    ----------
    ask : sends n prompts and returns n replies.
    samples : some of the person's training answers.
    questions, first, second : n questions and two arms' answers to them.
    """
    pairs = list(zip(questions, first, second, strict=True))
    replies = ask(
        [judge_messages(samples, q, a, b) for q, a, b in pairs]
        + [judge_messages(samples, q, b, a) for q, a, b in pairs]
    )
    n, votes = len(pairs), [0, 0, 0]
    for straight, swapped in zip(replies[:n], replies[n:], strict=True):
        one, other = parse_vote(straight), parse_vote(swapped)
        votes[{("A", "B"): 0, ("B", "A"): 1}.get((one, other), 2)] += 1
    p = sign_test([1.0] * votes[0] + [0.0] * votes[1], [0.5] * (votes[0] + votes[1]))[2]
    return Verdict(*votes, p)


def judged(
    ask: Ask,
    samples: Sequence[str],
    questions: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    control: tuple[Sequence[str], Sequence[str]],
) -> dict[str, Any]:
    """A judge's verdict on two arms, and beside it its verdict on one arm against itself.

    Parameters
    ----------
    control : two passes of one arm, both sampled alike; the judge should call them ties.
    """
    verdict = pairwise(ask, samples, questions, first, second)
    a_a = pairwise(ask, samples, questions, *control)
    return {
        **asdict(verdict),
        "n": len(questions),
        "order_agreement": 1 - verdict.ties / len(questions),
        "a_a_ties": a_a.ties / len(questions),
        "a_a": asdict(a_a),
    }


def local_judge(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 16) -> Ask:
    """The loaded base model as judge, at low effort, with the adapter taken off: nothing leaves the machine."""
    from persona_ft.harmony import render_prompt
    from persona_ft.model import generate_completions

    def ask(prompts: list[list[dict[str, str]]]) -> list[str]:
        rendered = [render_prompt(tokenizer, messages, "low") for messages in prompts]
        with model.disable_adapter():
            return [c.answer or "" for c in generate_completions(model, tokenizer, rendered, 64, batch_size)]

    return ask


def api_key() -> str | None:
    """The key for an endpoint: from the environment, else from Colab's secrets, else none. It is never printed."""
    if os.environ.get(KEY):
        return os.environ[KEY]
    try:
        from google.colab import userdata  # type: ignore[import-not-found]

        return userdata.get(KEY)
    except Exception:  # not on Colab, no such secret, or no access to it
        return None


def endpoint(base_url: str, model: str) -> Ask:
    """A judge behind an OpenAI-compatible endpoint (``openai`` package), such as a local llama.cpp or vLLM server.

    Answers and questions are sent there: use a machine that you trust with them.

    Raises
    ------
    PersonaError
        The package or the key is missing, or the endpoint does not answer.
    """
    try:
        from openai import OpenAI, OpenAIError
    except ImportError as error:
        raise PersonaError("the judge wants the openai package", 'run: pip install openai, or JUDGE = "off"') from error
    local = re.match(r"https?://(?:localhost|127\.0\.0\.1)(?:[:/]|$)", base_url)
    key = api_key() or ("none" if local else None)
    if key is None:
        raise PersonaError(
            f"the judge at {base_url} wants a key", f"set {KEY} in the environment or in Colab's secrets"
        )
    client: OpenAI = OpenAI(base_url=base_url, api_key=key, max_retries=3, timeout=60)

    def ask(prompts: list[list[dict[str, str]]]) -> list[str]:
        replies = []
        for messages in prompts:
            as_system = [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]
            try:
                reply = client.chat.completions.create(model=model, messages=as_system, temperature=0, max_tokens=256)
            except OpenAIError as error:
                # The library's text may carry the request; its kind is enough.
                raise PersonaError(
                    f"the judge at {base_url} does not answer ({type(error).__name__})",
                    'check the address, the model\'s name and the key, or set JUDGE = "off"',
                ) from None
            replies.append(reply.choices[0].message.content or "")
        return replies

    return ask
