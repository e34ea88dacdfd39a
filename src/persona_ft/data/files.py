"""What a run folder holds of a data set: the profile, and the pairs to train on, to watch and to be tested on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from persona_ft.conversation import Conversation, read_jsonl, write_jsonl
from persona_ft.data.persona import Profile, read_persona, read_profile, read_test
from persona_ft.data.split import split_validation
from persona_ft.paths import require, resolve, shown

NOTEBOOK = "02_build_dataset"


@dataclass(frozen=True)
class RunData:
    """The data set of a run, as notebook 02 left it."""

    profile: Profile
    train: list[Conversation]
    validation: list[Conversation]
    test: list[Conversation]


def read_run(run: Path, otherwise: str, n_validation: int = 8) -> RunData:
    """Read a run folder's data set. One without any is given that of the persona folder ``otherwise`` first, and a
    sentence says so.

    Raises
    ------
    PersonaError
        A file is damaged, or some of them are there and others are not.
    """
    if not any((run / name).exists() for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "persona.yaml")):
        persona = read_persona(resolve(otherwise))
        train, validation = split_validation(persona.train, n_validation)
        for name in ("persona.yaml", "test.jsonl"):
            shutil.copyfile(persona.folder / name, run / name)
        write_jsonl(run / "validation.jsonl", validation)
        write_jsonl(run / "train.jsonl", train)
        print(f"{shown(run)} held no data set: {persona.profile.name}'s was put there. {NOTEBOOK} makes one of yours.")
    validation = require(run, "validation.jsonl", NOTEBOOK)
    return RunData(
        profile=read_profile(require(run, "persona.yaml", NOTEBOOK)),
        train=read_jsonl(require(run, "train.jsonl", NOTEBOOK)),
        validation=read_jsonl(validation) if validation.stat().st_size else [],
        test=read_test(require(run, "test.jsonl", NOTEBOOK)),
    )
