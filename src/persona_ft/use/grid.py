"""Many runs from one file, each as `make run` makes it, several at once on Ray: python -m persona_ft.use.grid FILE"""

import argparse
import importlib.util
import os
import re
import runpy
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from persona_ft.errors import PersonaError, as_command
from persona_ft.io import move_aside, read_json
from persona_ft.paths import one_writer, resolve, run_folder, shown
from persona_ft.report.grid import write_grid_report
from persona_ft.use.cells import Cell, Grid, cells_of, read_cell, read_grid

LOG, ORDER = "cell.log", ("running", "failed", "waiting", "done", "kept")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
# How often Ray starts a cell again whose process or machine died; notebooks that fail are counted by `retries`.
LOST_WORKERS = 10
NO_RAY = "Ray is not installed, so cells run one after another. For several at once: scripts/install.py --only grid"


def run_cell(cell: Cell, grid: Grid, runs: Path) -> Cell:
    """Execute a cell's notebooks in a process of its own, again as often as the grid asks; its words go to cell.log."""
    cell = read_cell(runs / cell.name) or cell  # Ray may have started it before, on a machine that died
    for left in range(grid.retries, -1, -1):
        started = time.monotonic()
        cell = cell.written(runs, state="running", tries=cell.tries + 1, error="")
        error, said = _execute(cell, grid, runs / cell.name)
        seconds = round(cell.seconds + time.monotonic() - started, 3)
        cell = cell.written(runs, state="failed" if error else "done", error=error, seconds=seconds)
        if not error:
            break
        if left and (smaller := smaller_setting_in(said)) and smaller != cell.smaller:
            cell = cell.written(runs, smaller=smaller)
            if (checkpoints := runs / cell.name / "checkpoints").exists():  # of the larger setting: another training's
                move_aside(checkpoints, f"of-try-{cell.tries}")
    return cell


def _execute(cell: Cell, grid: Grid, folder: Path) -> tuple[str, str]:
    """What went wrong, empty if nothing did, and all that was said."""
    command = [sys.executable, "-m", "persona_ft.use.grid", "--cell", "--run", str(folder)]
    command += ["--notebooks", grid.folder, "--only", *grid.notebooks]
    command += [word for name, value in (cell.given | cell.smaller).items() for word in ("-p", name, str(value))]
    environment = os.environ | dict.fromkeys(THREADS, str(grid.cpus))
    with open(folder / LOG, "ab", opener=partial(os.open, mode=0o600)) as log:
        start = log.tell()
        # Nothing is written to the pipe: that it closes tells the process that whoever started it is gone.
        code = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment).wait()
    said = (folder / LOG).read_bytes()[start:].decode("utf-8", "replace")
    found = re.findall(r"^\S+\.ipynb, cell \d+: .*$", said, re.M)
    found = found or [line for line in said.splitlines() if line and not line.startswith("  What to do")]
    return ((found or [f"it ended with code {code} and said nothing"])[-1] if code else ""), said


def smaller_setting_in(said: str) -> dict[str, Any]:
    """The parameters that :func:`persona_ft.train.memory.smaller_setting` named when memory did not suffice."""
    found = re.findall(r"set (BATCH_SIZE = .*?): about [\d.]+ GiB", said)
    return {n: yaml.safe_load(v) for n, v in (pair.split(" = ") for pair in found[-1].split(", "))} if found else {}


def _follow(arguments: list[str]) -> None:
    """Be `make run` for as long as the process that started this one lives: a killed grid leaves nothing running."""
    threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()  # its kernel notices likewise
    sys.argv[1:] = arguments
    runpy.run_module("persona_ft.notebook.run", run_name="__main__", alter_sys=True)


