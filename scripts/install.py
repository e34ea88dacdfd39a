"""Install the stack of requirements.txt into this Python, section by section.

    python scripts/install.py [--torch-index URL]
    python scripts/install.py --only grid   # a section more, into a Python that has the rest

GPU packages are installed where an NVIDIA driver answers. A torch that is there already is kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOG = Path(sys.prefix) / "install.log"


def sections(text: str) -> dict[str, list[str]]:
    """requirements.txt's lines by the `# [name]` line above them."""
    found: dict[str, list[str]] = {}
    lines = found.setdefault("", [])
    for line in text.splitlines():
        if header := re.fullmatch(r"# \[([\w-]+)\]", line.strip()):
            lines = found.setdefault(header[1], [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line.strip())
    return found


def pip(title: str, *arguments: str) -> None:
    """Install, with one line on the terminal; what pip says goes to a log beside the packages."""
    print(f"installing {title} … ", end="", flush=True)
    started = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        *arguments,
    ]
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        failed = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    if failed:
        last = "\n".join(LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        sys.exit(
            f"failed\n{last}\n\npip could not install {title}. Check network and disk, then run the command again."
        )
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def has_nvidia_gpu() -> bool:
    """Whether the driver's own tool is there and finds a card."""
    tool = shutil.which("nvidia-smi")
    return bool(tool) and subprocess.run([tool, "-L"], capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        choices=("grid", "site", "test", "use"),
        help="install one section more, into a Python that has the rest",
    )
    parser.add_argument("--torch-index", default="", help="take torch from this package index")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036  the file must still say so when an older Python runs it
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]} ({sys.executable})")

    wanted = sections((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    if options.only:
        what = "talk-web, serve or export TO=gguf" if options.only == "use" else options.only
        pip(f"what `make {what}` needs", *wanted[options.only])
        return
    gpu = has_nvidia_gpu()
    print(f"NVIDIA GPU: {'found' if gpu else 'none, so without the GPU packages'}; pip's own words: {LOG}", flush=True)
    index = ["--index-url", options.torch_index] if options.torch_index else []
    if importlib.util.find_spec("torch") is None:
        pip(f"{wanted['torch'][0]}, the largest part", *index, *wanted["torch"])
    rest = wanted["base"] + (wanted["gpu"] if gpu else [])
    with tempfile.TemporaryDirectory() as folder:
        # Whatever asks for torch must be content with the one that is there.
        torch = subprocess.run(
            [sys.executable, "-c", "from importlib.metadata import version; print(version('torch'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        constraint = Path(folder, "constraints.txt")
        constraint.write_text(f"torch=={torch}\n")
        pip(f"{len(rest)} packages of the stack", "--constraint", str(constraint), *rest)
    pip("unsloth", "--no-deps", *wanted["no-deps"])
    pip("persona_ft", "--no-deps", "--editable", str(ROOT))
    print("done: everything is in .venv", flush=True)


if __name__ == "__main__":
    main()
