"""Recipes: every value of a training run as a file that a reader can open and diff, with the reason for each change."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from persona_ft.errors import PersonaError, reason_of
from persona_ft.io import read_yaml
from persona_ft.paths import resolve

FOLDER = Path(__file__).parent / "recipes"
# What a notebook's parameter says when the recipe's own value is wanted.
UNCHANGED = "recipe"
# gpt-oss-20b is 2,880 wide, the tiny model of this repository 256 to 512.
NARROW = 1024
# What torch and numpy both take.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


# Upper bounds are gpt-oss-20b's width and context where it has one, and elsewhere far above what anybody means.
class Recipe(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """One way to train. The YAML files in ``recipes/`` explain each field beside its value."""

    name: str
    about: str
    loss_on: Literal["text", "completion", "question+completion"]
    system_prompt: bool
    freeze_date: bool
    reasoning_effort: Literal["low", "medium", "high"]
    think: Literal["no", "yes"] = "no"
    validation_pairs: bool
    lora_scope: Literal["attention", "attention+experts"]
    lora_r: int = Field(ge=1, le=2_880)
    lora_alpha: int = Field(ge=1, le=1_000_000)
    lora_dropout: float = Field(ge=0, lt=1)
    lora_seed: Seed
    batch_size: int = Field(ge=1, le=1_000_000)
    gradient_accumulation: int = Field(ge=1, le=1_000_000)
    max_steps: int | None = Field(ge=1, le=10_000_000)
    num_epochs: float | None = Field(gt=0, le=100_000)
    learning_rate: float = Field(gt=0, le=1)
    tiny_learning_rate: float = Field(gt=0, le=1)
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: int = Field(ge=0, le=10_000_000)
    optimizer: str
    weight_decay: float = Field(ge=0, le=1)
    max_grad_norm: float = Field(gt=0)
    packing: bool
    max_length: int = Field(ge=32, le=131_072)
    router_aux_loss_coef: float | None = Field(ge=0)
    precision: Literal["auto", "bfloat16", "float16"]
    seed: Seed
    compile: bool
    logits: Literal["all", "graded"]
    early_stopping_patience: int | None = Field(ge=1)
    checkpoint_every: int | None = Field(ge=1)
    why: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.max_steps is None) == (self.num_epochs is None):
            raise ValueError("give max_steps or num_epochs, and null for the other")
        if self.early_stopping_patience and not self.validation_pairs:
            raise ValueError("early_stopping_patience needs validation_pairs: true")
        if unknown := set(self.why) - set(type(self).model_fields):
            raise ValueError(f"why: there is no setting called {', '.join(sorted(unknown))}")
        return self

    @property
    def rows_per_step(self) -> int:
        """Rows that one optimizer step sees."""
        return self.batch_size * self.gradient_accumulation

    @property
    def same_shape(self) -> bool:
        """Whether what precedes the answer is the same in training and in inference."""
        return self.system_prompt and self.freeze_date and self.loss_on != "text"

    def values(self) -> dict[str, Any]:
        """The settings alone, without name and reasons."""
        return self.model_dump(exclude={"name", "about", "why"})

    def changed(self, **values: Any) -> Self:
        """The recipe with some values replaced; ``"recipe"`` keeps its own. PersonaError for an impossible value."""
        changes = {key: value for key, value in values.items() if value != UNCHANGED}
        # A rate that somebody names is meant for the model at hand.
        if "learning_rate" in changes:
            changes.setdefault("tiny_learning_rate", changes["learning_rate"])
        # Epochs and steps say the same thing; the one that is given wins.
        for key, other in (("num_epochs", "max_steps"), ("max_steps", "num_epochs")):
            if changes.get(key) is not None:
                changes.setdefault(other, None)
        if all(getattr(self, key) == value for key, value in changes.items()):
            return self
        try:
            return type(self).model_validate(self.model_dump() | changes)
        except ValidationError as error:
            remedy = f'give another value, or "{UNCHANGED}" for the value of {self.name}.yaml'
            raise PersonaError(reason_of(error, str.upper), remedy) from error

    def for_pairs(self, train: list, validation: list) -> tuple[Self, list, list]:
        """The recipe and the pairs to train on and to watch: all are trained on where the recipe sets none aside.
        Without pairs to watch nothing can be chosen by them: no evaluation, no early stop, the last step is kept."""
        if not self.validation_pairs:
            return self, train + validation, []
        watched = self if validation else self.changed(validation_pairs=False, early_stopping_patience=None)
        return watched, train, validation

    def steps(self, n_rows: int) -> int:
        """Optimizer steps over ``n_rows`` rows, as the trainer counts them."""
        return self.max_steps or math.ceil(self.num_epochs * self.steps_per_epoch(n_rows))

    def steps_per_epoch(self, n_rows: int) -> int:
        """Optimizer steps in one pass over the rows; the last one may be short."""
        return max(1, math.ceil(math.ceil(n_rows / self.batch_size) / self.gradient_accumulation))

    def learning_rate_for(self, hidden_size: int) -> float:
        """The learning rate for a model of some width: what others published for gpt-oss-20b, or the tiny model's, of
        its own sweep (benchmarks/README.md). For LoRA no rule leads from one to the other: notebook 05 sweeps yours."""
        return self.tiny_learning_rate if hidden_size < NARROW else self.learning_rate

    def uses_bfloat16(self, machine_has_it: bool) -> bool:
        """Whether to train in bfloat16; ``auto`` takes what the machine has. PersonaError where the recipe asks for it
        and there is none: a T4 emulates it, many times slower."""
        if self.precision == "bfloat16" and not machine_has_it:
            reason = f"the recipe {self.name} trains in bfloat16, which this card does not have"
            raise PersonaError(reason, 'use RECIPE = "t4", or precision: float16 or auto in a recipe of your own')
        return machine_has_it if self.precision == "auto" else self.precision == "bfloat16"

    def optimizer_on(self, cuda: bool) -> str:
        """The optimizer for ``SFTConfig``: 8-bit AdamW is a CUDA kernel, and Unsloth replaces it elsewhere."""
        return self.optimizer if cuda or "8bit" not in self.optimizer else "adamw_torch_fused"

    def bookkeeping(self, n_rows: int, bfloat16: bool, cuda: bool) -> dict[str, Any]:
        """What ``SFTConfig`` wants besides the values that decide the training: precision, when to evaluate (after each
        pass over the ``n_rows``) and save, and that nothing is reported anywhere. ``bfloat16`` False is float16;
        ``cuda`` False leaves both off: a CPU trains in float32."""
        per_epoch = self.steps_per_epoch(n_rows)
        return {
            # A quarter of the rows keeps an evaluation below the training's peak (benchmarks/README.md).
            "per_device_eval_batch_size": max(1, self.batch_size // 4) if cuda else self.batch_size,
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.max_grad_norm,
            "bf16": cuda and bfloat16,
            "fp16": cuda and not bfloat16,
            "logging_steps": 1,
            "eval_strategy": "steps" if self.validation_pairs else "no",
            "eval_steps": per_epoch,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            "save_strategy": "steps" if self.checkpoint_every else "no",
            "save_steps": self.checkpoint_every or per_epoch,
            "restore_callback_states_from_checkpoint": bool(self.checkpoint_every),
            "report_to": "none",
            "disable_tqdm": True,
            "prediction_loss_only": True,
            "include_num_input_tokens_seen": "non_padding",
        }

    def sft_arguments(self, n_rows: int, hidden_size: int, bfloat16: bool, cuda: bool = True) -> dict[str, Any]:
        """All arguments of ``SFTConfig`` but ``output_dir``, as notebook 03 spells them out, for short trials."""
        return {
            "per_device_train_batch_size": self.batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation,
            "num_train_epochs": self.num_epochs or 1,
            "max_steps": self.max_steps or -1,
            "learning_rate": self.learning_rate_for(hidden_size),
            "lr_scheduler_type": self.lr_scheduler,
            "warmup_steps": self.warmup_steps,
            "optim": self.optimizer_on(cuda),
            "max_length": self.max_length,
            "packing": self.packing,
            "router_aux_loss_coef": self.router_aux_loss_coef,
            "seed": self.seed,
            **self.bookkeeping(n_rows, bfloat16, cuda),
        }


def recipe_names() -> list[str]:
    """The recipes that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str | Path) -> Recipe:
    """A recipe by its name, or from one's own YAML file; PersonaError names file and setting of a wrong value."""
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = resolve(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        remedy = f"use one of {', '.join(recipe_names())}, or the path of a file like them"
        raise PersonaError(f"there is no recipe called {str(name)[:60]!r}", remedy)
    return read_yaml(path, Recipe, f"compare it with {FOLDER.name}/article.yaml")


class Difference(NamedTuple):
    """A setting in which two recipes differ, and the reason that the second one gives."""

    setting: str
    before: Any
    after: Any
    why: str


def differences(before: Recipe, after: Recipe) -> list[Difference]:
    """What changes from one recipe to another, in the order of the files."""
    old, new = before.values(), after.values()
    return [Difference(key, old[key], new[key], after.why.get(key, "")) for key in new if old[key] != new[key]]
