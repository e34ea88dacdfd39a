"""The first cell's work: install what a hosted runtime lacks, and nothing that its kernel stands on.

Only Python's own library is used, and packaging, which every Jupyter kernel has: this runs before anything else is
there. Where everything is in place it installs nothing and takes a fraction of a second.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

WANTED = Path(__file__).with_name("colab.txt")
# A running kernel has these loaded, or was built against them: replacing one wants a restart, or breaks the kernel.
PROTECTED = ["torch", "torchvision", "triton", "numpy", "pandas", "pillow", "ipykernel", "ipython", "jupyter-client"]
PROTECTED += ["tornado", "traitlets", "ipywidgets", "pyzmq"]
NO_GPU = "no GPU (the tiny model runs on the CPU; on Colab: Runtime, Change runtime type)"


@dataclass(frozen=True)
class Wanted:
    """A package, the version that is installed where it is missing, and the bounds that one already there must meet."""

    name: str
    pin: str
    bounds: SpecifierSet
    group: str = ""

    def accepts(self, version: str | None) -> bool:
        """Whether a version that is there is good enough."""
        return version is not None and self.bounds.contains(version, prereleases=True)


@dataclass(frozen=True)
class Row:
    """One line of the table: what was found, what was done, and whether the kernel must be restarted for it."""

    name: str
    found: str | None
    installed: str | None
    restart: bool


class InstallError(RuntimeError):
    """A package could not be installed; the message says which and what to do."""


def read_wanted(path: Path = WANTED) -> list[Wanted]:
    """The list: ``name==pin bounds [group]`` on each line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"([\w.-]+)==(\S+) (\S+)(?: (\w+))?", line.split("#")[0].strip()):
            found.append(Wanted(match[1], match[2], SpecifierSet(match[3]), match[4] or ""))
    return found


def version_of(name: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def ready() -> None:
    """Install what is missing or too old; print what was found, what was installed, and the GPU. Safe to call twice.

    Raises
    ------
    InstallError
        pip failed, a protected package changed after all, or the kernel has an older version loaded than is installed:
        it must be restarted, and the cells below must not run before.
    """
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
    """Install what is missing or too old; what is for GPUs alone only ``with_gpu``.

    Returns
    -------
    A row for each package that was looked at.

    Raises
    ------
    InstallError
        pip failed, or a protected package changed after all.
    """
    wanted = [package for package in read_wanted() if with_gpu or package.group != "gpu"]
    if version_of("torch") is None:
        raise InstallError("there is no PyTorch here: run `make demo` once in the repository, or `pip install torch`")
    before = {package.name: version_of(package.name) for package in wanted}
    guarded = {name: version_of(name) for name in PROTECTED}
    groups = {p.group for p in wanted if not p.accepts(before[p.name])} - {"", "gpu"}
    lacking = [p for p in wanted if p.group in groups or not p.accepts(before[p.name])]
    lacking = [p for p in lacking if before[p.name] != p.pin]
    if lacking:
        print(f"installing {len(lacking)} packages …", flush=True)
        _pip([f"{package.name}=={package.pin}" for package in lacking])
    if changed := [f"{name} {old} → {version_of(name)}" for name, old in guarded.items() if version_of(name) != old]:
        raise InstallError(f"packages changed that the kernel stands on ({', '.join(changed)}): restart the runtime")
    return [Row(p.name, before[p.name], p.pin if p in lacking else None, _is_stale(p.name)) for p in wanted]


def table(rows: list[Row]) -> str:
    """The packages that were installed, beside what was there before; the rest in one line."""
    new = [row for row in rows if row.installed]
    width = max((len(row.name) for row in new), default=0)
    lines = [f"{row.name:{width}s}  {row.found or 'missing':>10s} → {row.installed}" for row in new]
    return "\n".join(
        [*lines, f"{len(rows) - len(new)} of {len(rows)} packages were there already, and stay as they were"]
    )


def advice(rows: list[Row]) -> str:
    """Whether a restart is needed, and why."""
    if again := [row.name for row in rows if row.restart]:
        return f"Restart the runtime, then run from the top: an older {', '.join(again)} is loaded in this kernel."
    return "ready: no restart is needed"


def gpu() -> str | None:
    """Name and memory of the GPU, without importing torch; None where the driver's tool is missing or finds none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, encoding="utf-8", errors="replace")
    lines = found.stdout.strip().splitlines()
    return lines[0] if found.returncode == 0 and lines else None


def _is_stale(name: str) -> bool:
    """Whether an older version is loaded than is installed: it stays in memory until the kernel restarts."""
    loaded = getattr(sys.modules.get(_module(name)), "__version__", None)
    installed = version_of(name)
    if not isinstance(loaded, str) or installed is None:
        return False
    try:
        return Version(loaded).release[:3] != Version(installed).release[:3]
    except InvalidVersion:  # what a module says of itself need not be one
        return False


def _pip(packages: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1][:300]
        raise InstallError(
            f"pip could not install what is missing: {last}\nCheck the network, then run this cell again."
        )
    importlib.invalidate_caches()


def _module(name: str) -> str:
    special = {"PyYAML": "yaml", "scikit-learn": "sklearn", "protobuf": "google.protobuf", "python-stdnum": "stdnum"}
    return special.get(name, name.replace("-", "_").lower())
