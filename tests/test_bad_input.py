"""What stops a notebook says why and what to do, and leaves nothing half written."""

from __future__ import annotations

import nbformat
import pytest

from persona_ft.errors import PersonaError
from persona_ft.evaluate.trials import values_to_try
from persona_ft.notebook.run import execute, main
from persona_ft.paths import run_folder


@pytest.mark.parametrize(
    ("only", "given", "message"),
    [
        ("02_build_dataset", {"PERSONA": "data/nobody"}, "no such persona folder"),
        ("02_build_dataset", {"N_VALIDATION": 84}, "does not leave a pair"),
        ("02_build_dataset", {"INTERACTIVE": True}, "INTERACTIVE"),
        ("02_build_dataset", {"QUESTIONS": "data/masaki/train.jsonl"}, "by someone else"),
        ("01_inference", {"MODEL": "gpt-99"}, "neither a known name nor a model folder"),
        ("04_compare", {}, "run notebook 03_train_qlora"),
    ],
)
def test_bad_input_stops_with_its_reason_and_leaves_the_notebook(warm_kernels, tmp_path, capsys, only, given, message):
    with pytest.raises(SystemExit) as stopped:
        execute([only], tmp_path, given)
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert f"{only}.ipynb, cell " in said.err and message in said.err and said.err.count("What to do") == 1
    assert "Traceback" not in said.err
    assert "failed after" in said.out
    written = {path.name for path in tmp_path.iterdir()} - {f"{only}.ipynb"}
    assert not written, "something half was written"


@pytest.mark.parametrize(
    ("name", "values", "whole", "said"),
    [
        ("PAIRS", [5, "many"], True, r"PAIRS is \[5, 'many'\], no list of whole numbers of at least 1"),
        ("RANKS", "8", True, "RANKS is '8', no list of whole numbers"),
        ("RANKS", [1.5], True, r"RANKS is \[1.5\], no list of whole numbers"),
        ("RATE_FACTORS", [0.0], False, r"RATE_FACTORS is \[0.0\], no list of numbers"),
    ],
)
def test_values_to_try_are_lists_of_numbers(name, values, whole, said):
    with pytest.raises(PersonaError, match=said):
        values_to_try(name, values, 1 if whole else 1e-9, whole=whole)


def test_values_to_try_are_checked_before_anything_is_loaded(before_experiments, warm_kernels, capsys):
    run = before_experiments
    with pytest.raises(SystemExit):
        execute(["05_experiments"], run, {"STEPS": 0})
    told = capsys.readouterr().err
    assert "STEPS and PASSES is [0, 5]" in told and "What to do" in told
    done = nbformat.read(run / "05_experiments.ipynb", as_version=4).cells
    assert not next(cell for cell in done if cell.id == "05-07").outputs


def test_more_pairs_than_there_are_are_left_out_with_a_word(capsys):
    assert values_to_try("PAIRS", [500, 5, 84], 1, 84) == [5, 84]
    assert "PAIRS: 500 left out, since there are 84" in capsys.readouterr().out


def test_a_folder_of_notebooks_that_is_not_there(tmp_path):
    with pytest.raises(PersonaError, match="no folder notebooks/fr"):
        execute(["01_inference"], tmp_path, {}, "notebooks/fr")


def test_an_unknown_parameter_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--run", str(tmp_path / "run"), "-p", "LERNING_RATE", "0.1"])
    said = capsys.readouterr().err
    assert "LERNING_RATE" in said and "LEARNING_RATE" in said


def test_a_broken_line_names_file_and_line_through_the_notebook(tmp_path, persona_copy, warm_kernels, capsys):
    with (persona_copy / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"messages": [{"role": "user", "content": "?"}]}\n')
    with pytest.raises(SystemExit):
        execute(["02_build_dataset"], run_folder(tmp_path / "run"), {"PERSONA": str(persona_copy)})
    assert "train.jsonl, line 17: there is no assistant turn" in capsys.readouterr().err
