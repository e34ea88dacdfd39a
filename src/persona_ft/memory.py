"""What fits on which card: bytes of weights, gradients, optimizer state and activations, from the model's config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_ft.model import count_lora_parameters, count_parameters

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GIB = 2**30
# 4 bits, an 8-bit scale per 64 weights, and a 32-bit scale per 256 of those scales (QLoRA, arXiv 2305.14314).
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# What CUDA reports as total memory, in GiB.
CARDS = {"T4": 14.6, "L4": 22.2}


@dataclass(frozen=True)
class Memory:
    """Bytes of each part."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations

    def gib(self) -> dict[str, float]:
        """The parts and their total in GiB."""
        parts = {name: getattr(self, name) / GIB for name in ("weights", "gradients", "optimizer", "activations")}
        return parts | {"total": self.total / GIB}


def weights_bytes(config: PretrainedConfig, four_bit: bool) -> float:
    """Attention and experts in NF4 or 16 bit; embedding, router, norms and head stay in 16 bit."""
    parts = count_parameters(config)
    small = parts["attention"] + parts["experts"]
    return small * (NF4_BYTES if four_bit else 2.0) + (sum(parts.values()) - small) * 2.0


def activation_bytes(config: PretrainedConfig, rows: int, tokens: int, four_bit: bool) -> float:
    """A first estimate of what a training step holds besides weights, with gradient checkpointing.

    One hidden state per layer is kept; the logits of the whole vocabulary exist in 16 and in 32 bit; and with 4-bit
    weights one layer's experts are unpacked to 16 bit at a time.
    """
    n = rows * tokens
    kept = config.num_hidden_layers * n * config.hidden_size * 2
    logits = n * config.vocab_size * (2 + 4)
    layer_experts = count_parameters(config)["experts"] / config.num_hidden_layers
    return kept + logits + (layer_experts * 2 if four_bit else 0)


def estimate(config: PretrainedConfig, way: str, rows: int = 4, tokens: int = 256, r: int = 8) -> Memory:
    """Estimate one way of using the model.

    Parameters
    ----------
    way : ``"inference, 4 bit"``, ``"QLoRA"``, ``"LoRA, 16 bit"`` or ``"full fine-tuning"``.
    rows, tokens : of a training batch.
    r : LoRA rank, attention only.

    Notes
    -----
    Adam keeps two values for each trained parameter: 32 bit each in full fine-tuning, 8 bit each for LoRA here
    (``adamw_8bit``). LoRA's own weights and gradients are 32 bit.
    """
    n_lora, n_all = count_lora_parameters(config, r), sum(count_parameters(config).values())
    if way == "inference, 4 bit":
        return Memory(
            weights_bytes(config, True), 0, 0, count_parameters(config)["experts"] / config.num_hidden_layers * 2
        )
    if way == "QLoRA":
        weights = weights_bytes(config, True) + n_lora * 4
        return Memory(weights, n_lora * 4, n_lora * 2, activation_bytes(config, rows, tokens, True))
    if way == "LoRA, 16 bit":
        weights = weights_bytes(config, False) + n_lora * 4
        return Memory(weights, n_lora * 4, n_lora * 2, activation_bytes(config, rows, tokens, False))
    if way == "full fine-tuning":
        return Memory(n_all * 2.0, n_all * 2.0, n_all * 8.0, activation_bytes(config, rows, tokens, False))
    raise ValueError(f"unknown way: {way}")


WAYS = ("inference, 4 bit", "QLoRA", "LoRA, 16 bit", "full fine-tuning")
