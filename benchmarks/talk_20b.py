"""One talk on gpt-oss-20b's shapes, as `make talk` holds it: seconds to the first token, then tokens a second.

    python benchmarks/talk_20b.py                     # NF4, then MXFP4, on a CUDA GPU; 3 minutes on an H200

Each kind of weights is loaded in a process of its own under an L4's memory, with a fresh adapter over it. The talk has
--turns questions of the shipped persona; the prompt grows by a question and the person's answer at each. Answers are
noise, since the weights are random, and are cut after --tokens tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from persona_ft.gpt_oss.load import prepare_environment
from persona_ft.paths import repository_root, resolve

CAP_GIB = 22.0


def measure(folder: Path, weights: str, turns: int, tokens: int) -> dict:
    """One talk on one kind of weights."""
    prepare_environment()
    from unsloth import FastLanguageModel  # before transformers, trl and peft

    import torch
    from train_20b import FOLDERS, GIB, write_checkpoint

    from persona_ft.conversation import Message
    from persona_ft.data.persona import read_persona
    from persona_ft.gpt_oss.harmony import encode, freeze_date
    from persona_ft.gpt_oss.load import load_model
    from persona_ft.gpt_oss.lora import lora_targets
    from persona_ft.use.load import TrainedRun
    from persona_ft.use.talk import Talk

    write_checkpoint(folder, weights)
    total = torch.cuda.get_device_properties(0).total_memory / GIB
    torch.cuda.set_per_process_memory_fraction(min(1.0, CAP_GIB / total))
    started = time.perf_counter()
    model, tokenizer = load_model(folder / FOLDERS[weights], weights, 4096)
    load_seconds = time.perf_counter() - started
    tokenizer.chat_template = freeze_date(tokenizer.chat_template, "2025-12-04")
    targets = lora_targets("attention", model.config.num_local_experts)
    model = FastLanguageModel.get_peft_model(model, r=8, target_modules=targets, lora_alpha=16).eval()
    persona = read_persona(resolve("data/masaki"))
    training = {"reasoning_effort": "low", "recipe": {"system_prompt": True}, "tiny": False}
    run = TrainedRun(Path(tempfile.mkdtemp()), training, persona.profile, str(folder), weights)
    talk, rows = Talk(run, model, tokenizer), []
    for pair in persona.test[:turns]:
        question = pair.messages[0].content
        talk.received = talk.prompt_for(question)
        torch.cuda.synchronize()
        started, arrived = time.perf_counter(), []
        pieces = talk._tokens(tuned=True)
        for _ in islice(pieces, tokens):
            arrived.append(time.perf_counter() - started)
        pieces.close()
        rows.append({
            "prompt_tokens": len(encode(tokenizer, talk.received)),
            "first_token_s": arrived[0],
            "tokens": len(arrived),
            "tokens_per_s": (len(arrived) - 1) / (arrived[-1] - arrived[0]) if len(arrived) > 1 else None,
        })  # fmt: skip
        print(f"  {weights}: {rows[-1]}", flush=True)
        talk.turns += [Message(role="user", content=question), Message(role="assistant", content=pair.answer)]
    after = rows[1:] or rows  # the first answer also loads kernels
    return {
        "weights": weights,
        "load_s": load_seconds,
        "first_answer_first_token_s": rows[0]["first_token_s"],
        "first_token_s": statistics.median(row["first_token_s"] for row in after),
        "tokens_per_s": statistics.median(row["tokens_per_s"] for row in after if row["tokens_per_s"]),
        "peak_gib": torch.cuda.max_memory_allocated() / GIB,
        "turns": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the checkpoints are")
    parser.add_argument("--weights", nargs="+", default=["nf4", "mxfp4"])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--out", type=Path, default=repository_root() / "benchmarks/results/talk_20b.json")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.out.write_text(json.dumps(measure(options.folder, options.one, options.turns, options.tokens)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for weights in options.weights:
            out = Path(folder, f"{weights}.json")
            given = ["--folder", options.folder, "--turns", options.turns, "--tokens", options.tokens, "--out", out]
            subprocess.run([sys.executable, __file__, "--one", weights, *map(str, given)], check=True)
            found.append(json.loads(out.read_text()))
    import torch

    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    for one in found:
        print(
            f"{one['weights']}: first token {one['first_token_s']:.2f} s, {one['tokens_per_s']:.1f} tokens/s, "
            f"loaded in {one['load_s']:.0f} s, peak {one['peak_gib']:.2f} GiB; {machine}"
        )
    options.out.write_text(json.dumps({"machine": machine, "talks": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
