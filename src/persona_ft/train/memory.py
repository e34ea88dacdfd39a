"""What fits on which card: the bytes of a training step, from the model's config and the recipe, before anything loads.

The measured sizes are in ``memory.yaml``, which says how they were found.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Config
from persona_ft.gpt_oss.lora import count_lora_parameters, count_parameters
from persona_ft.train.gpus import Card
from persona_ft.train.recipe import Recipe

MEASURED: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
GIB = 2**30
CONTEXT_BYTES, FIXED_BYTES = MEASURED["context_gib"] * GIB, MEASURED["fixed_gib"] * GIB
# Bytes a weight: 4 bits, an 8-bit scale per 64 weights, and a 32-bit scale per 256 of those (QLoRA, arXiv 2305.14314);
# 4 bits and an 8-bit scale per 32 weights (OCP Microscaling Formats, section 5.1).
NF4_BYTES, MXFP4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256), 0.5 + 1 / 32
# Those of the parts that are stored in 4 bit; the rest stays in 16 bit.
STORED_BYTES: dict[str, dict[str, float]] = {"bfloat16": {}, "mxfp4": {"experts": MXFP4_BYTES}}
STORED_BYTES["nf4"] = {"attention": NF4_BYTES, "experts": NF4_BYTES}


@dataclass(frozen=True)
class Memory:
    """Bytes of each part at the fullest moment, which is in a layer or in the loss."""

    weights: float
    lora: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    unpacked_experts: float = 0.0
    activations: float = 0.0
    attention_scores: float = 0.0
    logits: float = 0.0
    context: float = CONTEXT_BYTES

    LAYER = ("unpacked_experts", "activations", "attention_scores", "logits")
    PARTS = ("weights", "lora", "gradients", "optimizer", *LAYER, "reserve", "context")

    @property
    def peak(self) -> float:
        """What ``torch.cuda.max_memory_allocated`` should report."""
        return sum(getattr(self, part) for part in self.PARTS[:-2])

    @property
    def reserve(self) -> float:
        """What PyTorch's allocator takes from the card and cannot hand out: cut-offs of its blocks."""
        return self.peak * MEASURED["reserve"]

    @property
    def total(self) -> float:
        return self.peak + self.reserve + self.context

    def gib(self) -> dict[str, float]:
        """The parts and their total in GiB."""
        return {part: getattr(self, part) / GIB for part in (*self.PARTS, "total")}


def weights_bytes(config: Config, weights: str) -> float:
    """``"nf4"``: attention and experts in 4 bit; ``"mxfp4"``: the experts; ``"bfloat16"``: all in 16 bit."""
    stored = STORED_BYTES[weights.removesuffix("-fused")]
    return sum(n * stored.get(part, 2.0) for part, n in count_parameters(config).items())


def _layer_bytes(config: Config, rows: int, tokens: int, precision: str, weights: str) -> dict[str, float]:
    """One layer being recomputed and differentiated, at its fuller moment."""
    n, pairs = rows * tokens, rows * config.num_attention_heads * tokens**2
    hidden, chosen = config.hidden_size, n * config.num_experts_per_tok
    unpacked = config.num_local_experts * hidden * 3 * config.intermediate_size * 2.0
    if precision == "float16":
        unpacked = min(unpacked, MEASURED["float16_window_gib"] * GIB)
    elif weights != "nf4" and (weights != "mxfp4" or chosen / config.num_local_experts < MEASURED["mxfp4_fused_below"]):
        unpacked = 0.0
    found = [
        {
            "unpacked_experts": unpacked if expert else 0.0,
            "activations": chosen * config.intermediate_size * expert + n * hidden * token + FIXED_BYTES,
            "attention_scores": pairs * score,
        }
        for expert, token, score in MEASURED["moments"]["mxfp4" if weights.startswith("mxfp4") else precision]
    ]
    return max(found, key=lambda parts: sum(parts.values()))


