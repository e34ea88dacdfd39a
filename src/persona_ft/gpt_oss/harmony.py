"""Harmony, gpt-oss's chat format: render a prompt, and take an answer apart.

Source: https://github.com/openai/harmony and the chat template that ships with the model. One assistant turn is one or
more messages ``<|start|>assistant<|channel|>CHANNEL<|message|>TEXT<|end|>``; the last ends with ``<|return|>``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

from persona_ft.conversation import CONTROL_WORD
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Tokenizer
from persona_ft.io import digest

TODAY = 'strftime_now("%Y-%m-%d")'
ASSISTANT = "<|start|>assistant"
FINAL = "<|channel|>final<|message|>"
# Where generation stops, by gpt-oss-20b's generation_config: 200002, 199999, 200012.
STOPS = ("<|return|>", "<|endoftext|>", "<|call|>")
# A letter for each control token ("." is any other), a message in these letters, and the parts of its header, which is
# what <|start|> opens, what a completion begins with, or, where <|start|> is missing, what a channel opens.
LETTERS = {"<|start|>": "S", "<|channel|>": "C", "<|constrain|>": "X", "<|message|>": "M", "<|end|>": "E"}
LETTERS |= dict.fromkeys(STOPS, "!")
MESSAGE = re.compile(r"(?P<header>S[.CX]*|^[.CX]*|(?:[CX][.CX]*)?)M(?P<text>[.MX]*)(?P<end>[E!]?)")
PART = re.compile(r"(?P<opener>[SCX]?)(?P<words>\.+)")
# A noncharacter: no text that people exchange may hold it, so it can mark what only looks like a control token.
MARK = "\ufdd0"
MARKED = re.compile(rf"(<{MARK}\|\w+\|>)")


@dataclass(frozen=True)
class HarmonyMessage:
    """One message; ``complete`` is False when generation stopped inside it, ``recipient`` is what follows ``to=``."""

    role: str
    channel: str | None
    text: str
    complete: bool
    recipient: str | None = None

    @property
    def calls_tool(self) -> bool:
        """Whether it is for a tool and not for people."""
        return self.recipient not in (None, "user", "assistant")


def freeze_date(template: str, date: str) -> str:
    """A gpt-oss chat template with a fixed ``YYYY-MM-DD`` in place of today, with which no run would repeat."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise PersonaError(f"the date {date!r} is not YYYY-MM-DD", 'write it like "2025-12-04"')
    if TODAY not in template:
        raise PersonaError(f"the chat template has no {TODAY}", "load it again: its date may be frozen already")
    return template.replace(TODAY, f'"{date}"')


def check_template(tokenizer: Tokenizer, training: dict[str, Any]) -> None:
    """PersonaError where a checkpoint's chat template is not the one of the run's training.json: TRL's, Unsloth's and
    the Hub's differ by line ends and a sentence on tools, and a model should be asked as it was trained."""
    if training.get("template_sha256") not in (None, "", digest(tokenizer.chat_template)):
        reason = "this checkpoint's chat template is not the one that the adapter was trained with"
        raise PersonaError(reason, "set MODEL to the checkpoint that notebook 03 loaded, or run 03 again with this one")


