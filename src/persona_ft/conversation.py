"""A conversation, and the JSONL files that hold them."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, StringConstraints, model_validator

from persona_ft.errors import PersonaError, whole
from persona_ft.io import read_rows, write_text

# What looks like one of Harmony's control tokens. In somebody's words it is text, and stays text (harmony.as_text).
CONTROL_WORD = re.compile(r"<\|\w+\|>")
ROW_REMEDY = 'write the line as {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
Line = Annotated[str, StringConstraints(strip_whitespace=True), BeforeValidator(whole)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), BeforeValidator(whole)]


class Message(BaseModel, extra="forbid"):
    """One turn. ``thinking`` is what the assistant wrote to the analysis channel before ``content``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text
    thinking: Text | None = None


class FactAnnotation(BaseModel, extra="forbid"):
    """A fact that a conversation touches, and where the training answers leave it; a row may write its id alone."""

    id: Text
    stated: Literal["train", "prompt", "never"] = "train"

    @model_validator(mode="before")
    @classmethod
    def _id_alone(cls, value: object) -> object:
        return {"id": value} if isinstance(value, str) else value


class Conversation(BaseModel, extra="forbid"):
    """Messages that end with the assistant's answer, with what is known of them: user and assistant take turns, perhaps
    after a system or developer message. ``asker``: the number of the person of a chat who wrote the question."""

    id: str | None = None
    category: str | None = None
    facts: list[FactAnnotation] = []
    asker: int | None = None
    messages: list[Message]

    @model_validator(mode="after")
    def _turns(self) -> Self:
        roles = [message.role for message in self.messages]
        turns = roles[1:] if roles[:1] in (["system"], ["developer"]) else roles
        if "assistant" not in turns:
            raise ValueError("there is no assistant turn")
        if turns != ["user", "assistant"] * (len(turns) // 2):
            raise ValueError(f"the roles are {', '.join(roles)}; user and assistant must take turns, assistant last")
        return self

    @property
    def question(self) -> str:
        """The user's last message."""
        return self.messages[-2].content

    @property
    def answer(self) -> str:
        """The assistant's last message."""
        return self.messages[-1].content

    @property
    def prompt(self) -> list[dict[str, str]]:
        """Everything before the answer, as chat-template dictionaries."""
        return [message.model_dump(exclude_none=True) for message in self.messages[:-1]]

    @classmethod
    def pair(cls, question: str, answer: str, **known: object) -> Self:
        """A conversation of one question and one answer."""
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return cls.model_validate({"messages": messages, **known})


def read_jsonl(path: Path | str) -> list[Conversation]:
    """Read one conversation a line; blank lines are skipped. Rows with words like control tokens are named.
    PersonaError as of :func:`~persona_ft.io.read_rows`: also wrong roles, an empty answer, or no row at all."""
    rows, marked = read_rows(path, Conversation, ROW_REMEDY), []
    if not rows:
        raise PersonaError("the file has no conversation", ROW_REMEDY, path)
    for number, row in rows.items():
        if words := [w for m in row.messages for w in CONTROL_WORD.findall(f"{m.content}{m.thinking or ''}")]:
            marked.append(f"line {number}: {', '.join(words[:3])}")
    if marked:
        what = f"{len(marked)} rows hold words like control tokens, kept as text"
        print(f"{Path(path).name}: {what} ({'; '.join(marked[:3])})")
    return list(rows.values())


def rows_in(path: Path) -> list[Conversation]:
    """The file's conversations; none where it is missing or empty."""
    return read_jsonl(path) if path.exists() and path.read_bytes().strip() else []


def write_jsonl(path: Path | str, conversations: Iterable[Conversation]) -> Path:
    """Write one conversation a line, whole or not at all: an interrupted write leaves the old file."""
    return write_text(path, "".join(map(jsonl_line, conversations)))


def jsonl_line(row: Conversation) -> str:
    """The row as its file writes it, newline included: a fact that training states is named by its id alone."""
    fields = row.model_dump(exclude_none=True, exclude_defaults=True)
    if row.facts:
        fields["facts"] = [fact.model_dump() if fact.stated != "train" else fact.id for fact in row.facts]
    return json.dumps(fields, ensure_ascii=False) + "\n"


def persona_messages(pair: Conversation, system_prompt: str) -> list[dict[str, str]]:
    """The messages before the answer, opened by the persona's prompt unless it is empty or the pair brings its own."""
    own = pair.messages[0].role in ("system", "developer")
    return pair.prompt if own or not system_prompt else [{"role": "developer", "content": system_prompt}, *pair.prompt]
