"""A finished run: how it was trained and is asked, and its model with the adapter laid over it."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_ft.data.persona import Profile, read_profile
from persona_ft.errors import PersonaError, as_command
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.download import fetch_model
from persona_ft.gpt_oss.harmony import check_template, freeze_date
from persona_ft.gpt_oss.load import choose_model, load_model, this_machine
from persona_ft.paths import resolve, shown
from persona_ft.train.identity import check_adapter

# Tokens of the longest prompt and its answer.
CONTEXT = 4096


@dataclass
class TrainedRun:
    """A run folder after notebook 03, and how its model is asked. ``training`` is its training.json, ``model`` the base
    to load (a folder or a Hub name), ``weights`` its kind of 4 bit, ``think`` and ``effort`` whether it was trained to
    think before it answers and how hard, ``prompt`` the persona's, empty where the recipe left it out, and ``tiny``
    whether it is the tiny model."""

    folder: Path
    training: dict[str, Any]
    profile: Profile
    model: str
    weights: str = "nf4"

    def __post_init__(self) -> None:
        self.adapter, self.tiny = self.folder / "adapter", self.training["tiny"]
        self.think, self.effort = self.training.get("think", "no") == "yes", self.training["reasoning_effort"]
        self.prompt = self.profile.system_prompt * self.training["recipe"]["system_prompt"]


def trained_run(run: Path | str, model: str = "") -> TrainedRun:
    """Read a run folder and check its adapter, without loading a model; ``model`` says where a base that has moved is.
    PersonaError where it lacks what notebook 03 writes, or the adapter is damaged or of another training."""
    folder = resolve(run)
    training = check_adapter(folder, data=False)  # pairs may have been corrected since: a talk asks no test question
    choice = choose_model(model or training["model"], this_machine(), "auto", training.get("weights"))
    return TrainedRun(folder, training, read_profile(folder / "persona.yaml"), choice.source, choice.weights)


def load_run(run: TrainedRun) -> tuple[Model, Tokenizer]:
    """The run's base in 4 bit with its adapter over it (``with model.disable_adapter():`` takes it off), and the
    tokenizer with the training's date. PersonaError where the base cannot be had, or has another template or shape."""
    model, tokenizer = load_model(fetch_model(run.model), run.weights, CONTEXT)
    check_template(tokenizer, run.training)
    tokenizer.chat_template = freeze_date(tokenizer.chat_template, run.training["date"])
    from peft import PeftModel  # after Unsloth, which patches it

    try:
        return PeftModel.from_pretrained(model, run.adapter).eval(), tokenizer
    except RuntimeError as error:
        reason = f"the adapter does not fit {run.model.rsplit('/', 1)[-1]}"
        raise PersonaError(reason, "give the model that was trained on", shown(run.adapter)) from error


@as_command()
def command(doc: str, act: Callable[[TrainedRun, argparse.Namespace], None], **more: dict[str, Any]) -> None:
    """A module's command line: ``act`` on a run folder; ``more`` is what argparse's ``add_argument`` takes, by name."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run folder")
    parser.add_argument("--model", default="", help="where the base model is, when it has moved")
    for name, how in more.items():
        parser.add_argument(name if "choices" in how else f"--{name}", **how)
    options = parser.parse_args()
    act(trained_run(options.run, options.model), options)