def _loss_bytes(config: Config, rows: int, tokens: int, graded: int, precision: str, logits: str) -> float:
    """The loss: the head on the graded tokens in tiles, or on all tokens in chunks."""
    if logits == "all":
        scores = rows * tokens * config.vocab_size
        over = scores * 16 / (MEASURED["loss_chunk_gib"] * GIB)
        return scores * MEASURED["logit_bytes"] / (1 if over <= 1 else 4 * math.ceil(over / 4))
    tile = min(MEASURED["head_words"], config.vocab_size)
    width, head = (4, 2 * tile * config.hidden_size * 4) if precision == "float16" else (2, 0)
    return head + min(rows * graded, MEASURED["head_tokens"]) * tile * width * 2


def _trained_bytes(n_lora: int, optimizer: str) -> dict[str, float]:
    """LoRA's weights and gradients in 32 bit, and two values a parameter, of 8 or 32 bit, for the optimizer."""
    adam = n_lora * (2.0 if "8bit" in optimizer else 8.0)
    return {"lora": n_lora * 4.0, "gradients": n_lora * 4.0, "optimizer": adam}


def estimate_training(
    config: Config, recipe: Recipe, tokens: int, graded: int, bfloat16: bool = True, weights: str = "nf4"
) -> Memory:
    """The fullest moment of a training step: ``tokens`` of the longest row, to which shorter ones are padded;
    ``graded`` tokens of the row that has most; ``bfloat16`` False is float16 as on a T4; ``weights`` is ``"nf4"``,
    ``"mxfp4"``, or ``"mxfp4-fused"`` where UNSLOTH_MXFP4_FUSED_GEMM is 1."""
    precision, rows = "bfloat16" if bfloat16 else "float16", recipe.batch_size
    parts = _layer_bytes(config, rows, tokens, precision, weights)
    loss = _loss_bytes(config, rows, tokens, graded, precision, recipe.logits)
    kept = rows * tokens * config.hidden_size * MEASURED["token_bytes"] + FIXED_BYTES
    if loss + kept > sum(parts.values()):
        parts = {"activations": kept, "logits": loss}
    n_lora = count_lora_parameters(config, recipe.lora_r, recipe.lora_scope)
    return Memory(weights_bytes(config, weights), **_trained_bytes(n_lora, recipe.optimizer), **parts)


# Ways of using the model, and what its weights are in.
WAYS = {"inference, 4 bit": "nf4", "QLoRA": "nf4", "LoRA, 16 bit": "bfloat16", "full fine-tuning": "bfloat16"}


def estimate(config: Config, way: str) -> Memory:
    """Estimate one of :data:`WAYS` of using the model, on batches of 4 rows of 256 tokens: LoRA of rank 8 on attention
    with ``adamw_8bit``; full fine-tuning with Adam's two values in 32 bit each."""
    weights, layer = weights_bytes(config, WAYS[way]), _layer_bytes(config, 4, 256, "bfloat16", WAYS[way])
    if way == "inference, 4 bit":
        return Memory(weights, unpacked_experts=layer["unpacked_experts"])
    if way == "full fine-tuning":
        n = sum(count_parameters(config).values())
        return Memory(weights, gradients=n * 2.0, optimizer=n * 8.0, **layer)
    return Memory(weights, **_trained_bytes(count_lora_parameters(config, 8), "adamw_8bit"), **layer)


def fits(memory: Memory, card: Card) -> bool:
    """Whether an estimate fits a card."""
    return memory.total <= card.memory_gib * GIB


def check_fits(
    config: Config, recipe: Recipe, tokens: int, graded: int, bfloat16: bool, card: Card, weights: str = "nf4"
) -> Memory:
    """Estimate the memory; where it does not fit the card, a PersonaError names the setting that would."""
    sizes = tokens, graded, bfloat16, weights
    memory = estimate_training(config, recipe, *sizes)
    if not fits(memory, card):
        reason = f"training would need about {memory.total / GIB:.1f} GiB and {card.name} has {card.memory_gib:.1f} GiB"
        at_once = f"{recipe.batch_size} rows of up to {tokens} tokens at once, LoRA on {recipe.lora_scope}"
        raise PersonaError(f"{reason} ({at_once})", smaller_setting(config, recipe, card, *sizes))
    return memory


