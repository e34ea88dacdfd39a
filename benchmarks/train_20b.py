"""gpt-oss-20b's shapes on a CUDA GPU: the article's recipe against ours, estimates against peaks, one step taken apart.

    python benchmarks/train_20b.py                                    # all of it, about 25 minutes on an H100
    python benchmarks/train_20b.py --only recommended-mxfp4 article   # or t4, memory-mxfp4, profile, ...

A part is on NF4 unless its name says otherwise: "-mxfp4" is the released weights, "-fused" decodes them inside the
product. Writes random-weight checkpoints first where --folder lacks them (random_gpt_oss_20b.py). Each part runs in a
process of its own, since compilation and the memory cap are fixed at import. The cap is PyTorch's: past it the same
error is raised as on a smaller card. It imitates a card's memory, not its speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from persona_ft.train.checkpoints import Checkpoints, checkpoint_bytes
from persona_ft.conversation import Conversation
from persona_ft.train.memory import GIB, estimate_step, estimate_training
from persona_ft.data.persona import read_profile
from persona_ft.train.recipe import Recipe, read_recipe
from persona_ft.gpt_oss.load import prepare_environment
from persona_ft.paths import repository_root, resolve

DATE = "2025-12-04"
L4_GIB, T4_GIB = 22.0, 14.5
# Settings that the estimate's constants were not read from: (recipe, rows at once, tokens a row, LoRA scope).
MEMORY_SETTINGS = (
    ("recommended", 1, 256, "attention"),
    ("recommended", 12, 256, "attention"),
    ("recommended", 28, 200, "attention"),
    ("recommended", 2, 1024, "attention"),
    ("recommended", 6, 512, "attention"),
    ("recommended", 8, 256, "attention+experts"),
    ("recommended", 24, 256, "attention+experts"),
    ("recommended", 2, 1024, "attention+experts"),
    ("t4", 1, 1024, "attention"),
    ("t4", 6, 256, "attention"),
    ("t4", 12, 256, "attention"),
    ("t4", 4, 512, "attention"),
    ("t4", 4, 256, "attention+experts"),
)
# On MXFP4, which Unsloth unpacks a layer at a time from 192 tokens an expert on, and decodes inside the product below:
# rows and tokens that the constants were read from, and others.
MXFP4_READ = ((1, 256), (4, 256), (8, 256), (12, 256), (16, 130), (28, 200), (32, 160), (2, 1024), (6, 512), (3, 700))
MXFP4_OTHERS = ((20, 180), (10, 400), (5, 300), (1, 1500), (24, 240), (7, 200), (14, 220), (4, 800))
MXFP4_SETTINGS = tuple(("recommended", *sizes, "attention") for sizes in (*MXFP4_READ, *MXFP4_OTHERS))
FOLDERS = {"nf4": "gpt-oss-20b-unsloth-bnb-4bit", "mxfp4": "gpt-oss-20b"}
# What the kernels of a step do, by their names; the first that matches counts.
KERNELS = {
    "unpacking 4-bit weights": r"dequant",
    "products with experts": r"GroupProblem|grouped|group_gemm",
    "optimizer": r"kOptimizer|Optimizer8bit|optimizer",
    "softmax of attention": r"softmax",
    "scores of the vocabulary": r"_forward_kernel|_backward_kernel|chunked_logprob",
    "other products": r"gemm|nvjet|cutlass|sgemm|splitK|cublas",
    "copies between host and GPU": r"Memcpy|memcpy",
    "casts and copies": r"copy",
    "sorting and gathering tokens": r"sort|gather|scatter|index|radix|scan|Histogram|bincount",
    "arithmetic, one value at a time": r"elementwise|vectorized|reduce|cat|mul|add",
}


def pairs_of(persona: str, n_train: int) -> tuple[list[Conversation], list[Conversation], str]:
    """The first ``n_train`` pairs to train on, the rest to watch, and the persona's prompt."""
    from persona_ft.conversation import read_jsonl

    pairs = read_jsonl(resolve(persona) / "train.jsonl")
    return pairs[:n_train], pairs[n_train:], read_profile(resolve(persona) / "persona.yaml").system_prompt


