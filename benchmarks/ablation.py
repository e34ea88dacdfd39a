"""From the article's recipe to the recommended one, a change at a time, on the tiny model: which changes matter?

    python benchmarks/ablation.py              # the ablation: table, figure and figures as data
    python benchmarks/ablation.py --add        # the article's to compare with, and conditions that are not there yet
    python benchmarks/ablation.py --sweep      # learning rate and epochs, chosen by validation loss alone

Each condition is trained with several seeds (LoRA's start, order of rows, which pairs are set aside) and asked the 30
test questions as notebook 04 asks them: persona prompt, frozen date, low effort. Writes into --out.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from persona_ft.gpt_oss.load import prepare_environment

prepare_environment()

from unsloth import FastLanguageModel  # before transformers, trl and peft

import torch
from datasets import Dataset, disable_progress_bars
from transformers import EarlyStoppingCallback, PrinterCallback
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from persona_ft.train.checkpoints import Checkpoints
from persona_ft.conversation import persona_messages
from persona_ft.io import write_text
from persona_ft.data.split import split_validation
from persona_ft.evaluate.statistics import paired_difference
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.figures.axes import BLUE, GREY, LIGHT, ORANGE, new_axes
from persona_ft.gpt_oss.harmony import FINAL, freeze_date, render_prompt
from persona_ft.gpt_oss.generate import generate_completions
from persona_ft.gpt_oss.load import load_model
from persona_ft.gpt_oss.lora import lora_in_float32, lora_targets
from persona_ft.gpt_oss.score import log_likelihoods
from persona_ft.data.persona import read_persona
from persona_ft.train.recipe import Recipe, read_recipe
from persona_ft.paths import repository_root, resolve
from persona_ft.train.rows import training_rows
from persona_ft.train.trainer import training_log, use_graded_logits

# The article trained on one day and asked on another: without a frozen date the two prompts differ.
ASKED_ON, TRAINED_ON = "2025-12-04", "2025-11-27"
EFFORT = "low"
N_VALIDATION = 8
# Cumulative: each condition has the changes of those above it.
CHANGES = (
    ("8 pairs set aside", ("validation_pairs",)),
    ("loss on the completion only", ("loss_on",)),
    ("no router loss", ("router_aux_loss_coef",)),
    ("persona prompt in training", ("system_prompt",)),
    ("frozen date, same effort", ("freeze_date", "reasoning_effort")),
    (
        "epochs, learning rate, best epoch kept",
        (
            "max_steps",
            "num_epochs",
            "learning_rate",
            "tiny_learning_rate",
            "lr_scheduler",
            "warmup_steps",
            "early_stopping_patience",
        ),
    ),
    ("16 rows at once = recommended", ("batch_size", "gradient_accumulation")),
)


def load():
    """The tiny model with fresh LoRA still to come, and its tokenizer."""
    return load_model(resolve("data/tiny-gpt-oss"), length=1024)


class Bench:
    """The persona, its test prompts, and the style classifier, which all conditions share."""

    def __init__(self, persona_folder: str) -> None:
        self.persona = read_persona(resolve(persona_folder))
        model, tokenizer = load()
        self.template = tokenizer.chat_template
        tokenizer.chat_template = freeze_date(self.template, ASKED_ON)
        self.asked = self._prompts(tokenizer, self.persona.test)
        self.references = [f"{FINAL}{item.answer}<|return|>" for item in self.persona.test]
        base_on_train = generate_completions(model, tokenizer, self._prompts(tokenizer, self.persona.train), 96)
        self.style = StyleClassifier(
            [pair.answer for pair in self.persona.train], [c.answer for c in base_on_train if c.answer]
        )
        self.base = self.scores(model, tokenizer)

    def _prompts(self, tokenizer, pairs) -> list[str]:
        prompt = self.persona.profile.system_prompt
        return [render_prompt(tokenizer, persona_messages(pair, prompt), EFFORT) for pair in pairs]

    def scores(self, model, tokenizer) -> dict[str, list[float]]:
        """Per test question: log-likelihood per token of the person's answer, and whether the answer has the style."""
        sums, lengths = log_likelihoods(model, tokenizer, self.asked, self.references)
        answers = [c.answer or "" for c in generate_completions(model, tokenizer, self.asked, 96)]
        has_style = [
            float(p > 0.5 and bool(a)) for p, a in zip(self.style.probabilities(answers), answers, strict=True)
        ]
        return {"log_likelihood": list(np.divide(sums, lengths)), "style": has_style}

    def train(self, recipe: Recipe, seed: int, evaluate: bool = True) -> dict:
        """Train one condition with one seed and score it."""
        model, tokenizer = load()
        tokenizer.chat_template = freeze_date(self.template, ASKED_ON if recipe.freeze_date else TRAINED_ON)
        model = FastLanguageModel.get_peft_model(
            model,
            r=recipe.lora_r,
            target_modules=lora_targets(recipe.lora_scope, model.config.num_local_experts),
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            bias="none",
            use_gradient_checkpointing=False,
            random_state=seed,
        )
        pairs, validation = self.persona.train, []
        if recipe.validation_pairs:
            pairs, validation = split_validation(pairs, N_VALIDATION, seed)
        prompt = self.persona.profile.system_prompt
        rows = [
            Dataset.from_list(training_rows(part, recipe, prompt, tokenizer, watched)) if part else None
            for part, watched in ((pairs, False), (validation, True))
        ]
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder, "checkpoints"), recipe.values())
            checkpoints.open(0)
            how = recipe.sft_arguments(len(pairs), model.config.hidden_size, bfloat16=True, cuda=False) | {"seed": seed}
            if (
                recipe.validation_pairs
            ):  # conditions without early stopping also keep their best epoch out of reach: the last counts
                how["save_strategy"] = "steps"
                how["save_steps"] = 10**6
            trainer = SFTTrainer(
                model=model,
                processing_class=tokenizer,
                train_dataset=rows[0],
                eval_dataset=rows[1],
                args=SFTConfig(**how, output_dir=str(checkpoints.staging)),
                callbacks=[checkpoints.callback()]
                + ([EarlyStoppingCallback(recipe.early_stopping_patience)] if recipe.early_stopping_patience else []),
            )
            trainer.remove_callback(PrinterCallback)
            lora_in_float32(model)
            if recipe.logits == "graded":
                use_graded_logits(trainer)
            checkpoints.save_adapter_alone(trainer)
            trainer.train()
            if recipe.early_stopping_patience:
                checkpoints.finish(trainer)
        log = training_log(trainer.state.log_history)
        outcome = {
            "steps": trainer.state.global_step,
            "best_step": trainer.state.best_global_step,
            "validation": log.validation,
        }
        if evaluate:
            tokenizer.chat_template = freeze_date(self.template, ASKED_ON)
            outcome |= self.scores(model, tokenizer)
        del trainer, model
        gc.collect()
        return outcome


