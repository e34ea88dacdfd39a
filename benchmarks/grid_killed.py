"""A grid of real cells on Ray, its driver killed three times and a worker twice, against the same grid one by one.

    python benchmarks/grid_killed.py              # 12 cells: 3 people x 2 recipes x 2 seeds; half an hour on 2 cores
    python benchmarks/grid_killed.py --cells 4    # 2 people x 2 seeds

Each cell is notebooks 02 to 04 on the tiny model, for a small persona made of one of the voices. All cells must end,
each executed to its end once, with the comparison.json of the grid that went one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from persona_ft.conversation import read_jsonl, write_jsonl
from persona_ft.paths import repository_root
from persona_ft.use.cells import cells_of, read_grid

ROOT = repository_root()
VOICES = ("ja_hina", "ja_sho", "ja_take")
N_TRAIN, N_TEST = 16, 6


def persona_of(voice: str, folder: Path) -> str:
    """A persona's folder out of a voice's first answers."""
    rows = read_jsonl(ROOT / f"data/voices/{voice}.jsonl")
    at = folder / voice
    at.mkdir()
    fields = {"name": voice, "system_prompt": f"あなたは{voice}です。いつもの調子で話してください。"}
    (at / "persona.yaml").write_text(yaml.safe_dump(fields, allow_unicode=True), encoding="utf-8")
    write_jsonl(at / "train.jsonl", rows[:N_TRAIN])
    test = [row.model_copy(update={"id": f"Q{n:02d}"}) for n, row in enumerate(rows[N_TRAIN : N_TRAIN + N_TEST], 1)]
    write_jsonl(at / "test.jsonl", test)
    return str(at)


def write_grid(folder: Path, name: str, personas: list[str], n_cells: int) -> Path:
    """The grid's file."""
    parameters = {"PERSONA": personas, "SEED": [1, 2], "MODEL": "tiny", "NUM_EPOCHS": 1, "BATCH_SIZE": 4}
    parameters |= {"MAX_NEW_TOKENS": 16, "N_VALIDATION": 2, "RECIPE": ["tiny", "patient"] if n_cells > 4 else "tiny"}
    path = folder / f"{name}.yaml"
    fields = {"parameters": parameters, "runs": str(folder / name)}
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return path


def start(grid: Path, *options: str) -> subprocess.Popen:
    """`make grid`."""
    command = [sys.executable, "-m", "persona_ft.use.grid", str(grid), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(runs: Path) -> int:
    """How many cells are done."""
    return sum(json.loads(path.read_text())["state"] == "done" for path in runs.glob("*/cell.json"))


def busy_worker(driver: int) -> psutil.Process | None:
    """A Ray worker of this driver that executes a cell."""
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if process.name().startswith("ray::") and "IDLE" not in process.name() and process.children():
                return process
        except psutil.NoSuchProcess:
            continue
    return None


def kill_and_go_on(grid: Path, runs: Path, kills: list[str], draw: random.Random, lasts: float) -> tuple[int, str]:
    """Kill the driver or a worker after a while, start again where the driver was; the last one's code and words."""
    process, begun = start(grid), time.monotonic()
    for victim in kills:
        wait = draw.uniform(0.1, 0.3) * lasts
        while time.monotonic() - begun < wait and process.poll() is None:
            time.sleep(0.2)
        if process.poll() is not None:
            break
        if victim == "driver":
            process.kill()
            process.communicate()
            process = start(grid)
        else:
            while process.poll() is None and not (worker := busy_worker(process.pid)):
                time.sleep(0.2)
            if process.poll() is None:
                worker.kill()
        print(f"{victim} killed with {ended(runs)} cells done", flush=True)
        begun = time.monotonic()
    said, _ = process.communicate()
    if process.returncode:  # what failed for good is named; the same command goes on with it
        print(f"ended with code {process.returncode}: {said[-500:]}\nthe same command again", flush=True)
        process = start(grid)
        said, _ = process.communicate()
    return process.returncode, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, choices=(4, 12), default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--undisturbed", action="store_true", help="also on Ray without a kill, for the time")
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        personas = [persona_of(voice, folder) for voice in VOICES[: 2 if options.cells == 4 else 3]]
        seconds, ends = {}, {}
        for name in ("one-by-one", *(["on-ray"] * options.undisturbed), "killed"):
            grid, runs, started = write_grid(folder, name, personas, options.cells), folder / name, time.monotonic()
            if name == "killed":
                victims = ["driver", "worker", "driver", "worker", "driver"]
                code, said = kill_and_go_on(grid, runs, victims, random.Random(options.seed), seconds["one-by-one"] / 2)
            else:
                process = start(grid, *(["--in-sequence"] * (name == "one-by-one")))
                said, code = process.communicate()[0], process.returncode
            seconds[name] = time.monotonic() - started
            if code:
                sys.exit(f"{name}: code {code}\n{said[-3000:]}")
            cells = [cell.name for cell in cells_of(read_grid(grid))]
            ends[name] = {cell: json.loads((runs / cell / "comparison.json").read_text()) for cell in cells}
            to_the_end = [(runs / cell / "cell.log").read_text().count("[3/3]") for cell in cells]
            executed = [(runs / cell / "cell.log").read_text().count("Report:") for cell in cells]
            same = sum(ends[name][cell] == ends["one-by-one"][cell] for cell in cells)
            print(
                f"{name}: {ended(runs)} of {len(cells)} cells done in {seconds[name]:.0f} s, {same} with the same "
                f"comparison.json, executed to the end {min(executed)} to {max(executed)} times, notebook 04 begun "
                f"{sum(to_the_end)} times",
                flush=True,
            )
        good = ends["killed"] == ends["one-by-one"] and set(executed) == {1}
    sys.exit(not good)


if __name__ == "__main__":
    main()