def on_ray(work: Callable[[Cell], Cell], grid: Grid) -> Callable[[Cell], futures.Future]:
    """What starts a cell on this machine's GPUs or cores, or on those of the cluster that RAY_ADDRESS names.
    PersonaError where Ray does not start, or no cluster answers at that address."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    import ray

    address = os.environ.get("RAY_ADDRESS") or "local"  # never a cluster that happens to be here, or was once
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    except Exception as error:  # ConnectionError for a cluster; a plain one where a busy machine did not start in time
        remedy = "see that the cluster runs, try again when this machine is less busy, or go without: --in-sequence"
        raise PersonaError(f"Ray did not start or answer ({str(error)[:200]})", remedy, address) from error
    there = ray.cluster_resources()
    gpus = min(1, there.get("GPU", 0)) if grid.gpus is None else grid.gpus
    has = f"{there.get('GPU', 0):g} GPUs and {there.get('CPU', 0):g} cores"
    print(f"Ray has {has}; a cell takes {gpus:g} and {grid.cpus}", context.dashboard_url or "", flush=True)
    task = ray.remote(num_gpus=gpus, num_cpus=grid.cpus, max_retries=LOST_WORKERS)(lambda cell: work(cell))
    return lambda cell: task.remote(cell).future()


def run_cells(cells: list[Cell], start: Callable[[Cell], futures.Future], runs: Path) -> list[Cell]:
    """Run what is not kept, and tell as it goes; a cell that fails stops no other. Returns the cells as they ended."""
    from rich.console import Console
    from rich.live import Live

    states, begun = {cell.name: cell for cell in cells}, time.monotonic()
    pending = {start(cell): cell for cell in cells if cell.state != "kept"}
    console = Console(markup=False, highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        while pending:
            for future in futures.wait(pending, timeout=1).done:  # those of a second at a time
                cell = pending.pop(future)
                try:
                    ended = future.result()
                except Exception as error:  # its process or its machine died once too often
                    ended = cell.written(runs, state="failed", error=f"{type(error).__name__}: {error}")
                states[cell.name] = ended
                if not console.is_terminal:
                    print(f"{ended.state:7s} {ended.name}  {ended.seconds:.0f} s  {ended.error}", flush=True)
            if console.is_terminal:
                states |= {cell.name: read_cell(runs / cell.name) or cell for cell in pending.values()}
                live.update(_table(states.values(), runs, time.monotonic() - begun, console.height - 6), refresh=True)
    return list(states.values())


def _table(cells: Iterable[Cell], runs: Path, seconds: float, height: int):
    """Counts, time left, and as many cells as fit: running ones, failed ones, then the rest."""
    from rich.table import Table

    n = Counter(cell.state for cell in cells)
    ended, to_do = n["done"] + n["failed"], n["waiting"] + n["running"]
    left = f"; about {seconds / ended * to_do / 60:.0f} minutes left" if ended else ""
    table = Table("cell", "state", "step", "loss", "seconds", "", title=_counted(cells) + left)
    for cell in sorted(cells, key=lambda cell: ORDER.index(cell.state))[:height]:
        step = _progress(runs / cell.name) if cell.state == "running" else ("", "")
        table.add_row(cell.name, cell.state, *step, f"{cell.seconds:.0f}" if cell.seconds else "", cell.error)
    return table


def _counted(cells: Iterable[Cell]) -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(cell.state for cell in cells).items())


def _progress(folder: Path) -> tuple[str, str]:
    """Step and loss at the newest checkpoint, once there is one."""
    try:
        newest = max(folder.glob("checkpoints/checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
        state = read_json(newest)
    except (OSError, ValueError):  # none yet, or it was dropped for a newer one just now
        return "", ""
    losses = [f"{entry['loss']:.2f}" for entry in state["log_history"] if "loss" in entry]
    return f"{state['global_step']}/{state['max_steps']}", (losses or [""])[-1]


@as_command()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", help="a file such as docs/grid.md shows")
    parser.add_argument("--report", action="store_true", help="run nothing: one table over all cells that are done")
    parser.add_argument("--in-sequence", action="store_true", help="one cell after another, without Ray")
    parser.add_argument("--any-code", action="store_true", help="keep what an earlier version of the code has made")
    options = parser.parse_args(arguments)
    try:
        path = resolve(options.grid)
        grid = read_grid(path)
        cells, runs = cells_of(grid), run_folder(resolve(grid.runs or f"runs/{path.stem}"))
        if options.report:
            found = [cell for cell in (read_cell(runs / cell.name) for cell in cells) if cell and cell.state == "done"]
            if not found:
                raise PersonaError("no cell is done yet", "run the grid first, without --report", shown(runs))
            print(write_grid_report(runs, [cell.model_dump() for cell in found], len(cells)))
            return
        with one_writer(runs):
            work = partial(run_cell, grid=grid, runs=runs)
            alone = options.in_sequence or importlib.util.find_spec("ray") is None
            print(NO_RAY if alone and not options.in_sequence else f"{len(cells)} cells in {shown(runs)}", flush=True)
            start = partial(futures.ThreadPoolExecutor(1).submit, work) if alone else on_ray(work, grid)
            ended = run_cells([cell.begun(runs, options.any_code) for cell in cells], start, runs)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", flush=True)
        os._exit(130)  # the threads and processes that wait for cells end with this one
    print(_counted(ended))
    if failed := [cell for cell in ended if cell.state == "failed"]:
        sys.exit("\n".join(f"{c.name}: {c.error}\n  all of it is in {c.name}/{LOG}" for c in failed))


if __name__ == "__main__":
    from persona_ft.use.grid import main as module_main  # what Ray is given must be found by its module's name

    if sys.argv[1:2] == ["--cell"]:
        _follow(sys.argv[2:])
    else:
        module_main()
