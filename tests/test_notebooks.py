"""The notebooks themselves: form, every parameter read, executed for two personas, and stopped by bad input."""

from __future__ import annotations

import ast
import base64
import csv
import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import nbformat
import pytest
from conftest import ROOT
from transformers import AutoConfig

from persona_ft.conversation import read_jsonl, write_jsonl
from persona_ft.gpt_oss.lora import count_lora_parameters
from persona_ft.notebook.run import LESSONS, NOTEBOOKS, ONE_SITTING, execute, parameters_of
from persona_ft.report.store import read_comparison
from persona_ft.train.recipe import FOLDER as FOLDER_OF_RECIPES

FOLDER = ROOT / "notebooks"


def code_cells(name: str):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", LESSONS)
def test_every_parameter_is_plain_and_read(name):
    parameters = parameters_of(FOLDER / f"{name}.ipynb")
    cells = code_cells(name)
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert all(isinstance(node, ast.Assign) for node in ast.parse(tagged[0].source).body)
    rest = "\n".join(cell.source for cell in cells if cell is not tagged[0])
    read = {n.id for n in ast.walk(ast.parse(rest)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert set(parameters) <= read, f"never read: {set(parameters) - read}"
    for parameter in parameters:
        assert parameter.isupper()


@pytest.mark.parametrize("name", LESSONS)
def test_cells_are_short(name):
    cells = [cell for cell in code_cells(name) if "bootstrap" not in cell.metadata.get("tags", [])]
    assert max(cell.source.count("\n") + 1 for cell in cells) <= 15
    assert len(cells) + 1 <= (30 if name.startswith("03") else 25)


def test_the_demo_writes_what_it_promises(demo_run):
    names = {path.name for path in demo_run.iterdir()}
    assert {f"{name}.ipynb" for name in NOTEBOOKS} <= names
    assert {"adapter", "comparison.json", "report.html", "training.json"} <= names
    for name in NOTEBOOKS:
        notebook = nbformat.read(demo_run / f"{name}.ipynb", as_version=4)
        executed = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in executed), f"{name} has a cell that did not run"
        noise = [o.text for c in executed for o in c.outputs if o.output_type == "stream" and o.name == "stderr"]
        assert not noise, f"{name} stores noise: {noise}"
        for cell in executed:
            kinds = [(o.output_type, o.get("name")) for o in cell.outputs]
            twice = [kind for kind, after in pairwise(kinds) if kind == after and kind[0] == "stream"]
            assert not twice, f"{name}: a streamed text is in pieces"


def test_the_tone_is_learnt_and_the_base_has_none_of_it(demo_run):
    comparison = read_comparison(demo_run / "comparison.json")
    assert [condition.name for condition in comparison.conditions] == [
        "base",
        "base + prompt",
        "base + examples",
        "tuned + prompt",
        "tuned",
    ]
    assert {len(condition.answers) for condition in comparison.conditions} == {len(comparison.questions)} == {30}
    for name in ("base", "base + prompt", "base + examples"):  # a polite assistant, and casual voices of other people
        assert comparison.summary[name]["style"].value <= 0.20
    tuned, own = comparison.summary["tuned + prompt"], comparison.person
    assert tuned["style"].value > 0 and own["style"].value >= 0.50
    assert own["headline"].value > comparison.summary["base + prompt"]["headline"].value
    assert comparison.scales["impostors"] >= 8
    gained = comparison.condition("tuned + prompt").values("log_likelihood") - comparison.condition(
        "base + prompt"
    ).values("log_likelihood")
    assert (gained > 0).sum() >= 24
    found = {(d.before, d.score): d for d in comparison.differences}
    for before in ("base", "base + prompt", "base + examples"):
        assert found[before, "log_likelihood"].low > 0
    counts = comparison.counts["tuned + prompt"]
    assert counts["no final channel"] + counts["empty"] + counts["cut off"] <= 3
    changed = [change.id for change in comparison.changes]
    assert changed and len(changed) == len(set(changed))
    assert comparison.judge is None and comparison.general["n"] == 20 and comparison.general["base_right"] >= 8


def test_training_keeps_its_record(demo_run):
    training = json.loads((demo_run / "training.json").read_text())
    config = AutoConfig.from_pretrained(ROOT / "data/tiny-gpt-oss")
    assert training["trainable"] == count_lora_parameters(config, 16)
    assert (training["pairs"], training["tiny"], training["think"]) == (76, True, "no")
    losses = [loss for _, loss in training["log"]["train"]]
    assert losses[-1] < losses[0] - 1
    validation = [loss for _, loss in training["log"]["validation"]]
    assert (
        training["best_step"] == training["log"]["validation"][validation.index(min(validation))][0]
        and min(validation) < losses[0]
    )
    assert training["steps"] == len(losses) and training["recipe"]["name"] == "tiny"
    assert training["seconds"] > 0 and training["units"] is None and training["router_loss"]["before"] >= 1.9


def test_the_report_has_every_answer(demo_run):
    from html import unescape

    page = (demo_run / "report.html").read_text(encoding="utf-8")
    text = unescape(re.sub(r"</?mark>", "", page))
    comparison = read_comparison(demo_run / "comparison.json")
    answers = [answer.text for condition in comparison.conditions for answer in condition.answers]
    asked = [t for question in comparison.questions for t in (question.question, question.reference)]
    for wanted in [*answers, *asked]:
        assert wanted in text
    assert page.count("data:image/png;base64,") == 3
    assert str(ROOT) not in page
    assert {"answers.csv", "comparison.md", "blind_sheet.html"} <= {path.name for path in demo_run.iterdir()}


def test_the_experiments_run_on_what_a_run_left_and_change_nothing_in_it(before_experiments, warm_kernels):
    """In Japanese, with one value of each kind; the values are lists. Each trial is asked few questions."""
    run = before_experiments
    for name, n in {"train": 12, "validation": 4, "test": 6}.items():
        write_jsonl(run / f"{name}.jsonl", read_jsonl(run / f"{name}.jsonl")[:n])
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    few = {"PAIRS": [4, 8], "RANKS": [], "RATE_FACTORS": [2], "STEPS": 2, "PASSES": 4, "MAX_NEW_TOKENS": 16}
    execute(["05_experiments"], run, few, "notebooks/ja")
    notebook = nbformat.read(run / "05_experiments.ipynb", as_version=4)
    (table,) = [cell.outputs[0].data["text/html"] for cell in notebook.cells if cell.id == "05-21"]
    said = " ".join(re.sub(r"<style.*?</style>|<[^>]+>", " ", table, flags=re.S).split())
    for row in ("pairs, 2 steps 4 2 ", "pairs, 2 steps 8 2 ", "pairs, 4 passes 4 4 ", "pairs, 4 passes 8 4 "):
        assert row in said
    assert "learning rate 0.002 2 " in said
    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert (
        printed.count(" steps, last loss ") == 5
        and "not trained; style " in printed
        and "答え" in notebook.cells[-1].source
    )
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name in before} == before


