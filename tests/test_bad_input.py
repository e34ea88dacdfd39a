"""What stops a notebook says why and what to do, and leaves nothing half written."""

from __future__ import annotations

import pytest

from persona_ft.run import execute, main
from persona_ft.settings import run_folder


@pytest.mark.parametrize(
    ("only", "given", "message"),
    [
        ("02_build_dataset", {"PERSONA": "data/nobody"}, "no such persona folder"),
        ("02_build_dataset", {"N_DEV": 84}, "does not leave a pair"),
        ("02_build_dataset", {"INTERACTIVE": True}, "INTERACTIVE"),
        ("02_build_dataset", {"QUESTIONS": "data/masaki/train.jsonl"}, "by someone else"),
        ("01_inference", {"MODEL": "gpt-99"}, "neither a known name nor a model folder"),
        ("03_train_qlora", {"MODEL": "tiny"}, "run notebook 02_build_dataset"),
        ("04_compare", {}, "run notebook 03_train_qlora"),
    ],
)
def test_bad_input_stops_with_its_reason_and_leaves_the_notebook(tmp_path, capsys, only, given, message):
    with pytest.raises(SystemExit) as stopped:
        execute([only], tmp_path, given)
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert f"{only}.ipynb, cell " in said.err and message in said.err and "What to do" in said.err
    assert "failed after" in said.out
    written = {path.name for path in tmp_path.iterdir()} - {f"{only}.ipynb"}
    assert not written, "something half was written"


def test_an_unknown_parameter_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--run", str(tmp_path / "run"), "-p", "LERNING_RATE", "0.1"])
    said = capsys.readouterr().err
    assert "LERNING_RATE" in said and "LEARNING_RATE" in said


def test_a_broken_line_names_file_and_line_through_the_notebook(tmp_path, persona_copy, capsys):
    with (persona_copy / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"messages": [{"role": "user", "content": "?"}]}\n')
    with pytest.raises(SystemExit):
        execute(["02_build_dataset"], run_folder(tmp_path / "run"), {"PERSONA": str(persona_copy)})
    assert "train.jsonl, line 17: there is no assistant turn" in capsys.readouterr().err
