"""What a run folder holds of a data set: the profile, and the pairs to train on, to watch and to be tested on."""

import shutil
from dataclasses import replace
from pathlib import Path

from persona_ft.conversation import rows_in, write_jsonl
from persona_ft.data.persona import Persona, read_persona
from persona_ft.data.split import allot, split_validation
from persona_ft.paths import require, resolve, shown

NOTEBOOK = "02_build_dataset"
FILES = ("persona.yaml", "train.jsonl", "validation.jsonl", "test.jsonl")


def read_run(run: Path, otherwise: str) -> Persona:
    """Read a run folder's data set, as notebook 02 left it. One without any is given that of the persona folder
    ``otherwise`` first, and a sentence says so. PersonaError where a file is damaged, or some are there and others not.
    """
    if not any((run / name).exists() for name in FILES):
        persona = read_persona(resolve(otherwise))
        train, validation = split_validation(persona.train, allot(len(persona.train), 0)[1])
        for name in ("persona.yaml", "test.jsonl"):
            shutil.copyfile(persona.folder / name, run / name)
        write_jsonl(run / "validation.jsonl", validation)
        write_jsonl(run / "train.jsonl", train)
        print(f"{shown(run)} held no data set: {persona.profile.name}'s was put there. {NOTEBOOK} makes one of yours.")
    for name in FILES:
        require(run, name, NOTEBOOK)
    return replace(read_persona(run), validation=rows_in(run / "validation.jsonl"))