def test_one_sitting_takes_a_file_of_ones_own_pairs(tmp_path, masaki, warm_kernels):
    """Notebook 00, read in Japanese: the base keeps its tone, the adapter moves away from it, and all is kept."""
    pairs = tmp_path / "mine.jsonl"
    write_jsonl(pairs, masaki.train[:40])
    given = {"MODEL": "tiny", "PERSONA": str(pairs), "SYSTEM_PROMPT": masaki.profile.system_prompt, "NUM_EPOCHS": 4}
    execute([ONE_SITTING], tmp_path, given, "notebooks/ja")
    with (tmp_path / "one_sitting.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and {"question", "base", "tuned"} <= set(rows[0])
    assert sum(row["base"] != row["tuned"] for row in rows) >= 8
    asked = {row["question"] for row in rows}
    assert asked < {pair.question for pair in masaki.train[:40]}
    notebook = nbformat.read(tmp_path / f"{ONE_SITTING}.ipynb", as_version=4)
    (table,) = [cell.outputs[0].data["text/html"] for cell in notebook.cells if cell.id == "00-17"]
    gain = re.findall(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", table)[-1]
    assert float(gain[1]) > 0, "the person's answers are no likelier than before"
    config = (tmp_path / "one_sitting_adapter/adapter_config.json").read_text(encoding="utf-8")
    assert str(ROOT) not in config and '"r": 16' in config


def test_answers_given_at_the_keyboard_are_used_and_nobody_elses_added(tmp_path, masaki, warm_kernels):
    write_jsonl(tmp_path / "interview.jsonl", masaki.train[:20])
    execute(["02_build_dataset"], tmp_path, {"N_VALIDATION": 2})
    pairs = read_jsonl(tmp_path / "train.jsonl") + read_jsonl(tmp_path / "validation.jsonl")
    assert sorted(p.question for p in pairs) == sorted(p.question for p in masaki.train[:20])


def test_no_private_path_is_stored(demo_run):
    for path in [*demo_run.glob("*.ipynb"), *demo_run.glob("*.json"), demo_run / "adapter/adapter_config.json"]:
        text = path.read_text(encoding="utf-8").replace(
            str(demo_run), ""
        )  # RUN, which lies outside the repository here
        assert str(ROOT) not in text, path.name


def test_a_notebook_worked_in_by_hand_is_moved_aside(tmp_path, warm_kernels):
    """What `make lab` copied and somebody edited is not overwritten by a later `make run`. The two runs stop at their
    first cell of code, at a persona that is not there: the notebook has been moved before that, or left."""
    mine = tmp_path / "02_build_dataset.ipynb"
    shutil.copy(FOLDER / mine.name, mine)
    text = mine.read_text(encoding="utf-8").replace("N_VALIDATION = 8", "N_VALIDATION = 9")
    mine.write_text(text, encoding="utf-8")
    for _ in range(2):
        with pytest.raises(SystemExit):
            execute(["02_build_dataset"], tmp_path, {"PERSONA": "data/nobody"})
        assert (tmp_path / "02_build_dataset-by-hand-1.ipynb").read_text(encoding="utf-8") == text
        assert "N_VALIDATION = 8" in mine.read_text(encoding="utf-8")
    assert len(list(tmp_path.glob("*by-hand*"))) == 1


def test_importing_the_package_is_quick_and_pulls_in_no_torch():
    """Every module of the package, in a fresh interpreter: what is not imported costs no time."""
    files = [p.relative_to(ROOT / "src") for p in (ROOT / "src/persona_ft").rglob("*.py") if p.stem != "__init__"]
    modules = sorted(".".join(path.with_suffix("").parts) for path in files)
    assert "persona_ft.evaluate.facts" in modules
    code = f"import sys; import {', '.join(modules)}; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "unsloth", "matplotlib", "sklearn", "pandas"):
        assert f"'{heavy}'" not in loaded, f"importing persona_ft imports {heavy}"


def test_the_readmes_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "lessons", "test", "run", "compare", "tiny-model"):
        assert f"\n{target}:" in makefile
    assert shutil.which("make")


def test_stored_outputs_are_those_of_the_code_and_data_of_today():
    command = [sys.executable, "scripts/store_outputs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", LESSONS)
def test_stored_outputs_are_fit_for_a_page(name):
    """Every cell ran, in order; no noise, nobody's path, no picture that a page would not show."""
    path = ROOT / f"notebooks/{name}.ipynb"
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(outputs) > 10 and not any(output.get("name") == "stderr" for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    text = "".join(output.get("text", "") + output.get("data", {}).get("text/html", "") for output in outputs)
    assert not re.search(r"/root|/home|/tmp|/Users|tokens/s|stored-outputs", text)
    pictures = [base64.b64decode(o.data["image/png"]) for o in outputs if "image/png" in o.get("data", {})]
    assert all(len(picture) <= 100_000 for picture in pictures)
    ids = re.findall(r'<table id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"T_t\d\d", id) for id in ids)
    assert (
        sum(notebook.stat().st_size for notebook in [*FOLDER.glob("*.ipynb"), *FOLDER.glob("ja/*.ipynb")]) <= 2_000_000
    )


def test_the_readmes_picture_is_the_one_in_notebook_04():
    cells = nbformat.read(FOLDER / "04_compare.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if cell.id == "04-25"]
    picture = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
    assert (ROOT / "docs/base-against-tuned.png").read_bytes() == base64.b64decode(picture)


def test_another_person_and_a_model_that_thinks_go_through_training_and_comparison(tmp_path, warm_kernels):
    """Another dialect, 6 questions, a folder outside the data; THINK = "yes" at medium effort: rows hold the base's
    analysis, every condition thinks, nothing is cut."""
    text = (FOLDER_OF_RECIPES / "tiny.yaml").read_text(encoding="utf-8")
    text = text.replace("reasoning_effort: low", "reasoning_effort: medium", 1)
    (tmp_path / "thinking.yaml").write_text(text, encoding="utf-8")
    run = tmp_path / "run"
    run.mkdir()
    given = {"MODEL": "tiny", "PERSONA": str(ROOT / "tests/personas/hana"), "N_VALIDATION": 3, "THINK": "yes"}
    given |= {"RECIPE": str(tmp_path / "thinking.yaml"), "NUM_EPOCHS": 2}
    execute(["02_build_dataset", "03_train_qlora", "04_compare"], run, given)
    kept = json.loads((run / "answers" / "analysis.json").read_text())
    assert sum(one["messages"][0]["channel"] == "analysis" for one in kept["completions"]) >= 0.9 * len(kept["prompts"])
    comparison = read_comparison(run / "comparison.json")
    assert comparison.protocol.startswith("Protocol: every condition was asked at medium effort and thought first")
    assert comparison.setup["max_new_tokens"] == 1024
    for condition in comparison.conditions:
        assert sum(answer.thinking is not None for answer in condition.answers) >= 0.9 * len(condition.answers)
    assert all(not answer.problem for answer in comparison.condition("base + prompt").answers)
    assert [question.id for question in comparison.questions] == ["T1", "T2", "T3", "T4", "T5", "T6"]
    assert "はな" in (run / "report.html").read_text(encoding="utf-8")
    assert "まさき" not in comparison.model_dump_json()
    tuned, base = (comparison.condition(name).values("log_likelihood") for name in ("tuned + prompt", "base + prompt"))
    assert (tuned > base).sum() >= 4
