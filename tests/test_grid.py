"""A grid of runs: read with its mistakes named, executed, kept, killed and gone on with, the same with Ray and without;
and the lock that leaves a run folder to one writer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from conftest import ROOT

from persona_ft.errors import PersonaError
from persona_ft.notebook.run import execute
from persona_ft.paths import one_writer
from persona_ft.report.grid import write_grid_report
from persona_ft.train.gpus import read_cards
from persona_ft.train.memory import smaller_setting
from persona_ft.train.recipe import read_recipe
from persona_ft.use.cells import cells_of, read_cell, read_grid
from persona_ft.use.grid import main, smaller_setting_in

PARAMETERS = 'RUN = "runs/mine"\nSEED = 0\nTEXT = "a"'
# Notes each time that it is begun and done; waits while there is a file called wait beside the notebook.
SOURCE = """
import time
from pathlib import Path

def note(word):
    with open(Path(RUN) / "notes.txt", "a") as file:
        file.write(f"{word} {SEED} {TEXT}\\n")

note("begun")
while Path("wait").exists():
    time.sleep(0.05)
if SEED == 3 and not Path("mended").exists():
    raise ValueError("not yet")
note("done")
"""


@pytest.fixture
def grid(tmp_path) -> Path:
    """A grid of three cells over a notebook that writes a file."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(SOURCE)])
    notebook.metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks/small.ipynb")
    return change(tmp_path / "grid.yaml", parameters={"SEED": [1, 2, 3]})


def change(path: Path, **fields) -> Path:
    common = {"notebooks": ["small"], "folder": str(path.parent / "notebooks"), "runs": str(path.parent / "runs")}
    path.write_text(yaml.safe_dump(common | {"retries": 0} | fields))
    return path


def start(grid: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "persona_ft.use.grid", str(grid), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def notes(grid: Path) -> dict[str, list[str]]:
    """What each cell has noted."""
    return {p.parent.name: p.read_text().splitlines() for p in sorted(grid.parent.glob("runs/*/notes.txt"))}


def wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["in sequence", "Ray"])
def test_a_failed_cell_stops_no_other_and_done_ones_are_kept(grid, how):
    """What Ray has done is kept without it."""
    change(grid, parameters={"SEED": [3, 1]})
    options = ["--in-sequence"] if how == "in sequence" else []
    if how == "Ray":
        pytest.importorskip("ray")
    said, errors = (process := start(grid, *options)).communicate()
    if "Ray did not start" in errors:
        pytest.skip("this machine is too busy for Ray to start")
    assert process.returncode == 1
    assert notes(grid) == {"seed-1": ["begun 1 a", "done 1 a"], "seed-3": ["begun 3 a"]}
    assert "seed-3: small.ipynb, cell 3: ValueError: not yet" in errors and "seed-3/cell.log" in errors
    assert "1 done, 1 failed" in said or "1 failed, 1 done" in said
    assert "ValueError: not yet" in (grid.parent / "runs/seed-3/cell.log").read_text()

    (grid.parent / "notebooks/mended").touch()
    said, errors = (process := start(grid, "--in-sequence")).communicate()
    assert process.returncode == 0, errors
    assert "1 kept" in said and "1 done" in said
    assert notes(grid)["seed-1"] == ["begun 1 a", "done 1 a"], "what was done ran again"
    assert notes(grid)["seed-3"] == ["begun 3 a", "begun 3 a", "done 3 a"]
    assert nbformat.read(grid.parent / "runs/seed-3/small.ipynb", as_version=4).cells[-1].execution_count


def test_a_killed_grid_leaves_nothing_running_and_goes_on(grid):
    change(grid, parameters={"SEED": [1, 2]})
    (grid.parent / "notebooks/wait").touch()
    process = start(grid, "--in-sequence")
    wait_for(lambda: notes(grid))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2, "a process for the notebooks and its kernel"
    _, errors = (again := start(grid, "--in-sequence")).communicate()
    assert again.returncode == 1 and f"(process {process.pid} on " in errors and "since" in errors

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not psutil.wait_procs(family, timeout=10)[1], "something went on running"
    (grid.parent / "notebooks/wait").unlink()
    said, errors = (process := start(grid, "--in-sequence")).communicate()
    assert process.returncode == 0, errors
    assert f"left by process {process.pid}" not in said and "taken over" in said
    assert notes(grid) == {"seed-1": ["begun 1 a", "begun 1 a", "done 1 a"], "seed-2": ["begun 2 a", "done 2 a"]}
    assert read_cell(grid.parent / "runs/seed-1").state == "done"