def largest_fit(config: Config, recipe: Recipe, card: Card, *sizes: Any) -> Recipe | None:
    """The nearest smaller recipe that fits the card, or None; ``sizes`` are :func:`estimate_training`'s rest. A smaller
    batch is made up for by accumulation, so that training is the same and only slower; then LoRA leaves the experts."""
    for scope in dict.fromkeys((recipe.lora_scope, "attention")):
        for n in (n for n in range(recipe.batch_size, 0, -1) if recipe.rows_per_step % n == 0):
            smaller = recipe.changed(batch_size=n, gradient_accumulation=recipe.rows_per_step // n, lora_scope=scope)
            if fits(estimate_training(config, smaller, *sizes), card):
                return smaller
    return None


def smaller_setting(config: Config, recipe: Recipe, card: Card, *sizes: Any) -> str:
    """The remedy as a sentence: what to set in notebook 03, and what that would need."""
    if (smaller := largest_fit(config, recipe, card, *sizes)) is None:
        return f"use a larger card, or leave out the longest rows: one row of {sizes[0]} tokens does not fit at a time"
    names = ["batch_size", "gradient_accumulation"] + ["lora_scope"] * (smaller.lora_scope != recipe.lora_scope)
    needs = estimate_training(config, smaller, *sizes).total / GIB
    return f"set {', '.join(f'{n.upper()} = {getattr(smaller, n)!r}' for n in names)}: about {needs:.1f} GiB"


@contextmanager
def explained_out_of_memory(
    config: Config,
    recipe: Recipe,
    tokens: int,
    graded: int,
    bfloat16: bool,
    card: Card | None,
    memory: Memory | None,
    weights: str = "nf4",
) -> Iterator[None]:
    """Around ``trainer.train()``: out of CUDA memory, a PersonaError says what was expected and what to set."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        if card is None or memory is None:
            raise
        # One step below what was expected, whatever the card should have held.
        below = card.model_copy(update={"memory_gib": min(card.memory_gib, memory.total / GIB) - 0.01})
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        remedy = smaller_setting(config, recipe, below, tokens, graded, bfloat16, weights)
        reason = f"CUDA ran out of memory when {asked[1] if asked else 'more'} was asked for; the estimate was "
        reason += f"{memory.total / GIB:.1f} of {card.memory_gib:.1f} GiB (does another program use this GPU?)"
        raise PersonaError(reason, f"restart the kernel to free the memory, then {remedy}") from error


class StepTime(NamedTuple):
    """A rough time for one optimizer step, in seconds."""

    total: float


def estimate_step(config: Config, recipe: Recipe, tokens: int, card: Card, weights: str = "nf4") -> StepTime | None:
    """A rough time for one optimizer step on a card; None where its speed is not known. The experts are unpacked twice
    a batch (forward, recomputation), each time written once and read by the products that use them; arithmetic is
    forward, recomputation and the backward pass to the inputs, at half of the card's peak."""
    if card.gb_s is None or card.tflops is None:
        return None
    parts, batches = count_parameters(config), recipe.gradient_accumulation
    unpacked = parts["experts"] * 2
    moved = batches * (2 * (unpacked + parts["experts"] * STORED_BYTES[weights]["experts"]) + 3 * unpacked)
    active = parts["attention"] + parts["experts"] * config.num_experts_per_tok / config.num_local_experts
    flops = 3 * 2 * active * recipe.rows_per_step * tokens
    launches = batches * MEASURED["launch_seconds"]
    return StepTime(moved / (card.gb_s * 1e9) + flops / (card.tflops * 1e12 * 0.5) + launches)
