"""training.json: what was trained on what, how, and what it took."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.io import write_text
from persona_ft.train.checkpoints import Checkpoints
from persona_ft.train.gpus import Card, Cards
from persona_ft.train.identity import read_training
from persona_ft.train.memory import GIB, Memory
from persona_ft.train.trainer import training_log

if TYPE_CHECKING:
    from trl import SFTTrainer


def taken(
    run: Path,
    trainer: SFTTrainer,
    checkpoints: Checkpoints,
    state: dict[str, Any],
    cards: Cards,
    card: Card | None,
    estimated: Memory | None,
) -> dict[str, Any]:
    """Steps, losses, seconds, peak memory in GiB and cost of a training, over all its sessions. ``state`` is of
    :meth:`Checkpoints.finish`; ``card`` was trained on, None on a CPU."""
    import torch

    end = checkpoints.last_good()
    seconds = end.seconds if end else trainer.state.log_history[-1]["train_runtime"]
    if trainer.state.global_step:
        peak = torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else None
    else:  # finished in an earlier session, which noted its peak
        peak = read_training(run).get("peak_gib")
    units, usd = cards.cost(card, seconds) or (None, None)
    return {
        "steps": state["global_step"],
        "best_step": state["best_global_step"],
        "log": asdict(training_log(state["log_history"])),
        "seconds": seconds,
        "peak_gib": peak,
        "estimated_peak_gib": estimated and estimated.peak / GIB,
        "units": units,
        "usd": usd,
    }


def write_record(run: Path, **known: Any) -> Path:
    """Write training.json, which notebooks 04 and 05 and the report read."""
    return write_text(run / "training.json", json.dumps(known, indent=1, ensure_ascii=False) + "\n")
