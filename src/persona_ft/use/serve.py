"""Serve a trained persona behind an OpenAI-compatible endpoint on this machine, by ``transformers serve``.

    python -m persona_ft.use.serve runs/me [--port 8000] [--device auto]

The server reads one folder, ``served/NAME`` in the run folder: links to the base's files, the adapter, and a tokenizer
whose chat template has the persona's prompt, date and effort, so that a client sends nothing but what a user says. The
model's name is that of the run folder. Nothing of Unsloth runs here, and the server is told to reach no network.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from persona_ft.errors import PersonaError
from persona_ft.paths import shown
from persona_ft.use.load import TrainedRun, command
from persona_ft.use.stock import stock_base, write_adapter, write_tokenizer


def served_folder(run: TrainedRun) -> Path:
    """Make the folder that is served anew.

    Raises
    ------
    PersonaError
        The base cannot be had, or the adapter is on experts, which stock transformers stores otherwise.
    """
    if run.training["scope"] != "attention":
        raise PersonaError("an adapter on experts fits Unsloth's layout only", "make talk, or train on attention")
    out = run.folder / "served" / run.folder.name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    base = stock_base(run)
    for file in base.glob("*"):
        if file.name == "config.json" or file.name.startswith("model"):
            (out / file.name).symlink_to(file.resolve())
    write_tokenizer(base, out, run)
    write_adapter(run, out, run.folder.name)
    return out


def serve(run: TrainedRun, port: str, device: str) -> None:
    """Become the server; nothing comes back.

    Raises
    ------
    PersonaError
        The server's packages are missing, or the folder cannot be made.
    """
    if not all(map(find_spec, ("fastapi", "uvicorn", "requests"))):
        raise PersonaError("the server's packages are missing", "run: make serve, which installs them")
    folder = served_folder(run)
    print(f"{shown(folder)} as model {folder.name!r} at http://localhost:{port}/v1; Ctrl-C ends", flush=True)
    os.chdir(folder.parent)  # so that the model's name is no path
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    arguments = ["transformers", "serve", folder.name, "--device", device, "--port", port]
    os.execv(Path(sys.executable).with_name(arguments[0]), arguments)


if __name__ == "__main__":
    command(
        __doc__,
        lambda run, given: serve(run, given.port, given.device),
        port={"default": "8000"},
        device={"default": "auto", "help": "cpu, cuda, or what is there"},
    )
