"""What a grid costs beside the work itself, on Ray and without; a node that dies; a thousand personas on paper.

python benchmarks/grid_overhead.py                        # cells that only write a file, 300 and 3,000 of them
python benchmarks/grid_overhead.py --cluster              # two Ray nodes on this machine, one killed in the middle
python benchmarks/grid_overhead.py --on-paper 1000 64 L4  # hours, downloads and disk, from the repository's figures
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import math
import os
import statistics
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat

from persona_ft.paths import repository_root
from persona_ft.use.cells import Cell, Grid, cells_of, read_cell
from persona_ft.use.grid import on_ray, run_cell, run_cells

RESULTS = repository_root() / "benchmarks/results"


def write_a_file(cell: Cell, runs: Path) -> Cell:
    """The least that a cell can be: its record is written."""
    return cell.written(runs, state="done")


def overhead(ray: bool, n: int) -> float:
    """Seconds a cell, from the first one's start to the last one's end."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        runs = Path(folder)
        cells = [Cell(name=f"cell-{i}", given={"SEED": i}, identity=str(i), code="") for i in range(n)]
        work, grid = partial(write_a_file, runs=runs), Grid(parameters={})
        start = on_ray(work, grid) if ray else partial(ThreadPoolExecutor(1).submit, work)
        run_cells([cell.model_copy(update={"name": "first"}) for cell in cells[:1]], start, runs)  # workers are up now
        started = time.monotonic()
        ended = run_cells(cells, start, runs)
        seconds = time.monotonic() - started
        assert all(cell.state == "done" and read_cell(runs / cell.name) for cell in ended)
    return seconds / n


def lose_a_node(n: int) -> None:
    """Two nodes with a core each; one is killed while it executes a notebook."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    with tempfile.TemporaryDirectory() as folder:
        parameters = nbformat.v4.new_code_cell('RUN = ""\nSEED = 0', metadata={"tags": ["parameters"]})
        body = 'import time\nopen(f"{RUN}/begun", "a").write("x")\ntime.sleep(2)\nopen(f"{RUN}/done", "a").write("x")'
        notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(body)])
        notebook.metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        nbformat.write(notebook, Path(folder, "short.ipynb"))
        grid = Grid(parameters={"SEED": list(range(n))}, notebooks=["short"], folder=folder, retries=0)
        runs = Path(folder, "runs")
        start = on_ray(partial(run_cell, grid=grid, runs=runs), grid)

        def kill() -> None:
            while sum(1 for _ in runs.glob("*/begun")) < 4:
                time.sleep(0.1)
            cluster.remove_node(node, allow_graceful=False)
            print(f"one of two nodes killed with {sum(1 for _ in runs.glob('*/done'))} of {n} cells done", flush=True)

        threading.Thread(target=kill, daemon=True).start()
        ended = run_cells(cells_of(grid), start, runs)
        begun, done = ([len(path.read_text()) for path in runs.glob(f"*/{name}")] for name in ("begun", "done"))
        whole = sum(cell.state == "done" for cell in ended)
        print(f"{whole} of {n} cells done; begun {sum(begun)} times, done {sum(done)}")
    ray.shutdown()
    cluster.shutdown()


def on_paper(personas: int, gpus: int, name: str) -> None:
    """Hours, units, downloads and disk for notebooks 02 to 04, a persona on each GPU at a time."""
    warnings.filterwarnings("ignore")
    from transformers import AutoTokenizer, GptOssConfig

    from persona_ft.data.persona import read_persona
    from persona_ft.gpt_oss.lora import count_lora_parameters, count_parameters
    from persona_ft.train.checkpoints import KEPT, checkpoint_bytes
    from persona_ft.train.gpus import choose_recipe, read_cards
    from persona_ft.train.memory import GIB, estimate_step
    from persona_ft.train.rows import row_lengths

    cards, config = read_cards(), GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    card, measured_on = cards.named(name), cards.named("H100")
    recipe, _ = choose_recipe("auto", card)
    persona = read_persona(repository_root() / "data/masaki")
    tokenizer = AutoTokenizer.from_pretrained(repository_root() / "data/tiny-gpt-oss")
    tokens, _ = map(max, row_lengths(persona.train, recipe, persona.profile.system_prompt, tokenizer))
    train = estimate_step(config, recipe, tokens, card).total * recipe.steps(len(persona.train) - 8)
    trained = json.loads((RESULTS / "train_20b.json").read_text())
    loads = [row["load_s"] for row in [*trained["recommended"], *trained["memory"]]]
    load = statistics.median(loads)
    asked = json.loads((RESULTS / "conditions_20b.json").read_text())
    an_answer = sum(row["batched_s"] for row in asked["conditions"]) / asked["answers"]
    general = sum(1 for _ in (repository_root() / "data/general.jsonl").open(encoding="utf-8"))
    answers = 5 * len(persona.test) + 2 * len(persona.train) + 2 * general
    slower = measured_on.gb_s / card.gb_s
    parts, n_lora = count_parameters(config), count_lora_parameters(config, recipe.lora_r, recipe.lora_scope)
    experts = parts["experts"]
    weights = (experts * 4.25 / 8 + (sum(parts.values()) - experts) * 2) / GIB
    disk = (n_lora * 4 + (KEPT + 1) * checkpoint_bytes(n_lora, recipe.optimizer)) / 1e6
    rounds = math.ceil(personas / gpus)
    print(f"{personas:,} personas of {len(persona.train)} pairs on {gpus} {name}, recipe {recipe.name}", flush=True)
    print(f"training {train:.0f} s a persona (estimated); loading twice, {load:.0f} s each (H100)")
    print(f"{answers} answers a persona at {an_answer:.2f} s (H100), at most {slower:.0f} times that on {name}")
    for word, factor in (("at best", 1.0), ("at worst", slower)):
        seconds = train + factor * (2 * load + answers * an_answer)
        units = f", {personas * seconds / 3600 * card.units_per_hour:,.0f} units" if card.units_per_hour else ""
        print(f"{word}: {seconds / 60:.0f} min a persona, {rounds} rounds: {rounds * seconds / 3600:.1f} h{units}")
    print(f"weights {weights:.1f} GiB once a node: {gpus * weights:,.0f} GiB if each GPU is a node of its own")
    print(
        f"adapter, {KEPT + 1} checkpoints: {disk:.0f} MB a persona, {personas * disk / 1000:,.0f} GB on the shared disk"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", type=int, default=[300, 3000])
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--on-paper", nargs=3, metavar=("PERSONAS", "GPUS", "CARD"))
    options = parser.parse_args()
    if options.on_paper:
        on_paper(int(options.on_paper[0]), int(options.on_paper[1]), options.on_paper[2])
    elif options.cluster:
        lose_a_node(12)
    else:
        print("| cells | one after another | Ray | Ray / one after another |\n|---|---|---|---|")
        there = importlib.util.find_spec("ray") is not None
        found = [(n, overhead(False, n), overhead(True, n) if there else math.nan) for n in options.cells]
        for n, alone, ray in found:
            print(f"| {n:,} | {1000 * alone:.1f} ms a cell | {1000 * ray:.1f} ms a cell | {ray / alone:.1f} |")
        growth = [f"{found[-1][i] / found[0][i]:.2f}" for i in (1, 2)]
        print(f"a cell of the largest grid against one of the smallest: {growth[0]} times, on Ray {growth[1]} times")


if __name__ == "__main__":
    main()
