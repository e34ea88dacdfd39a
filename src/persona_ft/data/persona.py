"""A persona is a folder: persona.yaml, train.jsonl, test.jsonl. Nothing about any one person stands in the code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from persona_ft.conversation import Conversation, Text, read_jsonl
from persona_ft.data.bank import words
from persona_ft.data.split import allot, split_validation
from persona_ft.errors import PersonaError
from persona_ft.io import read_yaml
from persona_ft.paths import resolve, shown


class Fact(BaseModel):
    """Something true of the person.

    ``aliases`` are the ways an answer may write it; ``contradicted_by`` lists values that it is not, as other towns.
    """

    model_config = ConfigDict(extra="forbid")

    id: Text
    stated: Literal["train", "prompt", "never"]
    ja: str = ""
    en: str = ""
    aliases: list[Text] = Field(min_length=1)
    contradicted_by: list[Text] = Field(default_factory=list)


class Topic(BaseModel):
    """Something on which nothing is known of the person; ``claims`` are words in which an answer would invent it."""

    model_config = ConfigDict(extra="forbid")

    id: Text
    ja: str = ""
    en: str = ""
    claims: list[Text] = Field(default_factory=list)

    def as_fact(self) -> Fact | None:
        """The topic as a fact that nobody stated: to support it is to invent it. None without ``claims``."""
        return Fact(id=self.id, stated="never", ja=self.ja, en=self.en, aliases=self.claims) if self.claims else None


class Profile(BaseModel):
    """persona.yaml."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    system_prompt: Text
    language: Text = "ja"
    first_person: str = ""
    habits: list[str] = Field(default_factory=list)
    facts: list[Fact] = Field(default_factory=list)
    unknown_topics: list[Topic] = Field(default_factory=list)


@dataclass(frozen=True)
class Persona:
    """A profile with the pairs to learn from and the questions to be tested on."""

    folder: Path
    profile: Profile
    train: list[Conversation]
    test: list[Conversation]


def read_profile(path: Path | str) -> Profile:
    """Read persona.yaml.

    Raises
    ------
    PersonaError
        The file is missing, is not YAML (with its line), lacks a name or a system prompt, or has an unknown key.
    """
    path = Path(path)
    check_folder(path.parent)
    remedy = "write at least name: and system_prompt:, as in data/masaki/persona.yaml, and compare it with that"
    return read_yaml(path, Profile, remedy)


def read_test(path: Path | str) -> list[Conversation]:
    """Read test.jsonl: conversations that each have an id of their own.

    Raises
    ------
    PersonaError
        The file cannot be used, or an item has no id or one used before.
    """
    items = read_jsonl(path)
    seen: set[str] = set()
    for number, item in enumerate(items, start=1):
        if not item.id or item.id in seen:
            reason = f"test item {number} has {f'the id {item.id} of another' if item.id else 'no id'}"
            raise PersonaError(reason, 'give each item an "id" of its own, such as "Q01"', path)
        seen.add(item.id)
    return items


def read_persona(folder: Path | str) -> Persona:
    """Read a folder with persona.yaml, train.jsonl and test.jsonl.

    Raises
    ------
    PersonaError
        The folder or one of its files is missing or cannot be used.
    """
    folder = Path(folder)
    check_folder(folder)
    test = read_test(folder / "test.jsonl")
    return Persona(folder, read_profile(folder / "persona.yaml"), read_jsonl(folder / "train.jsonl"), test)


def persona_or_pairs(path: Path | str, system_prompt: str = "", n_test: int = 30) -> Persona:
    """A persona folder, or a JSONL file of pairs of which some are kept out of training as the test.

    Parameters
    ----------
    path : the folder, or the file; a relative one is looked for in the repository, then where the notebook runs.
    system_prompt : who is talking, for a file; without one, what the pairs' own developer message says.
    n_test : pairs to keep out of a file; a quarter of them where there are fewer than four times as many.

    Raises
    ------
    PersonaError
        Nothing is there, a line cannot be used, or there are fewer than 8 pairs.
    """
    found = next((p for p in (resolve(path), Path(path)) if p.exists()), resolve(path))
    if found.suffix != ".jsonl":
        return read_persona(found)
    pairs = read_jsonl(found)
    if len(pairs) < 8:
        raise PersonaError(f"{len(pairs)} pairs are too few to train on and to test", "write 30 or more", found)
    stated = next((m.content for p in pairs for m in p.messages[:1] if m.role in ("system", "developer")), "")
    if not (prompt := system_prompt or stated):
        raise PersonaError("nothing says who is talking", "describe them in SYSTEM_PROMPT", found)
    train, test = split_validation(pairs, allot(len(pairs), n_test)[0])
    test = [pair.model_copy(update={"id": f"Q{i:02d}"}) for i, pair in enumerate(test, start=1)]
    return Persona(found.parent, Profile(name="the person", system_prompt=prompt), train, test)


def check_owner(run: Path, folder: Path) -> None:
    """Refuse to write one person's data over another's: PERSONA was forgotten, or RUN is somebody else's.

    Raises
    ------
    PersonaError
        The run folder holds a persona of another name; the message says which PERSONA is meant.
    """
    if not (run / "persona.yaml").exists():
        return
    there, mine = read_profile(run / "persona.yaml"), read_profile(folder / "persona.yaml")
    if there.name == mine.name:
        return
    named = re.compile(rf"^name: *['\"]?{re.escape(there.name)}['\"]? *$", re.M)
    known = resolve("data").glob("*/persona.yaml")
    meant = next((shown(p.parent) for p in known if named.search(p.read_text(encoding="utf-8"))), "…")
    said = words(there.language)
    where = {"run": shown(run), "there": there.name, "folder": shown(folder), "mine": mine.name}
    where |= {"meant": meant, "own": folder.name}
    raise PersonaError(said["other_owner"].format(**where), said["other_owner_remedy"].format(**where))


def check_folder(folder: Path) -> None:
    """Say which personas there are when the one asked for is missing."""
    if not folder.is_dir():
        others = sorted(p.parent.name for p in folder.parent.glob("*/persona.yaml"))
        known = f"; beside it there is {', '.join(others)}" if others else ""
        remedy = f"set PERSONA to a folder with persona.yaml, train.jsonl and test.jsonl, or make new PERSONA=…{known}"
        raise PersonaError("there is no such persona folder", remedy, folder)
