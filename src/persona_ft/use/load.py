"""A finished run: how it was trained and is asked, and its model with the adapter laid over it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.data.persona import Profile, read_profile
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.load import choose_model, compute_in_float32, prepare_environment, this_machine
from persona_ft.paths import resolve, shown
from persona_ft.train.identity import check_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens of the longest prompt and its answer.
CONTEXT = 4096


@dataclass(frozen=True)
class TrainedRun:
    """A run folder after notebook 03. ``training`` is its training.json; ``model`` is what to load, in the kind of
    4 bit that ``weights`` names."""

    folder: Path
    training: dict[str, Any]
    profile: Profile
    model: str
    weights: str = "nf4"

    @property
    def adapter(self) -> Path:
        """The folder with the adapter's weights and its config."""
        return self.folder / "adapter"

    @property
    def think(self) -> bool:
        """Whether it was trained, and is asked, to think before it answers."""
        return self.training.get("think", "no") == "yes"

    @property
    def effort(self) -> str:
        """The reasoning effort that it was trained at."""
        return self.training["reasoning_effort"]

    @property
    def prompt(self) -> str:
        """The persona's prompt as training had it; empty where the recipe left it out."""
        return self.profile.system_prompt * self.training["recipe"]["system_prompt"]

    @property
    def tiny(self) -> bool:
        """Whether it stands on the model that comes with this repository."""
        return self.training["tiny"]


def trained_run(run: Path | str, model: str = "") -> TrainedRun:
    """Read a run folder and check its adapter, without loading a model.

    Parameters
    ----------
    model : where the base model is now, when it has moved; empty for the one that was trained on.

    Raises
    ------
    PersonaError
        The folder lacks what notebook 03 writes, or the adapter is damaged or of another training.
    """
    folder = resolve(run)
    training = check_adapter(folder, data=False)  # pairs may have been corrected since: a talk asks no test question
    choice = choose_model(model or training["model"], this_machine(), "auto", training.get("weights"))
    return TrainedRun(folder, training, read_profile(folder / "persona.yaml"), choice.source, choice.weights)


def load_run(run: TrainedRun) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The run's base model in 4 bit with its adapter over it, and the tokenizer with the training's date.

    ``with model.disable_adapter():`` takes the adapter off.

    Raises
    ------
    PersonaError
        The base cannot be had, its chat template is another than in training, or the adapter does not fit it.
    """
    prepare_environment()
    from unsloth import FastLanguageModel  # before peft: it patches it
    from peft import PeftModel  # isort: skip

    from persona_ft.gpt_oss.download import fetch_model
    from persona_ft.gpt_oss.harmony import check_template, freeze_date
    from persona_ft.gpt_oss.load import check_experts, use_split_experts

    use_split_experts(run.weights)
    source = fetch_model(run.model)
    model, tokenizer = FastLanguageModel.from_pretrained(
        source, dtype=None, max_seq_length=CONTEXT, load_in_4bit=run.weights == "nf4"
    )
    check_experts(model, source)
    compute_in_float32(model)
    check_template(tokenizer, run.training)
    tokenizer.chat_template = freeze_date(tokenizer.chat_template, run.training["date"])
    try:
        return PeftModel.from_pretrained(model, run.adapter).eval(), tokenizer
    except RuntimeError as error:
        reason = f"the adapter does not fit {run.model.rsplit('/', 1)[-1]}"
        raise PersonaError(reason, "give the model that was trained on", shown(run.adapter)) from error


def command(doc: str, act: Callable[[TrainedRun, argparse.Namespace], None], **more: dict[str, Any]) -> None:
    """A module's command line: ``act`` on a run folder; what cannot be done is one sentence and exit status 1.

    Parameters
    ----------
    doc : the module's docstring, shown by ``--help``.
    more : further arguments by name, each with what argparse's ``add_argument`` takes.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run folder")
    parser.add_argument("--model", default="", help="where the base model is, when it has moved")
    for name, how in more.items():
        parser.add_argument(name if "choices" in how else f"--{name}", **how)
    options = parser.parse_args()
    try:
        act(trained_run(options.run, options.model), options)
    except PersonaError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None
