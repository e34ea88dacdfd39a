"""Harmony, gpt-oss's chat format: render a prompt, and take an answer apart.

Source: https://github.com/openai/harmony and the chat template that ships with the model. One assistant turn is one or
more messages ``<|start|>assistant<|channel|>CHANNEL<|message|>TEXT<|end|>``; the last ends with ``<|return|>``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from persona_ft.errors import PersonaError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TODAY = 'strftime_now("%Y-%m-%d")'
FINAL = "<|channel|>final<|message|>"
MESSAGE = re.compile(
    r"(?:<\|start\|>(?P<role>[^<]*))?(?:<\|channel\|>(?P<channel>[^<]*))?<\|message\|>(?P<text>.*?)"
    r"(?P<end><\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>)|$)",
    re.DOTALL,
)


@dataclass(frozen=True)
class HarmonyMessage:
    """One message of a Harmony text. ``complete`` is False when generation stopped inside it."""

    role: str
    channel: str | None
    text: str
    complete: bool


def harmony_template() -> str:
    """The gpt-oss chat template that ships inside TRL (Jinja, Apache-2.0), without importing TRL."""
    spec = importlib.util.find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        raise PersonaError("TRL is not installed", "install the stack with scripts/install.py")
    return (Path(spec.submodule_search_locations[0]) / "chat_templates" / "gptoss.jinja").read_text(encoding="utf-8")


def freeze_date(template: str, date: str) -> str:
    """The template with a fixed date: it prints today's, and with it no run repeats and training ages by the day.

    Parameters
    ----------
    template : a gpt-oss chat template.
    date : ``YYYY-MM-DD``.
    """
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise PersonaError(f"the date {date!r} is not YYYY-MM-DD", 'write it like "2025-12-04"')
    if TODAY not in template:
        raise PersonaError(
            f"the chat template has no {TODAY}", "load the tokenizer again: its date may be frozen already"
        )
    return template.replace(TODAY, f'"{date}"')


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], reasoning_effort: str = "medium"
) -> str:
    """The text that the model receives before it answers; it ends with ``<|start|>assistant``.

    Parameters
    ----------
    tokenizer : one with a gpt-oss chat template.
    messages : ``{"role", "content"}`` dictionaries; a first system or developer message becomes the developer message.
    reasoning_effort : ``"low"``, ``"medium"`` or ``"high"``.
    """
    return tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, reasoning_effort=reasoning_effort
    )


def parse_messages(text: str) -> list[HarmonyMessage]:
    """Take a Harmony text apart, complete or cut off.

    A completion, which begins after ``<|start|>assistant``, counts as the assistant's.
    """
    return [
        HarmonyMessage(
            role=(match["role"] or "assistant").strip(),
            channel=match["channel"].strip() if match["channel"] is not None else None,
            text=match["text"],
            complete=bool(match["end"]),
        )
        for match in MESSAGE.finditer(text)
    ]


def final_answer(completion: str) -> str | None:
    """The text of a completion's final channel, or None when it never got there."""
    for message in parse_messages(completion):
        if message.role == "assistant" and message.channel == "final":
            return message.text.strip()
    return None


@dataclass(frozen=True)
class Piece:
    """One token of a Harmony text: what it stands for, what it belongs to, and whether its prediction is graded.

    ``text`` is the piece of text, or ``<E381>`` where the token is a part of a character: the bytes in it.
    ``kind`` is ``"special token"``, ``"name of a role or channel"``, or the role whose words it is part of.
    """

    text: str
    kind: str
    graded: bool = False


def pieces_of(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], labels: Sequence[int] | None = None
) -> list[Piece]:
    """A Harmony text token by token.

    Parameters
    ----------
    ids : the tokens, n of them.
    labels : n labels, -100 where a token is not graded; None grades none.
    """
    found, role, naming = [], "assistant", ""
    for token, label in zip(ids, labels or [-100] * len(ids), strict=True):
        text = tokenizer.decode([token])
        if re.fullmatch(r"<\|\w+\|>", text):
            kind = "special token"
            naming = text if text in ("<|start|>", "<|channel|>") else ""
            role = "" if text == "<|start|>" else role
        elif naming:
            kind = "name of a role or channel"
            role += text if naming == "<|start|>" else ""  # a small vocabulary writes "assistant" in several tokens
        else:
            kind = role.split()[0]
        found.append(Piece(_bytes_of(tokenizer, token) if "\ufffd" in text else text, kind, label != -100))
    return found


def _bytes_of(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """The bytes of a token that is a part of a character, as ``<E381>``; its vocabulary writes each as a letter."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte = {letter: value for value, letter in bytes_to_unicode().items()}
    return f"<{''.join(f'{byte[letter]:02X}' for letter in tokenizer.convert_ids_to_tokens(token))}>"
