"""Packed MXFP4 experts against the same weights unpacked: logits, loss and LoRA's gradients, on gpt-oss-20b's shapes.

    python benchmarks/mxfp4_correct.py            # a CUDA GPU with 24 GiB or more; about 2 minutes on an H100

Two layers with random weights are enough: one with a sliding window, one without. The reference is transformers' own
code on weights that `decoded` unpacks, once in float32, which is taken for the truth, and once in bfloat16, which
shows what rounding does. Unsloth on the packed weights may be as far from the truth as the latter, and no farther;
"unpacked" decodes a layer at a time, "fused" decodes inside the product. Each runs in a process of its own.

Random routers sit on the fence, and where rounding tips one, everything after it differs. So every run sends each token
to the experts that the float32 run chose; how much each expert counts is computed anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from persona_ft.io import write_text
from persona_ft.paths import repository_root

REFERENCES = ("float32", "bfloat16")
WAYS = {"unpacked": "dequant", "fused": "1"}  # what UNSLOTH_MXFP4_FUSED_GEMM is set to
# Rows by their lengths; shorter ones are padded on the right, as in training.
BATCHES = {
    "one short row": [48],
    "16 rows of 190": [190] * 16,
    "8 rows of 40 to 250, padded": [40, 70, 100, 130, 160, 190, 220, 250],
    "2 rows of 1,024": [1024] * 2,
}
# An error up to this many times what bfloat16 makes of it counts as rounding.
ROUNDING = 1.5


def batch_of(lengths: list[int]) -> dict[str, Any]:
    """Random tokens; the last third of a row is in the loss."""
    import torch

    generator = torch.Generator().manual_seed(sum(lengths))
    longest = max(lengths)
    ids = torch.randint(0, 199_000, (len(lengths), longest), generator=generator)
    mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    graded = mask & (torch.arange(longest)[None] >= torch.tensor(lengths)[:, None] * 2 // 3)
    return {"input_ids": ids.cuda(), "attention_mask": mask.long().cuda(), "graded": graded.cuda()}


def decoded(blocks: Any, scales: Any) -> Any:
    """The weights of a released checkpoint, in bfloat16, which holds each of them exactly.

    Parameters
    ----------
    blocks : uint8, shape (..., rows, n, 16): two codes a byte, the low half first.
    scales : uint8, shape (..., rows, n): the exponent of each block's factor, plus 127.

    Returns
    -------
    Shape (..., rows, 32 n).
    """
    import torch

    from persona_ft.gpt_oss.mxfp4 import LEVELS

    levels = torch.tensor(LEVELS, device=blocks.device)
    codes = torch.stack((blocks & 15, blocks >> 4), dim=-1).flatten(-2)
    values = levels[codes.int()] * torch.exp2(scales.float() - 127)[..., None]
    return values.flatten(-2).bfloat16()


def reference_model(folder: Path, dtype: Any):
    """transformers' model with the experts unpacked, attention and experts computed by its plain code."""
    import torch
    from safetensors.torch import load_file
    from transformers import GptOssConfig, GptOssForCausalLM

    fields = json.loads((folder / "config.json").read_text())
    config = GptOssConfig(**{key: value for key, value in fields.items() if key != "quantization_config"})
    config._attn_implementation, config._experts_implementation = "eager", "eager"
    with torch.device("cuda"):
        model = GptOssForCausalLM(config).to(dtype)
    state = {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
    for name in [name for name in state if name.endswith("_blocks")]:
        scales = state.pop(name.replace("_blocks", "_scales")).cuda()
        state[name.removesuffix("_blocks")] = decoded(state.pop(name).cuda(), scales).transpose(1, 2)
    missing = model.load_state_dict(state)
    assert not missing.missing_keys and not missing.unexpected_keys
    return model


def packed_model(folder: Path):
    """What the notebooks load."""
    from persona_ft.gpt_oss.load import load_model

    return load_model(folder, "mxfp4")[0]


class Routes:
    """Which experts each token visits, by batch and layer: noted by the first run, followed by the others."""

    def __init__(self, model: Any, file: Path) -> None:
        import torch

        self.noted = torch.load(file) if file.exists() else None
        self.found: dict[tuple[str, int], Any] = {}
        self.batch, self.calls, self.file = "", 0, file
        routers = [module for module in model.modules() if "Router" in type(module).__name__]
        for layer, router in enumerate(routers):
            router.forward = self._follow(router.forward, layer)

    def _follow(self, forward: Any, layer: int) -> Any:
        def route(hidden: Any) -> Any:
            self.calls += 1
            logits, scores, chosen = forward(hidden)
            if self.noted is None:
                self.found[self.batch, layer] = chosen.cpu()
                return logits, scores, chosen
            chosen = self.noted[self.batch, layer].to(chosen.device)
            return logits, logits.gather(-1, chosen).softmax(-1).to(scores.dtype), chosen

        return route

    def save(self) -> None:
        """Keep what was noted; the routers must have been asked."""
        import torch

        assert self.calls >= 2 * len(BATCHES), f"the routers were asked {self.calls} times"
        if self.noted is None:
            torch.save(self.found, self.file)


def measure(folder: Path, way: str, out: Path) -> None:
    """Logits of the graded positions, the loss, and LoRA's gradients, for each batch; written to ``out``."""
    os.environ["UNSLOTH_RETURN_LOGITS"] = "1"
    if way in WAYS:
        os.environ["UNSLOTH_MXFP4_FUSED_GEMM"] = WAYS[way]
        model = packed_model(folder)
    else:
        import torch

        model = reference_model(folder, getattr(torch, way))
    import torch
    from peft import LoraConfig, get_peft_model

    if way in WAYS:
        from unsloth import FastLanguageModel

        targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
        how = {"r": 8, "lora_alpha": 16, "target_modules": targets, "use_gradient_checkpointing": "unsloth"}
        model = FastLanguageModel.get_peft_model(model, **how)
    else:
        targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    trained = {name: p for name, p in sorted(model.named_parameters()) if p.requires_grad}
    generator = torch.Generator().manual_seed(1)
    for p in trained.values():  # B too: at zero it would hide A's gradient
        p.data = (torch.randn(p.shape, generator=generator) * 0.02).cuda().float()
    model.train()
    routes = Routes(model, out.with_name("routes.pt"))
    found: dict[str, Any] = {}
    for name, lengths in BATCHES.items():
        routes.batch, batch = name, batch_of(lengths)
        torch.cuda.reset_peak_memory_stats()
        graded = batch.pop("graded")
        with torch.autocast("cuda", torch.bfloat16, enabled=way != "float32"):
            logits = model(**batch, use_cache=False, output_router_logits=False).logits
        kept, targets = logits[:, :-1][graded[:, 1:]].float(), batch["input_ids"][:, 1:][graded[:, 1:]]
        loss = torch.nn.functional.cross_entropy(kept, targets)
        loss.backward()
        gradients = torch.cat([p.grad.flatten().float() for p in trained.values()])
        model.zero_grad()
        # Every 97th word of the vocabulary: enough, and small.
        found[name] = {"logits": kept.detach()[:, ::97].cpu(), "loss": loss.item(), "gradients": gradients.cpu()}
        found[name]["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        print(f"  {way}: {name}: loss {loss.item():.5f}, peak {found[name]['peak_gib']:.2f} GiB", flush=True)
        del logits, kept, loss
    routes.save()
    found["names"] = list(trained)
    torch.save(found, out)


def compare(found: dict[str, Any]) -> list[dict[str, Any]]:
    """How far each way is from the truth, for each batch."""
    rows = []
    for name in BATCHES:
        truth = found["float32"][name]
        for way, outcome in found.items():
            if way == "float32":
                continue
            row = {"batch": name, "way": way, "loss": outcome[name]["loss"], "loss_true": truth["loss"]}
            row["peak_gib"] = outcome[name]["peak_gib"]
            for what in ("logits", "gradients"):
                off = outcome[name][what] - truth[what]
                row[f"{what}_off"] = (off.norm() / truth[what].norm()).item()
            rows.append(row)
    for row in rows:
        rounding = next(r for r in rows if (r["batch"], r["way"]) == (row["batch"], "bfloat16"))
        row["as_rounding"] = all(row[k] <= ROUNDING * rounding[k] for k in ("logits_off", "gradients_off"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "gpt-oss-two-layers"))
    parser.add_argument("--out", type=Path, default=repository_root() / "benchmarks/results/mxfp4_correct_20b.json")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.folder, options.measure[0], Path(options.measure[1]))
        return
    if not (options.folder / "config.json").exists():
        script = [sys.executable, Path(__file__).with_name("random_gpt_oss_20b.py"), options.folder]
        how = ["--weights", "mxfp4", "--layers", "2"]
        subprocess.run([*script, repository_root() / "data/tiny-gpt-oss", *how], check=True)
    import torch

    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        running = {}
        for way in (*REFERENCES, *WAYS):
            out = Path(scratch, f"{way}.pt")
            command = [sys.executable, __file__, "--folder", str(options.folder), "--measure", way, str(out)]
            running[way] = (subprocess.Popen(command), out)
            if way == REFERENCES[0]:
                running[way][0].wait()
        for way, (process, out) in running.items():
            if process.wait():
                sys.exit(f"{way} failed: its message is above")
            found[way] = torch.load(out)
    names = {way: [n.removeprefix("base_model.model.") for n in f.pop("names")] for way, f in found.items()}
    assert len(set(map(tuple, names.values()))) == 1, "the gradients are not of the same parameters"
    rows = compare(found)
    for row in rows:
        print(
            f"{row['batch']:28s} {row['way']:9s} loss {row['loss']:.4f} (true {row['loss_true']:.4f}), off by: logits "
            f"{row['logits_off']:.2%}, gradients {row['gradients_off']:.2%}{'' if row['as_rounding'] else '  MORE'}"
        )
    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    write_text(options.out, json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    if not all(row["as_rounding"] for row in rows):
        sys.exit("packed experts are off by more than rounding")


if __name__ == "__main__":
    main()
