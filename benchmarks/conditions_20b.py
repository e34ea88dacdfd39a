"""Thirty questions to five conditions on gpt-oss-20b's shapes: in batches against one by one, and the peak of memory.

    python benchmarks/conditions_20b.py                     # on a CUDA GPU; about 5 minutes on an H100
    python benchmarks/conditions_20b.py --weights mxfp4     # on the released kind of weights; 2 minutes

Writes the random-weight checkpoint first where --folder lacks it. An adapter is made on the spot; what is answered is
noise, and every answer has exactly --tokens tokens, since noise never stops. One by one is timed on --alone questions
of each condition, drawn evenly, and reckoned up to all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from persona_ft.gpt_oss.load import prepare_environment
from persona_ft.paths import repository_root, resolve

prepare_environment()

from unsloth import FastLanguageModel  # before transformers, trl and peft

import torch

from persona_ft.io import write_text
from persona_ft.evaluate.conditions import SimilarPairs, condition_messages, conditions
from persona_ft.gpt_oss.harmony import FINAL, freeze_date, render_prompt
from persona_ft.train.memory import GIB
from persona_ft.gpt_oss.generate import generate_completions
from persona_ft.gpt_oss.load import load_model
from persona_ft.gpt_oss.lora import lora_targets
from persona_ft.gpt_oss.score import check_scores
from persona_ft.data.persona import read_persona
from train_20b import FOLDERS, write_checkpoint

CAP_GIB = 22.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the checkpoints are")
    parser.add_argument("--weights", choices=list(FOLDERS), default="nf4")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--alone", type=int, default=3, help="questions of each condition asked one by one")
    parser.add_argument("--first", type=int, help="only so many of the five conditions")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/conditions[_mxfp4]_20b.json")
    options = parser.parse_args()
    name = "conditions_20b" if options.weights == "nf4" else f"conditions_{options.weights}_20b"
    out = options.out or repository_root() / f"benchmarks/results/{name}.json"
    write_checkpoint(options.folder, options.weights)
    total = torch.cuda.get_device_properties(0).total_memory / GIB
    torch.cuda.set_per_process_memory_fraction(min(1.0, CAP_GIB / total))
    model, tokenizer = load_model(options.folder / FOLDERS[options.weights], options.weights)
    tokenizer.chat_template = freeze_date(tokenizer.chat_template, "2025-12-04")
    model = FastLanguageModel.get_peft_model(
        model, r=8, target_modules=lora_targets("attention", model.config.num_local_experts), lora_alpha=16
    )
    persona = read_persona(resolve("data/masaki"))
    similar, prompt = SimilarPairs(persona.train), persona.profile.system_prompt
    prompts = {
        condition: [
            render_prompt(tokenizer, condition_messages(condition, pair, prompt, similar), "low")
            for pair in persona.test
        ]
        for condition in conditions()[: options.first]
    }
    references = [f"{FINAL}{item.answer}<|return|>" for item in persona.test]
    checks = check_scores(model, tokenizer, next(iter(prompts.values()))[:4], references[:4])
    print(checks, flush=True)
    torch.cuda.reset_peak_memory_stats()

    def seconds(texts: list[str], batch_size: int) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        generate_completions(
            model, tokenizer, texts, options.tokens, batch_size, min_new_tokens=options.tokens, use_cache=True
        )
        torch.cuda.synchronize()
        return time.perf_counter() - started

    rows = []
    with model.disable_adapter():
        seconds(prompts[conditions()[0]][:2], 2)  # the first answer also loads kernels
    for condition, texts in prompts.items():
        few = texts[:: max(1, len(texts) // options.alone)][: options.alone]
        with nullcontext() if condition.tuned else model.disable_adapter():
            alone = seconds(few, 1) / len(few) * len(texts)
            batched = seconds(texts, 32)
        rows.append({"condition": condition.name, "batched_s": batched, "alone_s": alone, "alone_timed": len(few)})
        print(
            f"{condition.name:16s} batched {batched:.1f} s, one by one {alone:.1f} s: {alone / batched:.1f} times",
            flush=True,
        )
    batched, alone = (sum(row[key] for row in rows) for key in ("batched_s", "alone_s"))
    peak = torch.cuda.max_memory_allocated() / GIB
    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    n = sum(map(len, prompts.values()))
    print(
        f"{machine}, cap {CAP_GIB} GiB\n{n} answers of {options.tokens} tokens: batched {batched:.1f} s, one by one "
        f"{alone:.1f} s (from {sum(r['alone_timed'] for r in rows)} of them): {alone / batched:.1f} times; "
        f"peak {peak:.2f} GiB ({torch.cuda.max_memory_reserved() / GIB:.2f} reserved)"
    )
    result = {
        "machine": machine,
        "weights": options.weights,
        "answers": n,
        "tokens": options.tokens,
        "conditions": rows,
        "peak_gib": peak,
        "checks": checks,
    }
    write_text(out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
