"""One training on two GPUs with torchrun, on gpt-oss-20b's shapes, against the same rows on one: from when does it pay?

    python benchmarks/ddp_20b.py                     # starts itself with torchrun on one GPU, then on two

Data-parallel as Unsloth documents it: each GPU holds the whole model and takes half of the rows, 16 at once as in the
recommended recipe, with ``ddp_find_unused_parameters=False``. Timed from the start of the command to its last step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from persona_ft.paths import repository_root

CAP_GIB = 22.0


def train(folder: Path, weights: str, steps: int, out: Path) -> None:
    """One process of one training; the first writes what it measured."""
    from train_20b import Session, pairs_of

    from persona_ft.train.recipe import read_recipe

    rank, n_gpus = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    recipe = read_recipe("recommended").changed(
        max_steps=steps, early_stopping_patience=None, validation_pairs=False, checkpoint_every=None
    )
    session = Session(folder, weights, recipe, CAP_GIB)
    torch = session.torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from persona_ft.gpt_oss.lora import lora_in_float32
    from persona_ft.train.rows import training_rows
    from persona_ft.train.trainer import frozen_heap, use_fused_swiglu

    pairs, _, prompt = pairs_of("data/masaki", 80)
    rows = Dataset.from_list(training_rows(pairs * 8, recipe, prompt, session.tokenizer))

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.steps: list[float] = []

        def on_step_begin(self, *_, **__) -> None:
            torch.cuda.synchronize()
            self.at = time.perf_counter()

        def on_step_end(self, *_, **__) -> None:
            torch.cuda.synchronize()
            self.steps.append(time.perf_counter() - self.at)

    how = recipe.sft_arguments(len(rows), session.model.config.hidden_size, True)
    how |= {"save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False}
    clock = Clock()
    with tempfile.TemporaryDirectory() as place:
        arguments = SFTConfig(**how, output_dir=place, ddp_find_unused_parameters=False)
        trainer = SFTTrainer(
            model=session.model,
            processing_class=session.tokenizer,
            train_dataset=rows,
            args=arguments,
            callbacks=[clock],
        )
        lora_in_float32(session.model)
        use_fused_swiglu()
        with frozen_heap():
            trainer.train()
    lora = torch.cat([p.detach().flatten().float() for n, p in session.model.named_parameters() if "lora_" in n])
    torch.cuda.synchronize()
    if n_gpus > 1:  # both hold the same adapter, or the gradients were not shared
        other = lora.clone()
        torch.distributed.broadcast(other, 0)
        apart = (other - lora).abs().max()
        torch.distributed.all_reduce(apart, torch.distributed.ReduceOp.MAX)
    if rank == 0:
        found = {
            "gpus": n_gpus,
            "rows_a_step": 16 * n_gpus,
            "steps": len(clock.steps),
            "until_first_step_s": time.time() - float(os.environ["STARTED"]) - sum(clock.steps),
            "first_step_s": clock.steps[0],
            "median_step_s": statistics.median(clock.steps[2:]),
            "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
            "adapters_apart": apart.item() if n_gpus > 1 else 0.0,
        }
        out.write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the checkpoints are")
    parser.add_argument("--weights", default="mxfp4")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=repository_root() / "benchmarks/results/ddp_20b.json")
    options = parser.parse_args()
    if "LOCAL_RANK" in os.environ:
        train(options.folder, options.weights, options.steps, options.out)
        return
    found = []
    for n in options.gpus:
        out = options.out.with_suffix(f".{n}")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n), __file__]
        given = ["--folder", options.folder, "--weights", options.weights, "--steps", options.steps, "--out", out]
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(n))), "STARTED": str(time.time())}
        subprocess.run([*command, *map(str, given)], env=os.environ | visible, check=True)
        found.append(json.loads(out.read_text()))
        out.unlink()
        print(found[-1], flush=True)
    if len(found) > 1:
        one, two = found[0], found[-1]
        a_row = [each["median_step_s"] / each["rows_a_step"] for each in (one, two)]
        start = [each["until_first_step_s"] + each["first_step_s"] for each in (one, two)]
        rows = (start[1] - start[0]) / (a_row[0] - a_row[1]) if a_row[0] > a_row[1] else float("inf")
        print(f"a row: {a_row[0] * 1e3:.1f} ms on one, {a_row[1] * 1e3:.1f} ms on two: {a_row[0] / a_row[1]:.2f} times")
        print(f"until the second step: {start[0]:.0f} s and {start[1]:.0f} s")
        print(f"two GPUs are sooner from {rows:,.0f} rows on")
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
