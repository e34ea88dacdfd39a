"""Serve a trained persona behind an OpenAI-compatible endpoint on this machine, by ``transformers serve``.

    python -m persona_ft.use.serve runs/me [--port 8000] [--device auto]

The server reads one folder, ``served/NAME`` in the run folder: links to the base's files, the adapter, and a tokenizer
whose chat template has the persona's prompt, date and effort, so that a client sends nothing but what a user says. The
model's name is that of the run folder. Nothing of Unsloth runs here, and the server is told to reach no network.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from persona_ft.errors import PersonaError, number
from persona_ft.paths import shown
from persona_ft.use.load import TrainedRun, command
from persona_ft.use.stock import write_stock


def serve(run: TrainedRun, port: int, device: str) -> None:
    """Make the served folder anew and become the server. PersonaError where it or the server's packages are missing."""
    if not all(map(find_spec, ("fastapi", "uvicorn", "requests"))):
        raise PersonaError("the server's packages are missing", "run: make serve, which installs them")
    name = run.folder.name
    folder = run.folder / "served" / name
    for file in write_stock(run, folder, name).glob("*"):
        if file.name == "config.json" or file.name.startswith("model"):
            (folder / file.name).symlink_to(file.resolve())
    print(f"{shown(folder)} as model {name!r} at http://localhost:{port}/v1; Ctrl-C ends", flush=True)
    os.chdir(folder.parent)  # so that the model's name is no path
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    arguments = ["transformers", "serve", name, "--device", device, "--port", str(port)]
    os.execv(Path(sys.executable).with_name(arguments[0]), arguments)


if __name__ == "__main__":
    command(
        __doc__,
        lambda run, given: serve(run, given.port, given.device),
        port={"type": number(int, 1, 65535), "default": 8000},
        device={"default": "auto", "help": "cpu, cuda, or what is there"},
    )