def as_text(words: str) -> str:
    """Somebody's words, with every control word in them (``<|end|>``, ...) marked as text, for :func:`encode`: of
    unmarked ones a tokenizer makes control tokens, and a message could speak as the system."""
    return CONTROL_WORD.sub(lambda match: f"<{MARK}{match[0][1:]}", words.replace(MARK, ""))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a rendered text; marked words (:func:`as_text`) become ordinary text."""
    ids: list[int] = []
    for piece in filter(None, MARKED.split(text)):
        plain, words = MARK in piece, piece.replace(MARK, "")
        ids += tokenizer(words, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
    return ids


def render_prompt(
    tokenizer: Tokenizer, messages: list[dict[str, str]], reasoning_effort: str = "medium", think: bool = True
) -> str:
    """The text that the model receives before it answers, for :func:`encode`. ``messages`` are ``{"role", "content"}``;
    a first system or developer message becomes the developer message. ``reasoning_effort`` is ``"low"``, ``"medium"``
    or ``"high"``. With ``think`` the model chooses a channel, and as a rule thinks first, at low effort too; without it
    the text opens the final channel. PersonaError where the template fails."""
    messages = [{key: text if key == "role" else as_text(text) for key, text in m.items()} for m in messages]
    how = {"tokenize": False, "add_generation_prompt": True, "reasoning_effort": reasoning_effort}
    try:
        text = tokenizer.apply_chat_template(messages, **how)
    except Exception as error:  # a template is a program of whoever made the model
        reason = f"the model's chat template failed ({type(error).__name__}: {str(error)[:120]})"
        raise PersonaError(reason, "take the chat_template.jinja of gpt-oss, or another model") from error
    return text if think else text + FINAL


def completion_text(answer: str, thinking: str | None = None) -> str:
    """What follows ``<|start|>assistant`` when somebody answers: analysis, if there is any, and the final message."""
    thought = f"<|channel|>analysis<|message|>{as_text(thinking)}<|end|>{ASSISTANT}" if thinking else ""
    return f"{thought}{FINAL}{as_text(answer)}<|return|>"


def parse_messages(tokenizer: Tokenizer, ids: Iterable[int]) -> list[HarmonyMessage]:
    """Take the tokens of a Harmony text apart, complete or cut off, up to one that stops generation. It goes by tokens,
    so that typed words such as "<|end|>" stay text, and reads what sampling really produces: a message without
    ``<|end|>``, a channel chosen twice (the last one counts), padding. A completion, which begins after
    ``<|start|>assistant``, counts as the assistant's. openai-harmony, whose cases these are, wants well-formed text."""
    ids, found = list(ids), []
    letters = dict(zip(tokenizer.convert_tokens_to_ids(list(LETTERS)), LETTERS.values(), strict=True))
    kinds = "".join(letters.get(token, ".") for token in ids)
    for message in MESSAGE.finditer(kinds, 0, kinds.find("!") + 1 or len(kinds)):
        role, channel, recipients = "assistant", None, []
        for part in PART.finditer(kinds, *message.span("header")):
            words = tokenizer.decode(ids[slice(*part.span("words"))]).split()
            named = [word for word in words if not word.startswith("to=")]
            recipients += [word.removeprefix("to=") for word in words if word.startswith("to=")]
            if part["opener"] == "S":
                role = next(iter(named), role)
            elif part["opener"] == "C":
                channel = next(iter(words), channel)
        text = tokenizer.decode(ids[slice(*message.span("text"))], skip_special_tokens=True)
        text = text if message["end"] else text.rstrip("\ufffd")
        found.append(HarmonyMessage(role, channel, text, bool(message["end"]), next(iter(recipients), None)))
    return found


def own_turn(messages: Iterable[HarmonyMessage]) -> list[HarmonyMessage]:
    """The assistant's messages up to the first of another role: what a model writes after that answers itself."""
    return list(takewhile(lambda message: message.role == "assistant", messages))


def final_message(messages: Iterable[HarmonyMessage]) -> HarmonyMessage | None:
    """The assistant's first message on the final channel, or None when its turn never got there."""
    return next((m for m in own_turn(messages) if m.channel == "final" and not m.calls_tool), None)


class Piece(NamedTuple):
    """One token of a Harmony text, and whether its prediction is graded. ``text`` is bytes, as ``<E381>``, of a part of
    a character; ``kind`` is ``"special token"``, ``"name of a role or channel"``, or the role whose words it is."""

    text: str
    kind: str
    graded: bool = False


def pieces_of(tokenizer: Tokenizer, ids: Sequence[int], labels: Sequence[int] | None = None) -> list[Piece]:
    """A Harmony text token by token; ``labels``, as many as ``ids``, are -100 where a token is not graded."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {letter: value for value, letter in bytes_to_unicode().items()}
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
        if "\ufffd" in text:  # a part of a character: the vocabulary writes each of its bytes as a letter
            text = f"<{''.join(f'{byte_of[letter]:02X}' for letter in tokenizer.convert_ids_to_tokens(token))}>"
        found.append(Piece(text, kind, label != -100))
    return found
