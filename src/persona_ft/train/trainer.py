"""What is changed in TRL's trainer, and what it reports."""

from __future__ import annotations

import gc
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.generate import ready_to_generate
from persona_ft.gpt_oss.harmony import encode
from persona_ft.gpt_oss.lora import lora_in_float32
from persona_ft.train.recipe import Recipe

if TYPE_CHECKING:
    from trl import SFTTrainer


def use_graded_logits(trainer: SFTTrainer) -> None:
    """Compute the loss from the graded tokens' logits alone: TRL's fused head scores gpt-oss's 201,088 words only
    there, in tiles, and on a GPU Unsloth replaces it by a loss over every position, whose memory depends on what else
    is free. This puts TRL's back (``trl.trainer.utils.add_fused_lm_head``); the loss is the same number."""
    import torch

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**{**inputs, "use_cache": False}, fused_lm_head=True)
        n_graded = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = -outputs.log_probs.sum() / torch.as_tensor(n_graded).clamp(min=1)
        if self.aux_loss_enabled:
            # Averaged over the batches of a step, since the loss above is divided by all of their tokens.
            batches = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / batches
        return (loss, outputs) if return_outputs else loss

    trainer.compute_loss = MethodType(compute_loss, trainer)


def use_fused_swiglu() -> None:
    """Let the experts' activation run as one kernel each way instead of about twenty-five, on a GPU without compile, as
    Unsloth does elsewhere than in a 4-bit gpt-oss. An H100's losses were the same to the last digit."""
    from unsloth_zoo.temporary_patches import gpt_oss, moe_fused_swiglu

    unfused = gpt_oss.swiglu_torch_forward
    if getattr(unfused, "fused", False):
        return
    act = moe_fused_swiglu.ACT_GPTOSS

    def swiglu(a, alpha, limit, dtype=None):
        if dtype in (None, a.dtype) and moe_fused_swiglu.fused_swiglu_supported(a):
            return moe_fused_swiglu.moe_fused_swiglu(a, act, True, alpha, limit, True)
        return unfused(a, alpha, limit, dtype=dtype)

    swiglu.fused = True
    gpt_oss.swiglu_torch_forward = swiglu


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Around ``trainer.train()``: what is loaded by now is left out of garbage collection, which the Trainer asks for
    several times: on gpt-oss-20b each is a walk over a million objects, of half a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass
class TrainingLog:
    """What the trainer reported: optimizer step -> loss, on the training batch and on the validation pairs."""

    train: list[tuple[int, float]]
    validation: list[tuple[int, float]]


def training_log(history: list[dict[str, float]]) -> TrainingLog:
    """Take ``trainer.state.log_history`` apart."""
    losses = ([(int(row["step"]), float(row[key])) for row in history if key in row] for key in ("loss", "eval_loss"))
    return TrainingLog(*losses)


def router_loss(model: Model, tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """The router's load-balancing loss on some texts, which the training loss leaves out (Switch Transformers, arXiv
    2101.03961, equation 4; transformers sums it over a token's experts): ``num_experts_per_tok`` when every expert gets
    the same share, more as a few take over. The router is frozen, its inputs are not: tuning may upset it."""
    import torch
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    sizes, total = (model.config.num_local_experts, model.config.num_experts_per_tok), 0.0
    with ready_to_generate(model), torch.inference_mode():
        for text in texts:
            batch = torch.tensor([encode(tokenizer, text)], device=model.device)
            outputs = model(input_ids=batch, use_cache=False, output_router_logits=True, logits_to_keep=1)
            total += float(load_balancing_loss_func(outputs.router_logits, *sizes))
    return total / len(texts)


def short_training(
    model: Model, tokenizer: Tokenizer, rows: list[dict[str, Any]], recipe: Recipe, bfloat16: bool, cuda: bool
) -> list[float]:
    """Train a model with its LoRA in place on rows of :func:`training_rows`, as notebook 03 does, without validation
    pairs, checkpoints or a word. Returns the loss of each step, in nats per graded token."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    recipe = recipe.changed(validation_pairs=False, early_stopping_patience=None, checkpoint_every=None)
    how = recipe.sft_arguments(len(rows), model.config.hidden_size, bfloat16, cuda) | {"dataset_num_proc": 1}
    data = Dataset.from_list(rows)
    # Unsloth says the same few lines before each training.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        args = SFTConfig(**how, output_dir=folder)
        trainer = SFTTrainer(model=model, args=args, processing_class=tokenizer, train_dataset=data)
        trainer.remove_callback(PrinterCallback)
        lora_in_float32(model)
        if recipe.logits == "graded":
            use_graded_logits(trainer)
        if not recipe.compile:
            use_fused_swiglu()
        trainer.train()
    return [loss for _, loss in training_log(trainer.state.log_history).train]