def pair_of_length(tokenizer, recipe: Recipe, tokens: int, graded: int) -> Conversation:
    """A pair whose training row has ``tokens`` tokens, about ``graded`` of them graded."""
    from persona_ft.train.rows import row_lengths

    def pair(n_question: int) -> Conversation:
        return Conversation.pair("q" + " a" * n_question, "y" + " b" * max(graded - 8, 0))

    wide = recipe.changed(max_length=100_000)
    shortest = row_lengths([pair(0)], wide, "短く", tokenizer)[0][0]
    return pair(tokens - shortest)


def timed(owner: Any, name: str) -> list[float]:
    """Replace a method by itself with a clock; the list grows by each call's seconds."""
    spent, method = [], getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **named)
        finally:
            spent.append(time.perf_counter() - started)

    setattr(owner, name, call)
    return spent


class Session:
    """One process: the model under a memory cap, and trainers on it through the project's helpers."""

    def __init__(self, folder: Path, weights: str, recipe: Recipe, cap_gib: float) -> None:
        prepare_environment(compile=recipe.compile)
        from unsloth import FastLanguageModel

        import torch
        from datasets import disable_progress_bars

        from persona_ft.gpt_oss.harmony import freeze_date
        from persona_ft.gpt_oss.load import check_experts, use_split_experts
        from persona_ft.gpt_oss.lora import lora_targets

        disable_progress_bars()
        self.torch, self.recipe, self.weights = torch, recipe, weights
        kind, model = weights.removesuffix("-fused"), str(folder / FOLDERS[weights.removesuffix("-fused")])
        self.bfloat16 = recipe.precision != "float16"
        total = torch.cuda.get_device_properties(0).total_memory / GIB
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap_gib / total))
        use_split_experts(kind)
        started = time.perf_counter()
        base, self.tokenizer = FastLanguageModel.from_pretrained(
            model_name=model,
            dtype=None if self.bfloat16 else torch.float16,
            max_seq_length=4096,
            load_in_4bit=kind == "nf4",
        )
        check_experts(base, model)
        self.load_seconds, self.loaded = time.perf_counter() - started, torch.cuda.memory_allocated() / GIB
        self.tokenizer.chat_template = freeze_date(self.tokenizer.chat_template, DATE)
        self.model = FastLanguageModel.get_peft_model(
            base,
            r=recipe.lora_r,
            target_modules=lora_targets(recipe.lora_scope, base.config.num_local_experts, kind),
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            bias="none",
            use_gradient_checkpointing="unsloth",
            random_state=recipe.lora_seed,
        )

    def train(self, recipe: Recipe, train, validation, system_prompt: str, callbacks=()) -> dict[str, Any]:
        """Train as notebook 03 does, with a clock around every step."""
        from datasets import Dataset
        from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
        from trl import SFTConfig, SFTTrainer

        from persona_ft.gpt_oss.lora import count_lora_parameters, lora_in_float32
        from persona_ft.train.rows import row_lengths, training_rows
        from persona_ft.train.trainer import frozen_heap, use_fused_swiglu, use_graded_logits

        torch, config = self.torch, self.model.config
        lengths, graded = row_lengths(train + validation, recipe, system_prompt, self.tokenizer)

        class Clock(TrainerCallback):
            def __init__(self) -> None:
                self.steps: list[float] = []

            def on_step_begin(self, *_, **__) -> None:
                torch.cuda.synchronize()
                self.at = time.perf_counter()

            def on_step_end(self, args, state, control, **_) -> None:
                torch.cuda.synchronize()
                self.steps.append(time.perf_counter() - self.at)
                if state.global_step in (1, 2) or state.global_step % 10 == 0:
                    print(f"  step {state.global_step}/{state.max_steps}: {self.steps[-1]:.2f} s", flush=True)

        clock = Clock()
        rows = [
            Dataset.from_list(training_rows(p, recipe, system_prompt, self.tokenizer)) if p else None
            for p in (train, validation)
        ]
        how = recipe.sft_arguments(len(train), config.hidden_size, self.bfloat16)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder, "checkpoints"), recipe.values())
            checkpoints.open(
                checkpoint_bytes(count_lora_parameters(config, recipe.lora_r, recipe.lora_scope), recipe.optimizer)
            )
            stop = [EarlyStoppingCallback(10**6)] if recipe.early_stopping_patience and validation else []
            trainer = SFTTrainer(
                model=self.model,
                processing_class=self.tokenizer,
                train_dataset=rows[0],
                eval_dataset=rows[1],
                args=SFTConfig(**how, output_dir=str(checkpoints.staging)),
                callbacks=[clock, checkpoints.callback(), *stop, *callbacks],
            )
            trainer.remove_callback(PrinterCallback)
            lora_in_float32(self.model)
            if recipe.logits == "graded":
                use_graded_logits(trainer)
            if not recipe.compile:
                use_fused_swiglu()
            checkpoints.save_adapter_alone(trainer)
            if len(trainer.train_dataset) != len(train):
                print(f"  packed into {len(trainer.train_dataset)} rows")
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            spent = {name: timed(trainer, name) for name in ("evaluate", "_save_checkpoint")}
            started = time.perf_counter()
            with frozen_heap() if recipe.name != "article" else nullcontext():
                trainer.train()
            wall = time.perf_counter() - started
            state = checkpoints.finish(trainer)
        losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
        sizes = max(lengths), max(graded), self.bfloat16
        estimated = estimate_training(config, recipe, *sizes, self.weights).peak / GIB
        peak = torch.cuda.max_memory_allocated() / GIB
        outcome = {
            "recipe": recipe.name,
            "weights": self.weights,
            "scope": recipe.lora_scope,
            "batch": f"{recipe.batch_size} x {recipe.gradient_accumulation}",
            "precision": "bfloat16" if self.bfloat16 else "float16",
            "longest_row": max(lengths),
            "most_graded": max(graded),
            "steps": len(clock.steps),
            "rows_seen": round(state["epoch"] * len(train)),
            "evaluations": sum("eval_loss" in entry for entry in state["log_history"]),
            "evaluate_s": sum(spent["evaluate"]),
            "save_s": sum(spent["_save_checkpoint"]),
            "first_step_s": clock.steps[0],
            "median_step_s": statistics.median(clock.steps[1:] or clock.steps),
            "tokens_per_s": state["num_input_tokens_seen"] / wall,
            "train_wall_s": wall,
            "load_s": self.load_seconds,
            "loaded_gib": self.loaded,
            "peak_gib": peak,
            "reserved_gib": torch.cuda.max_memory_reserved() / GIB,
            "estimate_gib": estimated,
            "estimate_off": estimated / peak - 1,
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }
        trainer.accelerator.free_memory()
        del trainer
        gc.collect()
        torch.cuda.empty_cache()
        return outcome


