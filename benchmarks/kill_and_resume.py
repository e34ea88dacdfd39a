"""Kill notebook 03 with SIGKILL at random moments, run it again, and compare with a run that was left alone.

    python benchmarks/kill_and_resume.py --kills 10

On a CPU the adapter must come out the same to the byte and every loss the same number. Takes about 45 s a kill.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from persona_ft.run import execute

NOTEBOOK = "03_train_qlora"


def start(run: Path, epochs: int) -> subprocess.Popen:
    """Run the notebook on the tiny model in a process of its own."""
    command = [sys.executable, "-m", "persona_ft.run", "--run", str(run), "--only", NOTEBOOK]
    command += ["-p", "MODEL", "tiny", "-p", "NUM_EPOCHS", str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen) -> None:
    """SIGKILL for the process and the kernel that it started: nobody gets to tidy up."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.kill()
    psutil.wait_procs(family)
    process.wait()


def steps_written(run: Path) -> list[int]:
    """Steps of the checkpoints that are in the run folder."""
    return sorted(int(path.name.rsplit("-", 1)[1]) for path in (run / "checkpoints").glob("checkpoint-*"))


def outcome(run: Path) -> tuple[bytes, dict]:
    """The adapter's bytes and the losses by step."""
    training = json.loads((run / "training.json").read_text())
    return (run / "adapter/adapter_model.safetensors").read_bytes(), training["log"]


def data_folder(at: Path) -> Path:
    """A run folder as notebook 02 leaves it."""
    at.mkdir()
    execute(["02_build_dataset"], at, {"MODEL": "tiny"})
    return at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, equal = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        data = data_folder(Path(folder, "data"))
        alone = Path(shutil.copytree(data, Path(folder, "alone")))
        process = start(alone, options.epochs)
        while not (alone / "checkpoints").exists():
            time.sleep(0.05)
        training_started = time.monotonic()
        if process.wait():
            sys.exit(process.stderr.read())
        lasts = time.monotonic() - training_started
        wanted = outcome(alone)
        print(f"left alone: {len(wanted[1]['train'])} steps, {lasts:.0f} s from the first checkpoint folder to the end")
        for n in range(options.kills):
            run = Path(shutil.copytree(data, Path(folder, f"run-{n}")))
            process, moment = start(run, options.epochs), draw.uniform(0, lasts)
            while not (run / "checkpoints").exists():
                time.sleep(0.05)
            time.sleep(moment)
            if process.poll() is None:
                kill(process)
            written = steps_written(run)
            again = start(run, options.epochs)
            if again.wait():
                sys.exit(again.stderr.read())
            adapter, log = outcome(run)
            steps = [step for step, _ in log["train"]]
            once = steps == sorted(set(steps)) == [step for step, _ in wanted[1]["train"]]
            same = adapter == wanted[0] and log == wanted[1] and once
            equal += same
            print(
                f"kill {n + 1}: after {moment:4.1f} s, checkpoints then {written or 'none'}: "
                f"{'equal' if same else 'NOT EQUAL'}, {len(steps)} steps, each once: {once}",
                flush=True,
            )
            shutil.rmtree(run)
    print(f"{equal} of {options.kills} equal to the run that was left alone")
    sys.exit(equal < options.kills)


if __name__ == "__main__":
    main()
