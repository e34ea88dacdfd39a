"""The model: which one fits this machine, and what must be set before and after loading it."""

import logging
import os
import re
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.io import read_json
from persona_ft.paths import is_live, resolve

# gpt-oss-20b in the two kinds of 4 bit: as it was released, and unpacked and quantised again by Unsloth.
CHECKPOINTS = {"mxfp4": "unsloth/gpt-oss-20b", "nf4": "unsloth/gpt-oss-20b-unsloth-bnb-4bit"}
GPT_OSS_20B = (*CHECKPOINTS.values(), "openai/gpt-oss-20b")
# Unsloth reports 12.81 GB loaded and 12.98 GB at the peak for its own gpt-oss-20b notebook on a T4.
MINIMUM_GIB = 14.0
# In MXFP4 the 20B takes 12.9 GiB, and 15.4 at the peak of a step of 16 rows.
MXFP4_MINIMUM_GIB = 18.0
NAMES = {"tiny": "data/tiny-gpt-oss", **dict.fromkeys(("gpt-oss-20b", "auto"), CHECKPOINTS["mxfp4"])}

# What prepare_environment was last asked for; None before the first time.
_compiles: bool | None = None


def prepare_environment(compile: bool = False) -> None:
    """Set what must be set before ``import unsloth``, and is not: no usage reports, no noise in stored outputs.
    ``compile`` costs minutes and pays on rows of thousands of tokens. PersonaError once Unsloth runs the other way."""
    global _compiles
    if "unsloth" in sys.modules and _compiles not in (None, compile):
        reason = f"this kernel has imported Unsloth with compilation {'on' if _compiles else 'off'}, and that is fixed"
        raise PersonaError(reason, "restart the kernel and run from the top")
    _compiles = compile
    wanted = {"UNSLOTH_DISABLE_STATISTICS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    wanted |= {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    wanted["UNSLOTH_COMPILE_DISABLE"] = "0" if compile else "1"
    if not is_live():  # nobody watches: the libraries' bars are noise in a stored output
        wanted |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    # bitsandbytes looks for an optional CPU kernel that no requirement of ours installs; its default path is used.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=SyntaxWarning)


@dataclass(frozen=True)
class Machine:
    """The accelerator at hand. ``memory_gib`` is what CUDA reports as total, or the machine's RAM without a GPU."""

    name: str
    cuda: bool
    memory_gib: float
    bfloat16: bool


def this_machine() -> Machine:
    """Look at the first CUDA device, or at the RAM when there is none."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        # bf16 needs compute capability 8.0; PyTorch also says yes where it merely emulates it (T4).
        return Machine(properties.name, True, properties.total_memory / 2**30, properties.major >= 8)
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return Machine("CPU", False, ram / 2**30, True)


@dataclass(frozen=True)
class ModelChoice:
    """The model to load, a folder or a Hub name, the kind of 4 bit in it, ``"mxfp4"`` or ``"nf4"``, and why."""

    source: str
    reason: str
    tiny: bool
    weights: str = "nf4"
    weights_reason: str = ""


def choose_model(model: str, machine: Machine, weights: str = "nf4", trained: str | None = None) -> ModelChoice:
    """What to load for the parameters MODEL (``"auto"``, ``"tiny"``, ``"gpt-oss-20b"``, a folder with a config.json, or
    a Hub name ``owner/name``) and WEIGHTS: ``"mxfp4"``, ``"nf4"``, or ``"auto"``, which is what the adapter was
    ``trained`` on, if there is one, else MXFP4 where the checkpoint has it and the GPU computes in bfloat16.
    PersonaError where it is none of these, or this checkpoint or machine does not have such weights."""
    source, reason = NAMES.get(model, model), f'MODEL = "{model}"'
    if model == "auto":
        has = f"{machine.name} has {machine.memory_gib:.1f} GiB" if machine.cuda else "no CUDA GPU"
        if not machine.cuda or machine.memory_gib < MINIMUM_GIB:
            reason = f"{has}, and gpt-oss-20b needs one of {MINIMUM_GIB:.0f} GiB"
            return replace(choose_model("tiny", machine), reason=reason)
        reason = f"{has}, and gpt-oss-20b fits in {MINIMUM_GIB:.0f} in 4 bit"
    folder = resolve(source)
    if (folder / "config.json").is_file():
        tiny = folder.resolve() == resolve(NAMES["tiny"]).resolve()
        config = read_json(folder / "config.json")
        packed = (config.get("quantization_config") or {}).get("quant_method") == "mxfp4"
        kind, why = _choose_weights("auto" if tiny else weights, ["mxfp4" if packed else "nf4"], machine, trained)
        return ModelChoice(str(folder), reason, tiny, kind, why)
    looks_like_hub = source.count("/") == 1 and all(source.split("/")) and source[0] not in "./~" and "\\" not in source
    if not looks_like_hub or source.split("/")[0] in ("data", "runs"):
        remedy = 'use "auto", "tiny", "gpt-oss-20b", a folder with a config.json, or a Hub name such as "owner/name"'
        raise PersonaError(f"MODEL = {model!r} is neither a known name nor a model folder", remedy)
    both = source in GPT_OSS_20B and source != CHECKPOINTS["nf4"]
    # What another repository holds is in its config, which is not here yet; check_experts will see.
    held = [*CHECKPOINTS] if both else ["mxfp4" if weights == "mxfp4" and source != CHECKPOINTS["nf4"] else "nf4"]
    kind, why = _choose_weights(weights, held, machine, trained)
    return ModelChoice(CHECKPOINTS["nf4"] if both and kind == "nf4" else source, reason, False, kind, why)


def _choose_weights(wanted: str, held: list[str], machine: Machine, trained: str | None) -> tuple[str, str]:
    """The kind of 4 bit out of those that a checkpoint holds, and why."""
    if wanted not in ("auto", *CHECKPOINTS):
        raise PersonaError(f"WEIGHTS = {wanted!r}", 'use "auto", "mxfp4" or "nf4"')
    lack = ""
    if not (machine.cuda and machine.bfloat16):
        lack = f"MXFP4 needs a GPU that computes in bfloat16, and {machine.name} does not"
    elif machine.memory_gib < MXFP4_MINIMUM_GIB and wanted != "mxfp4":
        lack = f"{machine.name} has {machine.memory_gib:.1f} GiB, and MXFP4 wants {MXFP4_MINIMUM_GIB:.0f}"
    if wanted != "auto":
        kind, why = wanted, f'WEIGHTS = "{wanted}"'
    elif trained in held and not (trained == "mxfp4" and lack):
        return trained, "the adapter was trained on them"
    elif "mxfp4" in held and not lack:
        kind, why = "mxfp4", f"they are the released ones, and {machine.name} computes in bfloat16"
    else:
        kind, why = "nf4", lack if "mxfp4" in held else "the checkpoint has no others"
    if kind not in held or (kind == "mxfp4" and lack):
        found = lack if kind == "mxfp4" and lack else f"this checkpoint holds {held[0]} and no {kind}: {why}"
        raise PersonaError(found, 'set WEIGHTS = "auto", or MODEL = "gpt-oss-20b", which exists in both')
    if trained and trained != kind:
        why += f"; the adapter was trained on {trained}, and answers may differ by what quantising again changes"
    return kind, why


def use_split_experts(weights: str = "nf4") -> None:
    """After ``import unsloth`` and before loading: gpt-oss's experts are one Linear4bit each, as in NF4 checkpoints. On
    a GPU Unsloth does this by itself; a CPU would load random experts without it. MXFP4 stays packed."""
    if weights == "nf4":
        from unsloth_zoo.temporary_patches.gpt_oss import patch_gpt_oss_bnb4bit

        patch_gpt_oss_bnb4bit()


def check_experts(model: Model, folder: str) -> None:
    """Raise a PersonaError where the experts in memory (the first of the first and of the last layer) are not, byte by
    byte, the file's: a load that does not know a checkpoint's layout makes them random and only warns."""
    import torch
    from safetensors import safe_open

    loaded, last, same = dict(model.named_parameters()), model.config.num_hidden_layers - 1, []
    wanted = re.compile(rf"layers\.(0|{last})\.mlp\.experts\.(gate_up|down)_proj(s\.0\.weight|_blocks|)$")
    for file in Path(folder).glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            for name in filter(wanted.search, tensors.keys()):
                first = slice(None) if name.endswith(".weight") else slice(1)  # else all experts are one tensor
                here, there = loaded.get(name.removesuffix("_blocks")), tensors.get_slice(name)[first]
                same.append(here is not None and torch.equal(here.data[first].cpu(), there.to(here.dtype)))
    if len(same) != 4 or not all(same):
        reason = f"{sum(same)} of 4 expert matrices are in memory as the checkpoint has them: the others may be random"
        remedy = "restart the kernel, use the pinned versions, and a gpt-oss checkpoint in MXFP4 or in Unsloth's NF4"
        raise PersonaError(reason, remedy)


def compute_in_float32(model: Model) -> None:
    """On a CPU, let a model that was just loaded compute in 32 bit: weights stay in 4 bit, what they are unpacked to
    and what is stored in 16 bit becomes float32. Few processors multiply bfloat16 in hardware: with AVX2 a step of the
    tiny model took 10 times as long (``benchmarks/cpu_precision.py``), and its rounding depended on the processor."""
    import torch
    from bitsandbytes.nn import Linear4bit

    if model.device.type != "cpu":
        return
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.compute_dtype, layer.compute_type_is_set = torch.float32, True
            layer.weight.quant_state.dtype = torch.float32
    model.config.dtype = torch.float32


def load_model(folder: str | Path, weights: str = "nf4", length: int = 2048) -> tuple[Model, Tokenizer]:
    """A checkpoint in 4 bit and its tokenizer, loaded in the steps that notebook 01 takes one by one. ``weights`` is
    :func:`choose_model`'s kind of 4 bit, ``length`` the most tokens of a row."""
    prepare_environment()
    from unsloth import FastLanguageModel

    use_split_experts(weights)
    how = {"dtype": None, "max_seq_length": length, "load_in_4bit": weights == "nf4"}
    model, tokenizer = FastLanguageModel.from_pretrained(str(folder), **how)
    check_experts(model, str(folder))
    compute_in_float32(model)
    return model, tokenizer
