"""The first cell's work: install what a hosted runtime lacks, and nothing that its kernel stands on. Only Python's own
library is used, and packaging, which every Jupyter kernel has: this runs before anything else is there. Where
everything is in place it installs nothing and takes a fraction of a second."""

import importlib
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

WANTED = Path(__file__).with_name("colab.txt")
# A running kernel has these loaded, or was built against them: replacing one wants a restart, or breaks the kernel.
PROTECTED = ["torch", "torchvision", "triton", "numpy", "pandas", "pillow", "ipykernel", "ipython", "jupyter-client"]
PROTECTED += ["tornado", "traitlets", "ipywidgets", "pyzmq"]
# Packages whose module has another name.
MODULES = {"PyYAML": "yaml", "scikit-learn": "sklearn", "protobuf": "google.protobuf", "python-stdnum": "stdnum"}
AS_TEXT = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
NO_GPU = "no GPU (the tiny model runs on the CPU; on Colab: Runtime, Change runtime type)"


class Wanted(NamedTuple):
    """A package, the version that is installed where it is missing, and the bounds that one already there must meet."""

    name: str
    pin: str
    bounds: SpecifierSet
    group: str = ""

    def accepts(self, version: str | None) -> bool:
        """Whether a version that is there is good enough."""
        return version is not None and self.bounds.contains(version, prereleases=True)


class Row(NamedTuple):
    """One line of the table: what was found, what was done, and whether the kernel must be restarted for it."""

    name: str
    found: str | None
    installed: str | None
    restart: bool


class InstallError(RuntimeError):
    """A package could not be installed; the message says which and what to do."""


def read_wanted(path: Path = WANTED) -> list[Wanted]:
    """The list: ``name==pin bounds [group]`` on each line."""
    lines = [line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Wanted(*pin.split("=="), SpecifierSet(bounds), *group) for pin, bounds, *group in filter(None, lines)]


def version_of(name: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def ready() -> None:
    """Install what is missing or too old; print what was found, what was installed, and the GPU. Safe to call twice.
    InstallError where pip failed, or where the kernel must be restarted, before which the cells below must not run: a
    protected package changed after all, or an older version is loaded than is installed."""
    _forget_what_is_typed()
    card = gpu()
    rows = install_missing(with_gpu=card is not None)
    print(table(rows), f"GPU: {card}" if card else NO_GPU, sep="\n")
    if any(row.restart for row in rows):
        raise InstallError(advice(rows))
    print(advice(rows))


def _forget_what_is_typed() -> None:
    """Keep the names and words that are typed in this kernel out of IPython's history, a file that stays for ever."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.history_manager.enabled = False


def install_missing(with_gpu: bool) -> list[Row]:
    """Install what is missing or too old, what is for GPUs alone only ``with_gpu``; a row for each package."""
    wanted = [package for package in read_wanted() if with_gpu or package.group != "gpu"]
    if version_of("torch") is None:
        raise InstallError("there is no PyTorch here: run `make demo` once in the repository, or `pip install torch`")
    before = {name: version_of(name) for name in [*PROTECTED, *(package.name for package in wanted)]}
    groups = {p.group for p in wanted if not p.accepts(before[p.name])} - {"", "gpu"}
    lacking = [p for p in wanted if p.group in groups or not p.accepts(before[p.name])]
    lacking = [p for p in lacking if before[p.name] != p.pin]
    if lacking:
        print(f"installing {len(lacking)} packages …", flush=True)
        _pip([f"{package.name}=={package.pin}" for package in lacking])
    changed = [f"{n} {before[n]} → {version_of(n)}" for n in PROTECTED if version_of(n) != before[n]]
    if changed:
        raise InstallError(f"packages changed that the kernel stands on ({', '.join(changed)}): restart the runtime")
    return [Row(p.name, before[p.name], p.pin if p in lacking else None, _is_stale(p.name)) for p in wanted]


def table(rows: list[Row]) -> str:
    """The packages that were installed, beside what was there before; the rest in one line."""
    new = [row for row in rows if row.installed]
    width = max((len(row.name) for row in new), default=0)
    lines = [f"{row.name:{width}s}  {row.found or 'missing':>10s} → {row.installed}" for row in new]
    lines += [f"{len(rows) - len(new)} of {len(rows)} packages were there already, and stay as they were"]
    return "\n".join(lines)


def advice(rows: list[Row]) -> str:
    """Whether a restart is needed, and why."""
    if again := [row.name for row in rows if row.restart]:
        return f"Restart the runtime, then run from the top: an older {', '.join(again)} is loaded in this kernel."
    return "ready: no restart is needed"


def gpu() -> str | None:
    """Name and memory of the GPU, without importing torch; None where the driver's tool is missing or finds none."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return None
    found = subprocess.run([tool, "--query-gpu=name,memory.total", "--format=csv,noheader"], **AS_TEXT)
    return next(iter(found.stdout.strip().splitlines()), None) if found.returncode == 0 else None


def _is_stale(name: str) -> bool:
    """Whether an older version is loaded than is installed: it stays in memory until the kernel restarts."""
    module = MODULES.get(name, name.replace("-", "_").lower())
    loaded, installed = getattr(sys.modules.get(module), "__version__", None), version_of(name)
    if not isinstance(loaded, str) or installed is None:
        return False
    try:
        return Version(loaded).release[:3] != Version(installed).release[:3]
    except InvalidVersion:  # what a module says of itself need not be one
        return False


def _pip(packages: list[str]) -> None:
    how = ["install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([sys.executable, "-m", "pip", *how, *packages], **AS_TEXT)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1][:300]
        what = f"pip could not install what is missing: {last}"
        raise InstallError(f"{what}\nCheck the network, then run this cell again.")
    importlib.invalidate_caches()