def test_cells_are_told_apart_by_parameters_data_and_code(grid, capsys):
    data = grid.parent / "words.txt"
    data.write_text("one")
    fields = {"parameters": {"SEED": 1}, "together": [{"TEXT": str(data)}, {"TEXT": "b"}]}
    cells = cells_of(read_grid(change(grid, **fields)))
    assert [cell.given for cell in cells] == [{"SEED": 1, "TEXT": str(data)}, {"SEED": 1, "TEXT": "b"}]
    runs = grid.parent / "runs"
    for cell in cells:
        cell.written(runs, state="done")
    assert [cell.begun(runs).state for cell in cells] == ["kept", "kept"]

    from persona_ft.use import cells as module

    module._content.cache_clear()
    data.write_text("two")
    again = cells_of(read_grid(grid))
    assert [cell.begun(runs).state for cell in again] == ["waiting", "kept"]
    assert "have changed" in capsys.readouterr().out and (runs / "before" / f"{cells[0].name}-1/cell.json").exists()
    other = again[1].model_copy(update={"code": "of yesterday"})
    assert other.begun(runs, any_code=True).state == "kept"
    assert other.begun(runs).state == "waiting"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters:\n  SEED: [1, 2\n", "line 4: this is not YAML"),
        ("parameters: {SEED: 1}\ncpus: 0\n", "line 2: cpus: Input should be greater than or equal to 1"),
        ("parameters: {SEED: 1}\ncpu: 1\n", "line 2: cpu: Extra inputs are not permitted"),
        ("parameters:\n  TEXT: x\n  SEED: {a: 1}\n", "line 3: SEED is {'a': 1}: give a number"),
        ("parameters: {SEED: 1}\ntogether: [{SEED: 2}]\n", "line 1: SEED is given both in parameters and in together"),
        ("parameters:\n  SEED: [1, 1]\n", "line 1: parameters: a cell is there twice: {'SEED': 1}"),
        ("[]", "parameters: Field required"),
        ("[1]", "Input should be a valid dictionary"),
        ("parameters: {SED: 1}\n", "no notebook of the grid has a parameter called SED"),
        ("parameters: {RUN: here}\n", "no notebook of the grid has a parameter called RUN"),
        ("parameters: {SEED: 1}\nnotebooks: [none]\n", "has no notebook none"),
    ],
)
def test_what_is_wrong_in_a_grid_is_named_before_anything_runs(grid, capsys, text, said):
    shared = f"\nfolder: {grid.parent}/notebooks\nruns: {grid.parent}/runs\n"
    if not text.startswith("["):
        text += shared if "notebooks:" in text else f"{shared}notebooks: [small]\n"
    grid.write_text(text)
    with pytest.raises(SystemExit):
        main([str(grid)])
    told = capsys.readouterr().err
    assert said in told and "What to do" in told
    assert not (grid.parent / "runs").exists()


def test_the_smaller_setting_that_notebook_03_names_can_be_taken():
    from transformers import GptOssConfig

    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    card = read_cards().named("L4").model_copy(update={"memory_gib": 15.5})
    sentence = smaller_setting(config, read_recipe("recommended"), card, 256, 64, True)
    smaller = smaller_setting_in(f"PersonaError: CUDA ran out of memory\n  What to do: {sentence}")
    assert smaller["BATCH_SIZE"] * smaller["GRADIENT_ACCUMULATION"] == read_recipe("recommended").rows_per_step
    assert smaller["BATCH_SIZE"] < read_recipe("recommended").batch_size
    assert smaller_setting_in("What to do: use a larger card") == {}


def test_the_report_has_each_setting_over_its_seeds_and_names_the_best_with_its_caveat(demo_run, tmp_path):
    cells = []
    for recipe, gain in (("recommended", 0.0), ("t4", 0.5)):
        for seed in range(6):
            folder = tmp_path / f"{recipe}-seed-{seed}"
            folder.mkdir()
            comparison = json.loads((demo_run / "comparison.json").read_text())
            comparison["summary"]["tuned + prompt"]["log_likelihood"]["value"] = -4 + gain + seed / 100
            (folder / "comparison.json").write_text(json.dumps(comparison))
            shutil.copy(demo_run / "training.json", folder)
            (folder / "report.html").touch()
            cells.append({"name": folder.name, "given": {"RECIPE": recipe, "SEED": seed}, "seconds": 1.0})
    said = write_grid_report(tmp_path, cells, 13)
    assert "12 of 13 cells are done" in said
    assert "Best of 2 settings (RECIPE)" in said and "6 runs of each: t4. It was picked" in said
    assert "-3.48 [-3.49, -3.46]" in said  # -3.5 + 0.025, t(5) = 2.571, deviation 0.0187
    rows = json.loads((tmp_path / "grid.json").read_text())
    assert len(rows) == 12 and rows[7]["log_likelihood"] == pytest.approx(-3.49) and rows[7]["SEED"] == 1
    assert (tmp_path / "grid.csv").read_text().count("\n") == 13
    assert (tmp_path / "grid.html").read_text().count('href="t4-seed-') == 6
    one = write_grid_report(tmp_path, cells[:1], 13)
    assert "No best setting is named" in one and "| -4 |" in one


HOLD = """
import sys, time
from pathlib import Path
from persona_ft.paths import one_writer
with one_writer(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_run_folder_has_one_writer(tmp_path, capsys):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(PersonaError, match=f"process {other.pid} on .*, since 20"):
        execute(["02_build_dataset"], tmp_path, {"MODEL": "tiny"})
    assert not (tmp_path / "02_build_dataset.ipynb").exists()
    other.kill()
    other.wait()
    with one_writer(tmp_path):
        assert f"left by process {other.pid}" in capsys.readouterr().out
        with pytest.raises(PersonaError, match=f"process {os.getpid()} on"), one_writer(tmp_path, wait=0.1):
            pass
    with one_writer(tmp_path):
        assert not capsys.readouterr().out, "a lock that was given back is nothing to be told of"
    assert not list(tmp_path.iterdir())
