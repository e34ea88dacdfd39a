"""A model's files, looked at before a library opens them: whole, and with nothing in them that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_model(folder: Path, weights: bool = True) -> None:
    """Refuse a model that would run code of its own, is none of gpt-oss's kind, or is not whole.

    Parameters
    ----------
    weights : False looks at the small files only.

    Raises
    ------
    PersonaError
        Names the file and what is wrong with it.
    """
    small = {path.name: _fields(path) for path in sorted(folder.glob("*config.json"))}
    for name, fields in small.items():
        if "auto_map" in fields:
            remedy = "take a model that transformers has the code of: no model's own code is run here"
            raise PersonaError("the model asks to run code of its own (auto_map)", remedy, folder / name)
    kind = small.get("config.json", {}).get("model_type", "nothing known")
    if kind != "gpt_oss":
        raise PersonaError(f"the model is {kind}, and the lessons are for gpt_oss", 'try MODEL = "tiny"', folder)
    if weights:
        index = folder / "model.safetensors.index.json"
        parts = _fields(index).get("weight_map", {}).values() if index.exists() else ["model.safetensors"]
        for part in sorted(set(parts)):
            _check_whole(folder / Path(part).name)


def _fields(path: Path) -> dict[str, Any]:
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise PersonaError("the file is cut off or damaged: it is no JSON object", "fetch it again", path) from error


def _check_whole(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy"):  # reads the header, and holds its sizes against the file's
            return
    except FileNotFoundError as error:
        if any(name for pattern in PICKLES for name in path.parent.glob(pattern)):
            reason, remedy = "the weights are pickles, which can run any code when they are opened", "convert them to"
        else:
            reason, remedy = "the weights are missing", "fetch them again, as"
        raise PersonaError(reason, f"{remedy} {path.name}", path.parent) from error
    except (SafetensorError, OSError) as error:
        reason = f"the weights are cut off or damaged ({error})"
        raise PersonaError(reason, "fetch the file again: it was copied or downloaded in part", path) from error
