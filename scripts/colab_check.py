"""Does the first cell work on Colab's image? Builds an environment from the image's own versions and tries it.

    python scripts/colab_check.py                         # with this Python, versions of the current runtime
    python scripts/colab_check.py --runtime 2026.07 --python python3.12

The packages that matter are installed at the image's versions (scripts/colab/), torch from the CPU's index. Then the
standalone notebooks 01, 02 and 03 run there in an empty folder, on the tiny model, in the image's own kernel. It fails
if a package changed that the kernel stands on. An image of CUDA is not imitated: no GPU is needed, and none is tried.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from persona_ft.bootstrap import PROTECTED, read_wanted

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("01_inference", "02_build_dataset", "03_train_qlora")
# Never on a CPU: they want CUDA or belong to the image's own torch.
SKIP = ("torch", "torchvision", "triton", "torchao")


def versions(python: Path) -> dict[str, str]:
    """Installed packages, by their normalised names."""
    found = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    return {re.sub(r"[-_.]+", "-", p["name"]).lower(): p["version"] for p in json.loads(found.stdout)}


def build(folder: Path, python: str, runtime: str, torch: str) -> Path:
    """A virtual environment with the image's versions; its Python."""
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    inside = folder / "bin/python"
    lines = (ROOT / f"scripts/colab/{runtime}.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if "==" in line and line.split("==")[0] not in SKIP]
    install = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, torch], check=True)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="current", choices=("current", "2026.07"))
    parser.add_argument("--python", default=sys.executable, help="the Python to build the image's environment with")
    parser.add_argument("--torch", default="torch==2.13.0", help="the CPU's torch that stands in for the image's")
    options = parser.parse_args()
    subprocess.run([sys.executable, ROOT / "scripts/standalone.py"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "empty")
        work.mkdir()
        print(f"building the image of runtime {options.runtime} …", flush=True)
        inside = build(Path(folder, "image"), options.python, options.runtime, options.torch)
        environment, before = kernel_of(inside, Path(folder)), versions(inside)
        for name in NOTEBOOKS:
            shutil.copy(ROOT / f"dist/colab/{name}.ipynb", work)
            started = time.perf_counter()
            command = [
                sys.executable,
                "-m",
                "papermill",
                f"{name}.ipynb",
                f"{name}.out.ipynb",
                "--kernel",
                "colab-image",
            ]
            command += ["--no-progress-bar", "-p", "MODEL", "tiny"]
            done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} failed on the image:\n{done.stderr[-3000:]}")
            print(f"{name}  {time.perf_counter() - started:.0f} s", flush=True)
        after = versions(inside)
        changed = {name: (before.get(name), v) for name, v in after.items() if before.get(name) != v}
        pins = {re.sub(r"[-_.]+", "-", p.name).lower(): p for p in read_wanted()}
        new = [f"{pins[name].name}=={v}" for name, (_, v) in changed.items() if name in pins]
        print("\n| package | image | now |\n|---|---|---|")
        for name, (old, v) in sorted(changed.items()):
            print(f"| {name} | {old or 'missing'} | {v} |")
        print(f"{len(changed)} packages changed, {megabytes(inside, new):.0f} MB downloaded")
        if broken := sorted(set(changed) & set(PROTECTED)):
            sys.exit(f"packages changed that the kernel stands on: {', '.join(broken)}")


if __name__ == "__main__":
    main()
