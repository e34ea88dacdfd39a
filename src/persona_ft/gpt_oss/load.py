"""The model: which one fits this machine, and what must be set before and after loading it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_ft.errors import PersonaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel
from persona_ft.paths import is_live, resolve

GPT_OSS_20B = "unsloth/gpt-oss-20b"


# Unsloth reports 12.81 GB loaded and 12.98 GB at the peak for its own gpt-oss-20b notebook on a T4.
MINIMUM_GIB = 14.0


# What prepare_environment was last asked for; None before the first time.
_compiles: bool | None = None


NAMES = {"tiny": "data/tiny-gpt-oss", "gpt-oss-20b": GPT_OSS_20B}


def prepare_environment(compile: bool = False) -> None:
    """Set what must be set before ``import unsloth``: no usage reports, no noise in stored outputs, and compilation.

    Values that are already set stay.

    Parameters
    ----------
    compile : let Unsloth compile the model. It costs minutes at the first step and wins nothing on rows of a few
        hundred tokens; rows of thousands of tokens want it.

    Raises
    ------
    PersonaError
        Unsloth has been imported already, in this kernel, with the other choice.
    """
    global _compiles
    if "unsloth" in sys.modules and _compiles not in (None, compile):
        raise PersonaError(
            f"this kernel has imported Unsloth with compilation {'on' if _compiles else 'off'}, and that is fixed",
            "restart the kernel and run from the top",
        )
    _compiles = compile
    for name, value in {
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "UNSLOTH_COMPILE_DISABLE": "0" if compile else "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }.items():
        os.environ.setdefault(name, value)
    if not is_live():  # nobody watches: in a stored output the libraries' bars are noise
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers follows it
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
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
    """The model to load: ``source`` is a folder or a Hub name, ``reason`` says why it was chosen."""

    source: str
    reason: str
    tiny: bool


def choose_model(model: str, machine: Machine) -> ModelChoice:
    """Turn the MODEL parameter into what to load.

    Parameters
    ----------
    model : ``"auto"``, ``"tiny"``, ``"gpt-oss-20b"``, a folder with a config.json, or a Hub name ``owner/name``.
    machine : where it will run.

    Raises
    ------
    PersonaError
        None of these.
    """
    if model == "auto":
        if machine.cuda and machine.memory_gib >= MINIMUM_GIB:
            found = f"{machine.name} has {machine.memory_gib:.1f} GiB, at least {MINIMUM_GIB:.0f}"
            return ModelChoice(GPT_OSS_20B, f"{found}: gpt-oss-20b fits in 4 bit", tiny=False)
        lack = f"{machine.name} has {machine.memory_gib:.1f} GiB" if machine.cuda else "there is no CUDA GPU"
        tiny = str(resolve(NAMES["tiny"]))
        return ModelChoice(tiny, f"{lack}, gpt-oss-20b wants {MINIMUM_GIB:.0f} GiB on one: tiny-gpt-oss", tiny=True)
    source = NAMES.get(model, model)
    folder = resolve(source)
    if (folder / "config.json").is_file():
        return ModelChoice(str(folder), f'MODEL = "{model}"', tiny=folder.resolve() == resolve(NAMES["tiny"]).resolve())
    looks_like_hub = source.count("/") == 1 and all(source.split("/")) and source[0] not in "./~" and "\\" not in source
    if not looks_like_hub or source.split("/")[0] in ("data", "runs"):
        remedy = 'use "auto", "tiny", "gpt-oss-20b", a folder with a config.json, or a Hub name such as "owner/name"'
        raise PersonaError(f"MODEL = {model!r} is neither a known name nor a model folder", remedy)
    return ModelChoice(source, f'MODEL = "{model}"', tiny=False)


def use_split_experts() -> None:
    """Load gpt-oss's experts as one Linear4bit each, as the pre-quantised checkpoints store them.

    On a GPU Unsloth does this by itself; its CPU backend leaves it to the caller. Call it after ``import unsloth`` and
    before ``from_pretrained``: without it the CPU would load the experts with random weights.
    """
    from unsloth_zoo.temporary_patches.gpt_oss import patch_gpt_oss_bnb4bit

    patch_gpt_oss_bnb4bit()


def compute_in_float32(model: PreTrainedModel) -> None:
    """On a CPU, let a loaded model compute in 32 bit; on a GPU nothing changes. Call it right after loading.

    The checkpoints name bfloat16, which few processors multiply in hardware: with AVX2 a training step of the tiny
    model took 10 times as long in it (``benchmarks/cpu_precision.py``), and its rounding depended on the processor. The
    weights stay in 4 bit; what they are unpacked to, and what is stored in 16 bit, becomes float32.
    """
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