def conditions() -> list[tuple[str, Recipe]]:
    """(name, recipe), from the article's to the recommended one, and alternatives to that."""
    article, recommended = read_recipe("article"), read_recipe("recommended")
    found, changes = [("article", article)], {}
    for name, settings in CHANGES:
        changes |= {setting: getattr(recommended, setting) for setting in settings}
        found.append((name, article.changed(**changes)))
    other = "attention" if recommended.lora_scope != "attention" else "attention+experts"
    last = found[-1][1]
    slow = last.changed(learning_rate=1e-4, num_epochs=30)
    small = read_recipe("patient")
    return [
        *found,
        ("recommended, 5 passes: as many rows as the article's", last.changed(num_epochs=5)),
        (f"recommended, LoRA on {other}", last.changed(lora_scope=other)),
        ("recommended, 1e-4 and at most 30 passes", slow),
        ("patient: 4 rows a step, 1.1e-3", small),
        ("recommended, 1e-4, the question's words graded too", slow.changed(loss_on="question+completion")),
        ("patient, the question's words graded too", small.changed(loss_on="question+completion")),
    ]


def question_means(outcomes: list[dict], score: str) -> np.ndarray:
    """Mean over seeds for each of the n questions, shape (n,)."""
    return np.mean([outcome[score] for outcome in outcomes], axis=0)


def ablation(bench: Bench, seeds: list[int], before: list[dict]) -> list[dict]:
    """Train and score the article's and every condition that ``before`` does not hold; a line for each when done."""
    known, results, first = {row["condition"]: row for row in before}, [], None
    for name, recipe in conditions():
        if first and name in known:
            results.append(known[name])
            continue
        started = time.monotonic()
        outcomes = [bench.train(recipe, seed) for seed in seeds]
        first = first or outcomes
        row = {"condition": name, "seeds": seeds, "steps": [o["steps"] for o in outcomes], "changes": recipe.values()}
        for score in ("log_likelihood", "style"):
            values = question_means(outcomes, score)
            interval = paired_difference(values, np.zeros_like(values))
            gain = paired_difference(values, question_means(first, score))
            row[score] = {
                "mean": interval.value,
                "low": interval.low,
                "high": interval.high,
                "by_seed": [float(np.mean(o[score])) for o in outcomes],
                "gain": gain.value,
                "gain_low": gain.low,
                "gain_high": gain.high,
            }
        row["seconds"] = (time.monotonic() - started) / len(seeds)
        results.append(row)
        ll, style = row["log_likelihood"], row["style"]
        print(
            f"{name:42s} log-likelihood {ll['mean']:.3f} [{ll['low']:.2f}, {ll['high']:.2f}]  "
            f"style {style['mean']:.0%}  by seed {[round(v, 2) for v in ll['by_seed']]}  {row['seconds']:.0f} s a seed",
            flush=True,
        )
    return results


