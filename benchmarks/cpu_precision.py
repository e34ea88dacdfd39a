"""Seconds a training step and an answer take on this machine's CPU, in bfloat16 and in float32, in one run.

    python benchmarks/cpu_precision.py [--steps 3]
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/cpu_precision.py

The second line computes as a processor without AVX-512 does. A step is forward and backward over 16 rows of 150 tokens
with LoRA on attention; the answers are 30 prompts in one batch, 48 new tokens each. bfloat16 is what the checkpoint
names; float32 is what the notebooks use on a CPU.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

from persona_ft.gpt_oss.load import prepare_environment
from persona_ft.paths import resolve

prepare_environment()

from unsloth import FastLanguageModel

import torch

from persona_ft.gpt_oss.generate import generate_completions
from persona_ft.gpt_oss.load import compute_in_float32, use_split_experts
from persona_ft.gpt_oss.lora import lora_targets

QUESTION = "<|start|>user<|message|>こんにちは、今日は何をしていましたか？<|end|><|start|>assistant"


def processor() -> str:
    """The processor's name and the widest instructions that PyTorch uses on it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0] if info.exists() and names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def measure(float32: bool, n_steps: int) -> tuple[float, float, float]:
    """Seconds a step and seconds for the answers, the fastest of the steps after the first; and the loss."""
    use_split_experts()
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=str(resolve("data/tiny-gpt-oss")), dtype=None, max_seq_length=1024, load_in_4bit=True
    )
    if float32:
        compute_in_float32(model)
    model = FastLanguageModel.get_peft_model(
        model, r=8, target_modules=lora_targets("attention", model.config.num_local_experts), lora_alpha=16
    )
    rows = torch.randint(300, model.config.vocab_size - 300, (16, 150), generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(1 + n_steps):
        started = time.perf_counter()
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    generate_completions(model, tokenizer, [QUESTION] * 30, max_new_tokens=48)
    return min(seconds[1:]), time.perf_counter() - started, loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    print(processor())
    found = {name: measure(name == "float32", args.steps) for name in ("bfloat16", "float32")}
    for name, (step, answers, loss) in found.items():
        print(f"{name:9} {step:6.2f} s a step of 16 x 150 tokens, {answers:6.1f} s for 30 answers, loss {loss:.4f}")
    slow, fast = found["bfloat16"], found["float32"]
    print(f"float32 is {slow[0] / fast[0]:.1f} times as fast in training, {slow[1] / fast[1]:.1f} times in answering")


if __name__ == "__main__":
    main()
