"""A grid of cells on gpt-oss-20b's shapes, on one GPU and then on two: wall time, which GPU each process had, peaks.

    python benchmarks/grid_20b.py                  # 4 cells: 2 seeds x 2 recipes, notebooks 02 and 03; needs Ray

Random weights in the published layout. Which process computes on which GPU is read from nvidia-smi while they run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml
from train_20b import FOLDERS, write_checkpoint

from persona_ft.paths import repository_root
from persona_ft.use.cells import cells_of, read_cell, read_grid


class Watch(threading.Thread):
    """Which processes compute on which GPU, and the most memory of each GPU, looked at every two seconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, set[str]] = {}
        self.most: dict[str, int] = {}
        self.two_at_once, self.over = 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(2):
            rows = _ask("--query-compute-apps=pid,gpu_uuid,used_memory")
            for pid, gpu, _ in rows:
                self.seen.setdefault(int(pid), set()).add(gpu)
            for gpu, used in _ask("--query-gpu=uuid,memory.used"):
                self.most[gpu] = max(self.most.get(gpu, 0), int(used))
            self.two_at_once += len({gpu for _, gpu, _ in rows}) > 1


def _ask(query: str) -> list[list[str]]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return [line.split(", ") for line in said.splitlines() if line]


def run_grid(folder: Path, n_gpus: int, parameters: dict, notebooks: list[str]) -> dict:
    """The whole grid on the first ``n_gpus`` GPUs."""
    path = folder / f"on-{n_gpus}.yaml"
    fields = {"parameters": parameters, "notebooks": notebooks, "runs": str(folder / f"on-{n_gpus}"), "gpus": 1}
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    visible = ",".join(map(str, range(n_gpus)))
    watch, started = Watch(), time.perf_counter()
    watch.start()
    command = [sys.executable, "-m", "persona_ft.use.grid", str(path)]
    code = subprocess.run(command, cwd=repository_root(), env=os.environ | {"CUDA_VISIBLE_DEVICES": visible}).returncode
    seconds = time.perf_counter() - started
    watch.over.set()
    cells = [read_cell(folder / f"on-{n_gpus}" / cell.name) for cell in cells_of(read_grid(path))]
    trained = []
    for cell in filter(None, cells):
        record = folder / f"on-{n_gpus}" / cell.name / "training.json"
        known = json.loads(record.read_text()) if record.exists() else {}
        trained.append({"cell": cell.name, "state": cell.state, "tries": cell.tries, "seconds": cell.seconds})
        trained[-1] |= {"peak_gib": known.get("peak_gib"), "trained_s": known.get("seconds")}
    return {
        "gpus": n_gpus,
        "code": code,
        "seconds": seconds,
        "cells": trained,
        "gpus_per_process": sorted(len(gpus) for gpus in watch.seen.values()),
        "looks_with_both_busy": watch.two_at_once,
        "most_mib": list(watch.most.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the checkpoints are")
    parser.add_argument("--weights", choices=list(FOLDERS), default="mxfp4")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--notebooks", nargs="+", default=["02_build_dataset", "03_train_qlora"])
    parser.add_argument("--out", type=Path, default=repository_root() / "benchmarks/results/grid_20b.json")
    options = parser.parse_args()
    write_checkpoint(options.folder, options.weights)
    parameters = {"MODEL": str(options.folder / FOLDERS[options.weights]), "NUM_EPOCHS": options.epochs}
    parameters |= {"SEED": [1, 2], "RECIPE": ["recommended", "patient"], "PROFILE": "L4"}
    with tempfile.TemporaryDirectory() as folder:
        found = [run_grid(Path(folder), n, parameters, options.notebooks) for n in options.gpus]
        for one in found:
            print(json.dumps(one), flush=True)
            for log in Path(folder, f"on-{one['gpus']}").glob("*/cell.log"):
                if one["code"]:
                    print(log.parent.name, log.read_text(errors="replace")[-1500:], sep="\n", flush=True)
    if len(found) > 1:
        one, two = (each["seconds"] for each in (found[0], found[-1]))
        n = len(found[0]["cells"])
        print(f"{n} cells: {one:.0f} s on one GPU, {two:.0f} s on {found[-1]['gpus']}: {one / two:.2f} times as fast")
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
