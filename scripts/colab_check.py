"""Does the first cell work on Colab's image? Builds an environment from the image's own versions and tries it.

    python scripts/colab_check.py                         # with this Python, versions of the current runtime
    python scripts/colab_check.py --runtime 2026.07 --python python3.12
    python scripts/colab_check.py --resolve     # both runtimes, nothing installed: are there wheels that fit?

The packages that matter are installed at the image's versions (scripts/colab/), with --torch-index from PyTorch's
index for CPUs, which saves gigabytes on Linux. Then the four standalone notebooks run there in an empty folder, on the
tiny model, in the image's own kernel. It fails if a package changed that the kernel stands on. The image's GPU is not
imitated: none is needed, and none is tried.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packaging.utils import canonicalize_name

from persona_ft.notebook.install import PROTECTED, read_wanted

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("01_inference", "02_build_dataset", "03_train_qlora", "04_compare")
# Never on a CPU: they want CUDA or belong to the image's own torch.
SKIP = ("torch", "torchvision", "triton", "torchao")


def versions(python: Path) -> dict[str, str]:
    """Installed packages, by their normalised names."""
    found = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    return {canonicalize_name(p["name"]): p["version"] for p in json.loads(found.stdout)}


def build(folder: Path, python: str, runtime: str, torch: list[str]) -> Path:
    """A virtual environment with the image's versions; its Python."""
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    inside = folder / "bin/python"
    wanted = [f"{name}=={version}" for name, version in image_of(runtime)[1].items() if name not in SKIP]
    install = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *torch], check=True)
    subprocess.run([*install, *wanted], check=True)
    return inside


def kernel_of(inside: Path, folder: Path) -> dict[str, str]:
    """The environment in which a kernel called ``colab-image`` runs on the image's Python."""
    spec = folder / "share/jupyter/kernels/colab-image"
    spec.mkdir(parents=True)
    argv = [str(inside), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "image", "language": "python"}))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"JUPYTER_PATH": str(folder / "share/jupyter")}


def megabytes(inside: Path, packages: list[str]) -> float:
    """What pip downloads for them, without dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        command = [inside, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *packages]
        subprocess.run(command, check=True, capture_output=True)
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6


def image_of(runtime: str) -> tuple[str, dict[str, str]]:
    """The runtime's Python, and its packages by their normalised names."""
    lines = (ROOT / f"scripts/colab/{runtime}.txt").read_text(encoding="utf-8").splitlines()
    python = next(line.removeprefix("# python ") for line in lines if line.startswith("# python "))
    pairs = [line.split("==") for line in lines if "==" in line]
    return python, {canonicalize_name(name): version for name, version in pairs}


def resolve(runtime: str) -> None:
    """What the first cell would download on the image with a GPU: wheels for its Python, and requirements not met."""
    from email import message_from_bytes
    from zipfile import ZipFile

    from packaging.requirements import Requirement

    python, image = image_of(runtime)
    wanted = {canonicalize_name(p.name): p for p in read_wanted()}
    lacking = {name: p for name, p in wanted.items() if not p.accepts(image.get(name, "").split("+")[0] or None)}
    there = image | {name: p.pin for name, p in lacking.items()}
    unmet: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", folder, "--python-version", python, "--implementation", "cp"]
        for tag in ("2_34", "2_28", "2_27", "2_24", "2_17", "2_5"):
            command += ["--platform", f"manylinux_{tag}_x86_64"]
        command += ["--platform", "manylinux2014_x86_64"]
        subprocess.run([*command, *(f"{p.name}=={p.pin}" for p in lacking.values())], check=True)
        wheels = sorted(Path(folder).iterdir())
        print(f"\nruntime {runtime}, Python {python}\n\n| package | image | would be | MB |\n|---|---|---|---|")
        for wheel in wheels:
            name = canonicalize_name(wheel.name.split("-")[0])
            size = wheel.stat().st_size / 1e6
            print(f"| {name} | {image.get(name, 'missing')} | {there[name]} | {size:.1f} |")
            with ZipFile(wheel) as archive:
                metadata = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                needs = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []
            for need in map(Requirement, needs):
                marker = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
                if need.marker and not need.marker.evaluate(marker):
                    continue
                version = there.get(canonicalize_name(need.name))
                if version and not need.specifier.contains(version.split("+")[0], prereleases=True):
                    unmet.append(f"{name} wants {need}, there is {version}")
    print(f"{len(wheels)} packages, {sum(image.get(n) is not None for n in lacking)} of them replaced", end="; ")
    print("requirements not met among the packages listed: " + ("; ".join(unmet) or "none"))
    if broken := sorted(set(lacking) & set(PROTECTED)):
        sys.exit(f"packages would change that the kernel stands on: {', '.join(broken)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="current", choices=("current", "2026.07"))
    parser.add_argument("--python", default=sys.executable, help="the Python to build the image's environment with")
    parser.add_argument("--torch", default="torch==2.13.0", help="the torch that stands in for the image's")
    parser.add_argument("--torch-index", default="", help="take it from this index, such as PyTorch's for CPUs")
    parser.add_argument("--resolve", action="store_true", help="look at wheels and requirements alone")
    options = parser.parse_args()
    if options.resolve:
        for runtime in ("current", "2026.07"):
            resolve(runtime)
        return
    subprocess.run([sys.executable, ROOT / "scripts/standalone.py"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "empty")
        work.mkdir()
        print(f"building the image of runtime {options.runtime} …", flush=True)
        torch = [options.torch, *(["--index-url", options.torch_index] if options.torch_index else [])]
        inside = build(Path(folder, "image"), options.python, options.runtime, torch)
        environment, before = kernel_of(inside, Path(folder)), versions(inside)
        for name in NOTEBOOKS:
            shutil.copy(ROOT / f"dist/colab/{name}.ipynb", work)
            started = time.perf_counter()
            command = [sys.executable, "-m", "papermill", f"{name}.ipynb", f"{name}.out.ipynb"]
            command += ["--kernel", "colab-image", "--no-progress-bar", "-p", "MODEL", "tiny"]
            done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} failed on the image:\n{done.stderr[-3000:]}")
            print(f"{name}  {time.perf_counter() - started:.0f} s", flush=True)
        after = versions(inside)
        changed = {n: (before.get(n), after.get(n)) for n in before | after if before.get(n) != after.get(n)}
        pins = {canonicalize_name(p.name): p for p in read_wanted()}
        new = [f"{pins[name].name}=={v}" for name, (_, v) in changed.items() if name in pins and v]
        print("\n| package | image | now |\n|---|---|---|")
        for name, (old, v) in sorted(changed.items()):
            print(f"| {name} | {old or 'missing'} | {v or 'gone'} |")
        print(f"{len(changed)} packages changed, {megabytes(inside, new):.0f} MB downloaded")
        if broken := sorted(set(changed) & set(PROTECTED)):
            sys.exit(f"packages changed that the kernel stands on: {', '.join(broken)}")


if __name__ == "__main__":
    main()
