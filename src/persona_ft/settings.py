"""Where am I: the repository's and the run's folders, the machine, and the model that fits it, each with its reason."""

from __future__ import annotations

import ast
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from persona_ft.errors import PersonaError

GPT_OSS_20B = "unsloth/gpt-oss-20b"
# Unsloth reports 12.81 GB loaded and 12.98 GB at the peak for its own gpt-oss-20b notebook on a T4.
MINIMUM_GIB = 14.0
DRIVE = Path("/content/drive")
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


def repository_root() -> Path:
    """The folder that holds data/ and notebooks/: the nearest one above the working folder, else the package's own.

    Raises
    ------
    PersonaError
        There is none; notebooks opened alone need the repository beside them.
    """
    package = Path(__file__).resolve()
    for folder in [Path.cwd(), *Path.cwd().parents, *package.parents]:
        if (folder / "notebooks").is_dir() and (folder / "data").is_dir():
            return folder
    raise PersonaError(
        "no folder with notebooks/ and data/ was found above the working folder",
        "clone the repository and start from inside it",
        Path.cwd(),
    )


def resolve(path: str | Path) -> Path:
    """A path as given when it is absolute, else relative to the repository, wherever a notebook was started."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else repository_root() / path


def on_drive(path: str | Path) -> Path:
    """The run's folder on Google Drive, which outlives a Colab session; the Drive is mounted, with one question.

    Raises
    ------
    PersonaError
        This is no Colab, or the Drive was not given.
    """
    try:
        from google.colab import drive  # type: ignore[import-not-found]
    except ImportError as error:
        raise PersonaError('PERSIST = "drive" needs Colab', 'set PERSIST = "": a folder here lasts anyway') from error
    if not (DRIVE / "MyDrive").is_dir():
        drive.mount(str(DRIVE))
    if not (DRIVE / "MyDrive").is_dir():
        raise PersonaError("Google Drive was not mounted", 'run the cell again and agree, or set PERSIST = ""')
    return DRIVE / "MyDrive/persona_ft" / str(path).lstrip("/")


def run_folder(path: str | Path, persist: str = "") -> Path:
    """The run's folder, made when missing.

    Parameters
    ----------
    persist : ``"drive"`` puts it on Google Drive; empty leaves it where ``path`` says.

    Raises
    ------
    PersonaError
        It cannot be made or written to, or it lies on a Google Drive that is not mounted: what were written there would
        be gone with the session.
    """
    if persist not in ("", "drive"):
        raise PersonaError(f"PERSIST = {persist!r} is not known", 'use "drive", or leave it empty')
    folder = on_drive(path) if persist else resolve(path)
    if folder.is_relative_to(DRIVE) and not (DRIVE / "MyDrive").is_dir():
        raise PersonaError(
            "Google Drive is not mounted",
            "run: from google.colab import drive; drive.mount('/content/drive'), or set RUN to another folder",
            folder,
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PersonaError(
            f"the run folder cannot be written to ({error.strerror})", "set RUN to a folder of your own", shown(folder)
        ) from error
    return folder


def shown(path: str | Path) -> str:
    """A path as notebooks print it: relative to the repository, so that nobody's home folder is in an output."""
    path = Path(path).resolve()
    root = repository_root().resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def require(run: Path, name: str, notebook: str) -> Path:
    """A file or folder that an earlier notebook wrote into the run folder.

    Raises
    ------
    PersonaError
        It is missing; the message names the notebook that makes it.
    """
    path = run / name
    if not path.exists():
        raise PersonaError(
            "this file is not there yet", f"run notebook {notebook} with the same RUN first; it writes {name}", path
        )
    return path


def is_live() -> bool:
    """Whether someone sits at this notebook: papermill and nbclient run cells with the keyboard turned off."""
    try:
        from IPython import get_ipython

        return bool(getattr(get_ipython().kernel, "_allow_stdin", False))
    except (ImportError, AttributeError):
        return False


def check_parameters() -> None:
    """Refuse a parameter that this notebook does not have: papermill itself only warns of a misspelt name, and runs on.

    Both cells are found in the kernel's own history, so that it works wherever the notebook lies.

    Raises
    ------
    PersonaError
        Names what is unknown, and what there is.
    """
    from IPython import get_ipython

    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    injected = next((cell for cell in cells if cell.startswith("# Parameters\n")), "")
    known = {name for cell in cells if "# @param" in cell for name in _assigned(cell)}
    if unknown := sorted(_assigned(injected) - known):
        remedy = f"use some of {', '.join(sorted(known))}"
        raise PersonaError(f"this notebook has no parameter called {', '.join(unknown)}", remedy)


def _assigned(source: str) -> set[str]:
    """The names that a cell's plain assignments give a value to."""
    return {
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


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
