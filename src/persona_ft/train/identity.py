"""What belongs together: an adapter and the data, prompt and recipe that it was trained with, known by digests."""

import json
from pathlib import Path
from typing import Any

from persona_ft.conversation import read_jsonl, rows_in
from persona_ft.data.persona import read_profile, read_test
from persona_ft.data.split import check_leakage
from persona_ft.errors import PersonaError
from persona_ft.io import digest, file_digest, keep_private, read_json, write_text
from persona_ft.paths import require, shown

NOTE, NOTEBOOK = "adapter/identity.json", "03_train_qlora"
# By the names that they are called. Data may be another by now for somebody who only talks; the adapter may not.
DATA = {"training pairs": "train.jsonl", "validation pairs": "validation.jsonl", "test questions": "test.jsonl"}
WEIGHTS = "adapter/adapter_model.safetensors"
ADAPTER = {"adapter's weights": WEIGHTS, "adapter's settings": "adapter/adapter_config.json"}


def seal_adapter(run: Path, recipe: dict[str, Any]) -> dict[str, str]:
    """Note beside a run's adapter what it was trained on and how, and keep it for its owner's eyes. Returns name ->
    SHA-256 of each file of :data:`DATA` and :data:`ADAPTER`, of the prompt and of the whole recipe."""
    rewrite_settings(run / ADAPTER["adapter's settings"], "base_model_name_or_path")
    found = _digests(run, recipe)
    keep_private(run / "adapter")
    write_text(run / NOTE, json.dumps(found, indent=1) + "\n")
    return found


def rewrite_settings(path: Path, key: str) -> None:
    """Write a JSON file of PEFT's or the Trainer's again, with the last name alone of the path at ``key``, and modules'
    names sorted: PEFT has a set, whose order is another one in each process, and so would be the file's digest."""
    fields = read_json(path)
    fields[key] = fields.get(key) and Path(fields[key]).name
    if isinstance(modules := fields.get("target_modules"), list):
        fields["target_modules"] = sorted(modules)
    write_text(path, json.dumps(fields, indent=2) + "\n")


def read_training(run: Path) -> dict[str, Any]:
    """training.json as notebook 03 wrote it; nothing where it is missing or damaged."""
    try:
        return dict(read_json(run / "training.json"))
    except (OSError, ValueError, TypeError):
        return {}


def check_adapter(run: Path, data: bool = True) -> dict[str, Any]:
    """training.json of a run whose adapter is whole and belongs to the run's data and prompt; else a PersonaError names
    what is missing, damaged or changed, or the test question that was trained on. A talk does without ``data``."""
    again = f"run notebook {NOTEBOOK} again with this RUN: a finished training goes through it in a minute"
    for name in ("training.json", WEIGHTS, "persona.yaml"):
        require(run, name, NOTEBOOK)
    training = read_training(run)
    try:
        noted, note = dict(training["sha256"]), read_json(run / NOTE)
        found = _digests(run, training["recipe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        reason = f"training.json or {NOTE} is damaged or missing, or of an earlier version ({said})"
        raise PersonaError(reason, again, shown(run)) from error
    if noted != note:
        raise PersonaError("the adapter and training.json are of two trainings", again, shown(run))
    wanted = [name for name in {**noted, **found} if data or name not in DATA]
    if changed := [name for name in wanted if found.get(name) != noted.get(name)]:
        reason = f"not as they were when the adapter was saved: {', '.join(changed)}"
        remedy = f"put them back (RUN may hold another person's data by now), or {again}"
        raise PersonaError(reason, remedy, shown(run))
    if data:
        train, watched, test = (run / file for file in DATA.values())
        check_leakage(read_jsonl(train) + rows_in(watched), read_test(test))
    return training


def _digests(run: Path, recipe: dict[str, Any]) -> dict[str, str]:
    found = {name: file_digest(run / file) for name, file in (DATA | ADAPTER).items() if (run / file).exists()}
    found["prompt"] = digest(read_profile(run / "persona.yaml").system_prompt)
    # Once through JSON: training.json holds lists where a recipe may hold tuples.
    return found | {"recipe": digest(json.dumps(json.loads(json.dumps(recipe)), sort_keys=True))}