def table(results: list[dict], base: dict[str, list[float]]) -> str:
    """The results as Markdown."""
    lines = [
        "| change, on top of those above | log-likelihood (nats a token) | against the article | style share | steps |",
        "|---|---|---|---|---|",
        f"| base, not trained | {np.mean(base['log_likelihood']):.2f} | | {np.mean(base['style']):.0%} | |",
    ]
    for row in results:
        ll, style = row["log_likelihood"], row["style"]
        gain = f"{ll['gain']:+.2f} [{ll['gain_low']:+.2f}, {ll['gain_high']:+.2f}]" if row is not results[0] else ""
        steps = f"{min(row['steps'])}" if len(set(row["steps"])) == 1 else f"{min(row['steps'])}-{max(row['steps'])}"
        lines.append(
            f"| {row['condition']} | {ll['mean']:.2f} [{ll['low']:.2f}, {ll['high']:.2f}] | {gain} "
            f"| {style['mean']:.0%} [{style['low']:.0%}, {style['high']:.0%}] | {steps} |"
        )
    return "\n".join(lines) + "\n"


def sweep(bench: Bench, seeds: list[int], rates: list[float], epochs: list[int]) -> list[dict]:
    """Best validation loss for each rate and number of epochs, at the recommended batch shape; no test answers."""
    results = []
    for scope in ("attention", "attention+experts"):
        for n in epochs:
            for rate in rates:
                recipe = read_recipe("recommended").changed(num_epochs=n, learning_rate=rate, lora_scope=scope)
                outcomes = [bench.train(recipe, seed, evaluate=False) for seed in seeds]
                best = [min(loss for _, loss in o["validation"]) for o in outcomes]
                results.append(
                    {"lora_scope": scope, "num_epochs": n, "learning_rate": rate, "best_validation_loss": best}
                    | {"best_step": [o["best_step"] for o in outcomes], "steps": [o["steps"] for o in outcomes]}
                )
                print(
                    f"{scope:18s} {n:2d} epochs  {rate:.1e}  best validation loss {statistics.mean(best):.3f}  "
                    f"at step {results[-1]['best_step']} of {results[-1]['steps']}",
                    flush=True,
                )
    return results


def plot_ablation(results: list[dict]):
    """Each condition's held-out log-likelihood against the article's, and its style share, with 95 % intervals.

    Grey dots are seeds.
    """
    figure, axes = new_axes(10.5, 0.9 + 0.42 * len(results), columns=2)
    article, names = results[0]["log_likelihood"]["mean"], []
    for row, result in enumerate(results):
        condition, likelihood, style = result["condition"], result["log_likelihood"], result["style"]
        names.append(condition if condition.startswith(("article", "recommended", "patient")) else f"+ {condition}")
        colour = ORANGE if "recommended" in condition or "patient" in condition else BLUE
        gains = [likelihood[key] for key in ("gain_low", "gain", "gain_high")]
        gains_by_seed = [value - article for value in likelihood["by_seed"]]
        shares = [style[key] for key in ("low", "mean", "high")]
        for ax, (low, middle, high), seeds in zip(
            axes, (gains, shares), (gains_by_seed, style["by_seed"]), strict=True
        ):
            ax.plot([low, high], [row, row], color=colour, linewidth=2)
            ax.scatter(seeds, [row] * len(seeds), color=GREY, s=12, zorder=2)
            ax.scatter(middle, row, color=colour, s=40, zorder=3)
    axes[0].axvline(0, color=GREY, linestyle=":", linewidth=1.2)
    axes[0].set_xlabel("log-likelihood against the article's (nats a token)")
    axes[1].set(xlabel="share of answers in the person's style", xlim=(-0.02, 1.02))
    for ax in axes:
        ax.set_yticks(range(len(names)), names if ax is axes[0] else [])
        ax.invert_yaxis()
        ax.grid(axis="x", color=LIGHT, linewidth=0.6)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persona", default="data/masaki")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--add", action="store_true", help="keep the conditions that --out holds, of the same seeds")
    parser.add_argument("--sweep", action="store_true", help="learning rates and epochs by validation loss instead")
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 4e-4, 8e-4, 1.6e-3])
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 8])
    parser.add_argument("--out", type=Path, default=repository_root() / "benchmarks/results")
    options = parser.parse_args()
    disable_progress_bars()
    disable_progress_bar()
    torch.manual_seed(0)
    bench = Bench(options.persona)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.sweep:
        results = sweep(bench, options.seeds, options.rates, options.epochs)
        write_text(options.out / "sweep.json", json.dumps(results, indent=1) + "\n")
        return
    there = json.loads((options.out / "ablation.json").read_text())["conditions"] if options.add else []
    results = ablation(bench, options.seeds, [row for row in there if row["seeds"] == options.seeds])
    text = table(results, bench.base)
    print("\n" + text)
    write_text(options.out / "ablation.json", json.dumps({"base": bench.base, "conditions": results}, indent=1) + "\n")
    write_text(options.out / "ablation.md", text)
    plot_ablation(results).savefig(options.out / "ablation.png", dpi=110)


if __name__ == "__main__":
    main()