def part_recipe(folder: Path, weights: str, name: str, rows: int, steps: int) -> list[dict[str, Any]]:
    """The article's recipe or the recommended one, for the same number of rows seen, under an L4's memory.

    ``steps`` cuts a run short; what is left of it is then reckoned from the median step.
    """
    recipe, persona = read_recipe(name), "data/masaki"
    wanted = rows // recipe.rows_per_step
    recipe = recipe.changed(max_steps=min(wanted, steps or wanted))
    if name == "article":  # packing is turned off by Unsloth for gpt-oss; asked for or not, a row stays a row
        recipe = recipe.changed(packing=False)
    train, validation, prompt = pairs_of(persona, 84 if name == "article" else 80)  # 5 passes over 80 rows are 400
    outcome = Session(folder, weights, recipe, L4_GIB).train(recipe, train, validation, prompt)
    left = wanted - outcome["steps"]
    return [outcome | {"wall_of_all_rows_s": outcome["train_wall_s"] + left * outcome["median_step_s"]}]


def part_t4(folder: Path, rows: int) -> list[dict[str, Any]]:
    """The t4 recipe under a T4's memory: float16, evaluation while training, rows up to 256 tokens."""
    recipe = read_recipe("t4")
    session = Session(folder, "nf4", recipe, T4_GIB)
    lengths = [160 + (96 * i) // 83 for i in range(84)]
    pairs = [pair_of_length(session.tokenizer, recipe, n, n // 3) for n in lengths]
    train, validation = pairs[4:], pairs[:4]
    return [session.train(recipe.changed(max_steps=rows // recipe.rows_per_step), train, validation, "短く")]


def part_memory(folder: Path, weights: str, name: str, scope: str) -> list[dict[str, Any]]:
    """Estimate against measured peak at the settings of one recipe and scope, two steps each."""
    recipe = read_recipe(name).changed(lora_scope=scope)
    session = Session(folder, weights, recipe, L4_GIB)
    results = []
    settings = MEMORY_SETTINGS if weights == "nf4" else MXFP4_SETTINGS
    for _, batch_size, tokens, _ in (s for s in settings if (s[0], s[3]) == (name, scope)):
        setting = recipe.changed(batch_size=batch_size, gradient_accumulation=1, max_steps=2, max_length=4096)
        setting = setting.changed(validation_pairs=False, early_stopping_patience=None, checkpoint_every=None)
        pair = pair_of_length(session.tokenizer, setting, tokens, tokens * 3 // 8)
        results.append(session.train(setting, [pair] * batch_size, [], "短く"))
        print(f"  {describe(results[-1])}", flush=True)
    return results


def part_profile(folder: Path, weights: str) -> list[dict[str, Any]]:
    """One step of the recommended recipe by what its kernels do, and how long the GPU waits for the host."""
    from transformers import TrainerCallback

    recipe = read_recipe("recommended").changed(max_steps=6)
    session = Session(folder, weights, recipe, L4_GIB)
    torch = session.torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    class OneStep(TrainerCallback):
        def on_step_begin(self, args, state, control, **_) -> None:
            if state.global_step == 4:
                self.profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
                self.profiler.__enter__()
                self.at = time.perf_counter()

        def on_step_end(self, args, state, control, **_) -> None:
            if state.global_step == 5:
                torch.cuda.synchronize()
                self.wall = time.perf_counter() - self.at
                self.profiler.__exit__(None, None, None)

    one = OneStep()
    train, validation, prompt = pairs_of("data/masaki", 80)
    outcome = session.train(recipe, train, validation, prompt, [one])
    kernels = [
        e
        for e in one.profiler.events()
        if e.device_type == DeviceType.CUDA and not getattr(e, "is_user_annotation", False)
    ]
    spans = sorted((e.time_range.start, e.time_range.end) for e in kernels)
    busy, reached = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    by_kind: dict[str, float] = {}
    for event in kernels:
        kind = next((k for k, names in KERNELS.items() if re.search(names, event.name, re.IGNORECASE)), "the rest")
        by_kind[kind] = by_kind.get(kind, 0.0) + event.time_range.elapsed_us() / 1e3
    rest: dict[str, float] = {}
    for event in kernels:
        if not any(re.search(names, event.name, re.IGNORECASE) for names in KERNELS.values()):
            rest[event.name[:70]] = rest.get(event.name[:70], 0.0) + event.time_range.elapsed_us() / 1e3
    print("  not sorted into a kind:", sorted(rest.items(), key=lambda item: -item[1])[:5])
    return [
        {
            "step_ms_unprofiled": outcome["median_step_s"] * 1e3,
            "step_ms_profiled": one.wall * 1e3,
            "gpu_busy_ms": busy / 1e3,
            "kernels": len(kernels),
            "ms_by_kind": dict(sorted(by_kind.items(), key=lambda item: -item[1])),
        }
    ]


def describe(r: dict[str, Any]) -> str:
    """One measurement as a line."""
    return (
        f"{r['recipe']:12s} {r['weights']:11s} {r['scope']:18s} "
        f"batch {r['batch']:7s} {r['precision']:9s} {r['longest_row']:5d} tokens: "
        f"{r['steps']} steps, {r['rows_seen']} rows, first {r['first_step_s']:.1f} s, "
        f"median {r['median_step_s']:.3f} s, "
        f"{r['tokens_per_s']:,.0f} tokens/s, train {r['train_wall_s']:.1f} s "
        f"({r['evaluate_s']:.1f} evaluating, {r['save_s']:.1f} saving), peak {r['peak_gib']:.2f} GiB "
        f"({r['reserved_gib']:.2f} reserved), estimated {r['estimate_gib']:.2f} ({r['estimate_off']:+.1%})"
    )


def child(arguments: list[str], out: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Run one part in a process of its own and read what it measured."""
    print(f"--- {' '.join(arguments)}", flush=True)
    command = [sys.executable, __file__, *arguments, "--out", str(out)]
    if subprocess.run(command, env=os.environ | environment).returncode:
        print("    failed: its message is above", flush=True)
        return []
    return json.loads(out.read_text())


def environment_of(recipe: str, weights: str) -> dict[str, str]:
    """A T4 multiplies float16 experts with cuBLAS, window by window; newer cards would take another path."""
    if weights.endswith("-fused"):
        return {"UNSLOTH_MXFP4_FUSED_GEMM": "1"}
    return {"UNSLOTH_GPTOSS_FP16_GEMM": "cublas"} if recipe == "t4" else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the checkpoints are")
    parser.add_argument("--rows", type=int, default=400, help="rows seen by each recipe")
    parser.add_argument("--article-steps", type=int, default=0, help="steps of the article's recipe; 0: all")
    kinds = ("", "-mxfp4", "-mxfp4-fused")
    names = [f"recommended{kind}" for kind in kinds] + ["article", "t4"]
    names += [f"memory{kind}" for kind in kinds] + ["profile", "profile-mxfp4"]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    parser.add_argument("--out", type=Path, default=repository_root() / "benchmarks/results/train_20b.json")
    parser.add_argument("--add", action="store_true", help="keep the other parts that --out holds, of the same machine")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        kind, *rest = options.part
        parts = {"recipe": part_recipe, "t4": part_t4, "memory": part_memory, "profile": part_profile}
        if kind == "recipe":
            rest += [options.rows, options.article_steps if rest[1] == "article" else 0]
        options.out.write_text(json.dumps(parts[kind](options.folder, *rest, *[options.rows] * (kind == "t4"))))
        return

    import torch

    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    results: dict[str, Any] = {"machine": machine, "rows": options.rows}
    if options.add:
        before = json.loads(options.out.read_text()) if options.out.exists() else {}
        if any(before.get(key, value) != value for key, value in results.items()):
            sys.exit(f"{options.out} is of {before['machine']}, {before['rows']} rows: choose another --out")
        results = before | results
    common = ["--folder", str(options.folder), "--rows", str(options.rows)]
    common += ["--article-steps", str(options.article_steps)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "part.json")
        for name in options.only:
            part, _, weights = name.partition("-")
            write_checkpoint(options.folder, (weights := weights or "nf4").removesuffix("-fused"))
            if part in ("recommended", "article"):
                runs = [(part, ["recipe", weights, part])]
            elif part == "memory":
                settings = MEMORY_SETTINGS if weights == "nf4" else MXFP4_SETTINGS
                groups = dict.fromkeys((s[0], s[3]) for s in settings)
                runs = [(group[0], ["memory", weights, *group]) for group in groups]
            else:
                runs = [(part, [part] if part == "t4" else [part, weights])]
            results[name] = [
                outcome
                for recipe, arguments in runs
                for outcome in child(["--part", *arguments, *common], out, environment_of(recipe, weights))
            ]
            print(
                *(describe(r) if "recipe" in r else json.dumps(r, indent=1) for r in results[name]),
                sep="\n",
                flush=True,
            )
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    summarize(machine, results)


def write_checkpoint(folder: Path, weights: str) -> None:
    """Random weights of one kind, unless they are there."""
    if not (folder / FOLDERS[weights] / "model.safetensors.index.json").exists():
        script = [sys.executable, Path(__file__).with_name("random_gpt_oss_20b.py"), folder / FOLDERS[weights]]
        subprocess.run([*script, repository_root() / "data/tiny-gpt-oss", "--weights", weights], check=True)


def summarize(machine: str, results: dict[str, Any]) -> None:
    """The article's recipe over ours, and how far the estimate of memory is off."""
    print(f"\n{machine}")
    for name in ("recommended", "recommended-mxfp4", "recommended-mxfp4-fused"):
        if results.get("article") and results.get(name):
            a, r = results["article"][0], results[name][0]
            for key in ("wall_of_all_rows_s", "first_step_s", "median_step_s", "peak_gib"):
                print(f"{key}: article {a[key]:.2f}, {name} {r[key]:.2f}: {a[key] / r[key]:.1f} times")
    for name, settings in results.items():
        if name.startswith("memory") and settings:
            worst = max(settings, key=lambda r: abs(r["estimate_off"]))
            print(f"{name}: {len(settings)} settings, the estimate is off by at most {worst['estimate_off']:+.1%}")
    from transformers import GptOssConfig

    from persona_ft.train.gpus import Card

    if "H100" in machine:
        card = Card(name="H100", memory_gib=79.2, bfloat16=True, gb_s=3350, tflops=990)
        config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
        for weights in FOLDERS:
            step = estimate_step(config, read_recipe("recommended"), 190, card, weights)
            print(f"estimated step of the recommended recipe on {weights}: {step}")


if __name__ == "__main__":
    main()
