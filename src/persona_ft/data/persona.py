"""A persona is a folder: persona.yaml, train.jsonl, test.jsonl. Nothing about any one person stands in the code, and
what cannot be used is a PersonaError."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from persona_ft.conversation import Conversation, Text, read_jsonl
from persona_ft.data.bank import words
from persona_ft.data.split import allot, split_validation
from persona_ft.errors import PersonaError
from persona_ft.io import read_yaml
from persona_ft.paths import resolve, shown


class Fact(BaseModel, extra="forbid"):
    """Something true of the person: the ways in which an answer may write it, and what it is not, as other towns."""

    id: Text
    stated: Literal["train", "prompt", "never"]
    ja: str = ""
    en: str = ""
    aliases: list[Text] = Field(min_length=1)
    contradicted_by: list[Text] = []


class Topic(BaseModel, extra="forbid"):
    """Something on which nothing is known of the person; ``claims`` are words in which an answer would invent it."""

    id: Text
    ja: str = ""
    en: str = ""
    claims: list[Text] = []

    def as_fact(self) -> Fact | None:
        """The topic as a fact that nobody stated: to support it is to invent it. None without ``claims``."""
        return Fact(id=self.id, stated="never", ja=self.ja, en=self.en, aliases=self.claims) if self.claims else None


class Profile(BaseModel, extra="forbid"):
    """persona.yaml."""

    name: Text
    system_prompt: Text
    language: Text = "ja"
    first_person: str = ""
    habits: list[str] = []
    facts: list[Fact] = []
    unknown_topics: list[Topic] = []


@dataclass(frozen=True)
class Persona:
    """A profile with the pairs to learn from, the questions to be tested on and, in a run folder, pairs to watch."""

    folder: Path
    profile: Profile
    train: list[Conversation]
    test: list[Conversation]
    validation: list[Conversation] = field(default_factory=list)


def read_profile(path: Path | str) -> Profile:
    """Read persona.yaml; an error is named with its line. Where its folder is missing, those beside it are named."""
    folder = Path(path).parent
    if not folder.is_dir():
        others = ", ".join(sorted(p.parent.name for p in folder.parent.glob("*/persona.yaml")))
        remedy = "set PERSONA to a folder with persona.yaml, train.jsonl and test.jsonl, or make new PERSONA=…"
        remedy += f"; beside it there is {others}" if others else ""
        raise PersonaError("there is no such persona folder", remedy, folder)
    remedy = "write at least name: and system_prompt:, as in data/masaki/persona.yaml, and compare it with that"
    return read_yaml(path, Profile, remedy)


def read_test(path: Path | str) -> list[Conversation]:
    """Read test.jsonl, whose items each have an id of their own."""
    items = read_jsonl(path)
    seen: set[str] = set()
    for number, item in enumerate(items, start=1):
        if not item.id or item.id in seen:
            reason = f"test item {number} has {f'the id {item.id} of another' if item.id else 'no id'}"
            raise PersonaError(reason, 'give each item an "id" of its own, such as "Q01"', path)
        seen.add(item.id)
    return items


def read_persona(folder: Path | str) -> Persona:
    """Read a folder with persona.yaml, train.jsonl and test.jsonl."""
    folder = Path(folder)
    profile, train = read_profile(folder / "persona.yaml"), read_jsonl(folder / "train.jsonl")
    return Persona(folder, profile, train, read_test(folder / "test.jsonl"))


def persona_or_pairs(path: Path | str, system_prompt: str = "") -> Persona:
    """A persona folder, or a JSONL file of at least 8 pairs, of which 30, or a quarter, are kept out as the test. A
    relative path is looked for in the repository, then where the notebook runs. For a file ``system_prompt`` says who
    is talking; without one, the pairs' own developer message does."""
    found = next((p for p in (resolve(path), Path(path)) if p.exists()), resolve(path))
    if found.suffix != ".jsonl":
        return read_persona(found)
    pairs = read_jsonl(found)
    if len(pairs) < 8:
        raise PersonaError(f"{len(pairs)} pairs are too few to train on and to test", "write 30 or more", found)
    stated = next((m.content for p in pairs for m in p.messages[:1] if m.role in ("system", "developer")), "")
    if not (prompt := system_prompt or stated):
        raise PersonaError("nothing says who is talking", "describe them in SYSTEM_PROMPT", found)
    train, test = split_validation(pairs, allot(len(pairs))[0])
    test = [pair.model_copy(update={"id": f"Q{i:02d}"}) for i, pair in enumerate(test, start=1)]
    return Persona(found.parent, Profile(name="the person", system_prompt=prompt), train, test)


def check_owner(run: Path, folder: Path) -> None:
    """Refuse to write one person's data over another's: PERSONA was forgotten, or RUN is somebody else's. The error
    says which PERSONA is meant."""
    if not (run / "persona.yaml").exists():
        return
    there, mine = read_profile(run / "persona.yaml"), read_profile(folder / "persona.yaml")
    if there.name != mine.name:
        named = re.compile(rf"^name: *['\"]?{re.escape(there.name)}['\"]? *$", re.M)
        known = resolve("data").glob("*/persona.yaml")
        meant = next((shown(p.parent) for p in known if named.search(p.read_text(encoding="utf-8"))), "…")
        where = {"run": shown(run), "there": there.name, "folder": shown(folder), "mine": mine.name}
        where |= {"meant": meant, "own": folder.name}
        said = words(there.language)
        raise PersonaError(said["other_owner"].format(**where), said["other_owner_remedy"].format(**where))
