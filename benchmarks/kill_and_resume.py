"""Kill notebook 03 with SIGKILL at random moments, run it again, and compare with a run that was left alone.

    python benchmarks/kill_and_resume.py --kills 10
    python benchmarks/kill_and_resume.py --kills 3 --tolerance 0.02        # on a GPU

On a CPU the adapter must come out the same to the byte and every loss the same number. A GPU adds up in another order
each time, so no two runs are equal there, killed or not: --tolerance says how far apart losses may be, in nats, and
two runs that were left alone are compared first, for a measure. Takes about 45 s a kill on 2 cores.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from safetensors.numpy import load

from persona_ft.notebook.run import execute
from persona_ft.paths import repository_root

NOTEBOOK = "03_train_qlora"


def start(run: Path, name: str, given: dict[str, object]) -> subprocess.Popen:
    """A notebook as ``make run`` executes it, in a process of its own."""
    command = [sys.executable, "-m", "persona_ft.notebook.run", "--run", str(run), "--only", name]
    command += [word for key, value in given.items() for word in ("-p", key, str(value))]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=repository_root(), **how)


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


@dataclass
class Outcome:
    """What a run ends with: the adapter's bytes, and the losses by step."""

    adapter: bytes
    log: dict[str, list[list[float]]]

    @classmethod
    def of(cls, run: Path) -> Outcome:
        """Read it from a run folder."""
        log = json.loads((run / "training.json").read_text())["log"]
        return cls((run / "adapter/adapter_model.safetensors").read_bytes(), log)

    def steps(self) -> list[int]:
        """The steps trained, in the order of the log."""
        return [step for step, _ in self.log["train"]]

    def losses(self) -> np.ndarray:
        """Training and validation losses, in nats a token."""
        return np.array([loss for part in ("train", "validation") for _, loss in self.log[part]])

    def away_from(self, other: Outcome) -> tuple[float, float]:
        """Largest difference of a loss in nats, and distance of the adapters as a share of the other's length."""
        ours, theirs = self.losses(), other.losses()
        a, b = load(self.adapter), load(other.adapter)
        square = sum(float(np.sum(np.square(b[name]))) for name in b)
        apart = sum(float(np.sum(np.square(a[name] - b[name]))) for name in b)
        return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf, (apart / square) ** 0.5


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
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--tolerance", type=float, default=0.0, help="nats; 0: every byte must be the same")
    parser.add_argument("--work", type=Path, help="an empty folder to keep the runs in; else they are removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failures = compare(options, options.work or Path(folder))
    sys.exit(failures > 0)


def compare(options: argparse.Namespace, folder: Path) -> int:
    """Kill, run again and compare; how many runs came out differently."""
    draw, failures = random.Random(options.seed), 0
    folder.mkdir(parents=True, exist_ok=True)
    data = data_folder(folder / "data")

    def run_through(run: Path) -> float:
        """Run to the end; seconds since the training started."""
        process = start(run, NOTEBOOK, {"MODEL": options.model, "NUM_EPOCHS": options.epochs})
        while not (run / "checkpoints").exists() and process.poll() is None:
            time.sleep(0.05)
        started = time.monotonic()
        if process.wait():
            sys.exit(process.stdout.read())
        return time.monotonic() - started

    lasts = run_through(shutil.copytree(data, folder / "alone"))
    wanted = Outcome.of(folder / "alone")
    print(f"left alone: {len(wanted.steps())} steps, {lasts:.0f} s from the first checkpoint folder to the end")
    if options.tolerance:
        run_through(shutil.copytree(data, folder / "alone-2"))
        loss, adapter = Outcome.of(folder / "alone-2").away_from(wanted)
        print(f"left alone again: losses up to {loss:.4f} nats apart, adapters {adapter:.2%} apart", flush=True)
    for n in range(options.kills):
        run, moment = shutil.copytree(data, folder / f"run-{n}"), draw.uniform(0, lasts)
        process = start(run, NOTEBOOK, {"MODEL": options.model, "NUM_EPOCHS": options.epochs})
        while not (run / "checkpoints").exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(moment)
        if process.poll() is None:
            kill(process)
        written = steps_written(run)
        run_through(run)
        found = Outcome.of(run)
        once = found.steps() == sorted(set(found.steps())) == wanted.steps()
        loss, adapter = found.away_from(wanted)
        same = found == wanted if not options.tolerance else loss <= options.tolerance
        failures += not (same and once)
        print(
            f"kill {n + 1}: after {moment:4.1f} s, checkpoints then {written or 'none'}: "
            f"{'equal' if found == wanted else f'losses up to {loss:.4f} nats apart, adapters {adapter:.2%}'}, "
            f"{len(found.steps())} steps, each once: {once}",
            flush=True,
        )
        if not options.work:
            shutil.rmtree(run)
    allowed = f"within {options.tolerance} nats of" if options.tolerance else "equal to"
    print(f"{options.kills - failures} of {options.kills} {allowed} the run that was left alone")
    return failures


if __name__ == "__main__":
    main()
