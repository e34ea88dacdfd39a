"""Nothing lost, nothing mixed up, nothing let in: kills, full disks, hostile files and hostile words."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import ROOT, TINY
from safetensors.numpy import save_file

from persona_ft.conversation import read_jsonl, write_jsonl
from persona_ft.data.card import characteristic
from persona_ft.data.persona import read_profile
from persona_ft.errors import PersonaError, visible
from persona_ft.figures.data import plot_expressions
from persona_ft.gpt_oss.download import check_model
from persona_ft.gpt_oss.harmony import render_prompt
from persona_ft.io import append_line, mend_last_line, write_text
from persona_ft.notebook.install import _forget_what_is_typed
from persona_ft.notebook.parameters import check_parameters
from persona_ft.notebook.run import LESSONS, PARAMETER_TAGS, execute
from persona_ft.paths import repository_root, resolve, run_folder, shown
from persona_ft.report.tables import text_table
from persona_ft.train.checkpoints import Checkpoints
from persona_ft.train.identity import check_adapter, read_training, seal_adapter
from persona_ft.train.recipe import read_recipe
from persona_ft.use.cells import read_grid


@pytest.fixture
def lessons(tmp_path) -> Path:
    """A folder of notebooks of a cell or two."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    cells = {
        "well": "for n in range(3):\n    print(n, flush=True)",
        "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "long": "print('here', flush=True)\nopen(RUN + '/started', 'w').close()\nimport time; time.sleep(60)",
    }
    for name, source in cells.items():
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        given = nbformat.v4.new_code_cell('RUN = ""', metadata={"tags": ["parameters"]})
        notebook.cells = [given, nbformat.v4.new_code_cell(source)]
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


def in_a_process(lessons: Path, run: Path, name: str, before: str = "") -> subprocess.Popen:
    """The command, as a reader starts it, on a notebook of the test's own."""
    code = f"{before}\nimport persona_ft.notebook.run as r\nr.LESSONS += ({name!r},)\n"
    code += f"r.main(['--run', {str(run)!r}, '--only', {name!r}, '--notebooks', {str(lessons)!r}])"
    # Below a shell's & Ctrl-C is ignored, and a process inherits that.
    restored = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    command = [sys.executable, "-c", restored]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("torn", [b"", b'{"cells": [', b"\xff\xfe{}", b"[]"])
def test_a_torn_notebook_is_moved_aside_with_a_sentence(lessons, tmp_path, capsys, torn):
    run = run_folder(tmp_path / "run")
    (run / "well.ipynb").write_bytes(torn)
    execute(["well"], run, {}, str(lessons))
    assert "well.ipynb was cut off" in capsys.readouterr().out
    assert (run / "well-torn-1.ipynb").read_bytes() == torn
    done = nbformat.read(run / "well.ipynb", as_version=4)
    assert [output.text for output in done.cells[-1].outputs] == ["0\n1\n2\n"]
    assert str(tmp_path) not in json.dumps(done.metadata["papermill"]["output_path"])
    assert (run / "well.ipynb").stat().st_mode & 0o77 == 0


def test_a_full_disk_leaves_the_notebook_that_was_there(lessons, tmp_path):
    run = run_folder(tmp_path / "run")
    execute(["well"], run, {}, str(lessons))
    before = (run / "well.ipynb").read_bytes()
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))"
    process = in_a_process(lessons, run, "well", full)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and "cannot be written (File too large)" in said and "Traceback" not in said
    assert (run / "well.ipynb").read_bytes() == before
    assert {path.name for path in run.iterdir()} == {"well.ipynb"}


def test_a_dead_kernel_is_told_in_a_paragraph(lessons, tmp_path):
    with pytest.raises(
        PersonaError, match=r"dies.ipynb died (in code cell \d )?after \d+ s .*ran out of memory"
    ) as told:
        execute(["dies"], run_folder(tmp_path / "run"), {}, str(lessons))
    assert "run the same command again" in told.value.remedy


def test_ctrl_c_is_one_line(lessons, tmp_path):
    run = run_folder(tmp_path / "run")
    process = in_a_process(lessons, run, "long")
    until = time.monotonic() + 60
    while not (run / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Stopped. The same command goes on" in said and "Traceback" not in said
    nbformat.read(run / "long.ipynb", as_version=4)


def test_a_closed_output_and_an_ascii_terminal(lessons, tmp_path):
    code = "from persona_ft.notebook.run import main\n"
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    told = f"main(['--run', {str(tmp_path)!r}, '-p', {'日本'!a}, '1'])"
    done = subprocess.run([sys.executable, "-c", code + told], capture_output=True, env=ascii_only)
    assert done.returncode == 1 and "has a parameter called 日本" in done.stderr.decode("utf-8")
    closed = f"import sys; sys.stdout = None\n{code}main(['--run', {str(tmp_path)!r}])"
    done = subprocess.run([sys.executable, "-c", closed], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (1, "The output is closed: leave it open, or send it to a file")


@pytest.mark.parametrize(
    ("does", "around", "code", "said"),
    [
        ("print('あ')", "PYTHONIOENCODING=ascii {}", 0, "あ"),
        ("print('あ')", "LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}", 0, "あ"),
        ("print('x')", "{} >/dev/full", 1, "No space left on device\n  What to do: "),
        ("raise SystemExit(3)", "{} >/dev/full", 3, ""),
        ("print('x' * 100_000)", "{{ {}; echo code $? >&2; }} | head -c 1", 0, "xcode 1\n"),
        ("read_line('? ')", "{} <&-", 1, "EOFError"),
        ("print('you said', read_line('? '))", "printf '\\xff\\xfe\\n fine \\n' | {}", 0, "please type it again"),
        ("print('you said', read_line('? '))", "printf '\\xff\\xfe\\n fine \\n' | {}", 0, "you said fine\n"),
        ("raise KeyboardInterrupt", "{}", 130, "Stopped."),
        ("open('/nowhere/x', 'w')", "{}", 1, "No such file or directory: '/nowhere/x'\n  What to do: "),
        ("print('x')", "{} $'\\xff'", 1, "an argument is not UTF-8"),
        ("print('x')", "{} >&-", 1, "The output is closed"),
        ("raise ValueError('a fault of ours')", "{}", 1, "Traceback"),
    ],
)
def test_a_command_ends_with_a_sentence_and_its_code(tmp_path, does, around, code, said):
    command = tmp_path / "command.py"
    main = f"@as_command()\ndef main():\n    {does}\nmain()\n"
    command.write_text(f"from persona_ft.errors import as_command, read_line\n{main}", encoding="utf-8")
    line = around.format(f"{sys.executable} {command}")
    done = subprocess.run(["bash", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    told = done.stdout.decode("utf-8")
    assert done.returncode == code and said in told
    assert ("Traceback" in told or "Exception ignored" in told) == (said in ("Traceback", "EOFError"))


@pytest.mark.parametrize("module", ["use.new", "use.answers", "use.check", "use.grid", "use.talk", "data.interview"])
def test_each_command_tells_of_an_argument_that_is_not_utf_8(module):
    command = [sys.executable, "-m", f"persona_ft.{module}", b"\xff"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 1 and done.stderr.startswith(b"\nan argument is not UTF-8\n  What to do: ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["use.web", "runs/me", "--port", "-5"], "argument --port: '-5' is not a whole number from 1 to 65535"),
        (["use.serve", "runs/me", "--port", "http"], "argument --port: 'http' is not a whole number from 1 to 65535"),
        (["use.talk", "runs/me", "--temperature", "-1"], "argument --temperature: '-1' is not a number from 0 to 2"),
        (["use.talk", "runs/me", "--temperature", "nan"], "argument --temperature: 'nan' is not a number from 0 to 2"),
    ],
)
def test_a_number_that_cannot_be_is_told_before_anything_is_read(command, said):
    done = subprocess.run([sys.executable, "-m", f"persona_ft.{command[0]}", *command[1:]], capture_output=True)
    assert done.returncode == 2 and done.stderr.decode().rstrip().endswith(said)


def test_ctrl_c_while_a_command_is_imported_is_one_line():
    command = [sys.executable, "-X", "importtime", "-m", "persona_ft.use.talk", "runs/me"]
    restored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **restored)
    while not process.stderr.readline().rstrip().endswith("persona_ft.errors"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT and "\nStopped before it began.\n" in said and "Traceback" not in said


@pytest.mark.parametrize("torn", [b"[" * 100_000, b'{"a": ', b"\xff"])
def test_a_line_that_was_cut_off_is_dropped_and_a_whole_one_ended(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    for last, wanted in ((torn, b"{}\n"), (b"[1]", b"{}\n[1]\n")):
        path.write_bytes(b"{}\n" + last)
        mend_last_line(path)
        assert path.read_bytes() == wanted
    for cannot in (mend_last_line, lambda folder: append_line(folder, "{}\n")):
        with pytest.raises(PersonaError, match=r"cannot be written \(Is a directory"):
            cannot(tmp_path)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_json_and_yaml_that_are_nested_too_deeply_are_an_error_and_no_crash(tmp_path, deep):
    (tmp_path / "training.json").write_text(deep)
    assert read_training(tmp_path) == {}
    (tmp_path / "grid.yaml").write_text(f"parameters: {deep[:10_000]}")
    with pytest.raises(PersonaError, match="this is not YAML"):
        read_grid(tmp_path / "grid.yaml")


@pytest.fixture
def trained(tmp_path, masaki) -> Path:
    """A run folder as notebook 03 leaves it, with an adapter of two small matrices."""
    run = run_folder(tmp_path / "run")
    write_jsonl(run / "train.jsonl", masaki.train[:-8])
    write_jsonl(run / "validation.jsonl", masaki.train[-8:])
    for name in ("test.jsonl", "persona.yaml"):
        shutil.copy(masaki.folder / name, run)
    (run / "adapter").mkdir()
    save_file({"A": np.ones((4, 8), np.float32)}, run / "adapter/adapter_model.safetensors")
    (run / "adapter/adapter_config.json").write_text('{"r": 8, "lora_alpha": 16}')
    recipe = read_recipe("recommended").model_dump()
    write_text(run / "training.json", json.dumps({"recipe": recipe, "sha256": seal_adapter(run, recipe)}))
    return run


def test_an_adapter_that_belongs_to_its_run_is_taken(trained):
    assert check_adapter(trained) == read_training(trained)
    assert {path.stat().st_mode & 0o77 for path in (trained / "adapter").iterdir()} == {0}
    (trained / "validation.jsonl").write_text("")  # N_VALIDATION = 0
    recipe = read_training(trained)["recipe"]
    write_text(trained / "training.json", json.dumps({"recipe": recipe, "sha256": seal_adapter(trained, recipe)}))
    check_adapter(trained)


def test_the_order_of_a_set_is_in_no_file(trained, tmp_path):
    """PEFT writes modules' names as a set has them; Python orders one anew in each process."""
    recipe, sealed, kept = read_training(trained)["recipe"], [], []
    for modules in (["v_proj", "q_proj", "o_proj"], ["o_proj", "v_proj", "q_proj"]):
        settings = json.dumps({"r": 8, "base_model_name_or_path": "/home/me/model", "target_modules": modules})
        (trained / "adapter/adapter_config.json").write_text(settings)
        sealed.append(seal_adapter(trained, recipe))
        checkpoints = Checkpoints(tmp_path / modules[0], {})
        written = checkpoints.staging / "checkpoint-1"
        written.mkdir(parents=True)
        (written / "adapter_config.json").write_text(settings)
        (written / "trainer_state.json").write_text('{"best_model_checkpoint": null}')
        checkpoints.keep(1, True, 1.0, None)
        kept.append((tmp_path / modules[0] / "checkpoint-1/manifest.json").read_text())
    assert sealed[0] == sealed[1] and kept[0] == kept[1]
    code = "from persona_ft.evaluate.stylometry import learn_features\n"
    code += "print([f.name for f in learn_features(['「はい」！(笑)'] * 3, ['はい。'] * 3)])"
    told = {
        subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in "0123"
    }
    assert len(told) == 1


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("adapter/adapter_model.safetensors", "adapter's weights"),
        ("adapter/adapter_config.json", "adapter's settings"),
        ("train.jsonl", "training pairs"),
        ("validation.jsonl", "validation pairs"),
        ("test.jsonl", "test questions"),
    ],
)
def test_one_flipped_bit_is_noticed_and_named(trained, file, named):
    raw = bytearray((trained / file).read_bytes())
    raw[len(raw) // 2] ^= 1
    (trained / file).write_bytes(raw)
    with pytest.raises(PersonaError, match=f"not as they were when the adapter was saved: {named}$|{named}\n") as told:
        check_adapter(trained)
    assert "03_train_qlora again" in told.value.remedy
    if file.endswith(".jsonl"):
        check_adapter(trained, data=False)
    else:
        with pytest.raises(PersonaError):
            check_adapter(trained, data=False)


def test_another_persons_data_prompt_or_recipe_is_refused(trained, tmp_path, masaki):
    for name in ("train.jsonl", "test.jsonl", "persona.yaml"):
        shutil.copy(ROOT / "tests/personas/hana" / name, trained)
    with pytest.raises(PersonaError, match="training pairs, test questions, prompt"):
        check_adapter(trained)
    with pytest.raises(PersonaError, match="saved: prompt"):
        check_adapter(trained, data=False)
    shutil.copy(masaki.folder / "persona.yaml", trained)
    training = read_training(trained)
    training["recipe"]["lora_r"] = 9
    write_text(trained / "training.json", json.dumps(training))
    with pytest.raises(PersonaError, match="recipe"):
        check_adapter(trained, data=False)


def test_a_damaged_record_and_a_swapped_adapter_are_named(trained):
    whole = (trained / "training.json").read_bytes()
    for torn in (b"", whole[:200], b"[]", b'{"sha256": 3}', b'{"recipe": {}}'):
        (trained / "training.json").write_bytes(torn)
        with pytest.raises(PersonaError, match=r"training.json or .* is damaged or missing"):
            check_adapter(trained)
    note = (trained / "adapter/identity.json").read_bytes()
    for path, empty in (("training.json", json.loads(whole) | {"sha256": {}}), ("adapter/identity.json", {})):
        write_text(trained / path, json.dumps(empty))
    with pytest.raises(PersonaError, match="not as they were"):
        check_adapter(trained)
    (trained / "training.json").write_bytes(whole)
    (trained / "adapter/identity.json").write_bytes(note)
    note = json.loads((trained / "adapter/identity.json").read_text())
    write_text(trained / "adapter/identity.json", json.dumps(note | {"recipe": "0"}))
    with pytest.raises(PersonaError, match="of two trainings"):
        check_adapter(trained)
    shutil.rmtree(trained / "adapter")
    with pytest.raises(PersonaError, match="run notebook 03_train_qlora"):
        check_adapter(trained)


def test_a_test_question_that_was_trained_on_is_refused(trained):
    pairs, test = read_jsonl(trained / "train.jsonl"), read_jsonl(trained / "test.jsonl")
    write_jsonl(trained / "train.jsonl", [*pairs, test[0].model_copy(update={"id": None, "facts": []})])
    recipe = read_training(trained)["recipe"]
    write_text(trained / "training.json", json.dumps({"recipe": recipe, "sha256": seal_adapter(trained, recipe)}))
    with pytest.raises(PersonaError, match="1 test questions are nearly the same as training questions"):
        check_adapter(trained)


def test_another_projects_folder_is_not_taken_for_ours(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    assert repository_root() == ROOT


@pytest.mark.parametrize("name", ["a\0b", "a\udcffb", "x" * 256, "あ" * 90, "/x" * 2500, "~nobody-of-that-name/runs"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(PersonaError, match="cannot be the name of a file or folder"):
        resolve(name)


def test_a_loop_of_links_is_one_clear_error(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(PersonaError, match="the run folder cannot be written to"):
        run_folder(tmp_path / "loop/run")
    assert shown(tmp_path / "loop") == "loop"


def test_the_notebooks_own_folder_is_no_run_folder():
    with pytest.raises(PersonaError, match="the notebooks themselves are here"):
        execute(["01_inference"], ROOT / "notebooks", {})


def test_run_folders_are_the_owners_and_what_a_kill_left_is_swept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run = run_folder(tmp_path / "run")
    assert run.stat().st_mode & 0o777 == 0o700
    (run / "answers").mkdir()
    left = run / f"answers/.base.json.{dead.pid}.x1y2.part"
    alive = run / f".training.json.{os.getpid()}.x1y2.part"
    for path in (left, alive, run / ".mine.part"):
        path.write_text("half")
    run_folder(run)
    assert not left.exists() and alive.exists() and (run / ".mine.part").exists()


@pytest.fixture
def shell(tmp_path):
    """An IPython as in a live kernel, with a history file of its own."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.hist_file = str(tmp_path / "history.sqlite")
    shell = InteractiveShell.instance(config=config)
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('SEED = -1  # @param {type:"integer"}', "SEED = -1 cannot be used"),
        ('SEED = 2**32  # @param {type:"integer"}', "from 0 to 4,294,967,295"),
        ('N_TEST = "many"  # @param {type:"integer"}', "N_TEST = 'many'"),
        ('BATCH_SIZE = True  # @param {type:"integer"}', "BATCH_SIZE = True"),
        ('TEMPERATURE = float("nan")  # @param {type:"number"}', "TEMPERATURE is a number from 0 on"),
        ('RESTART = "no"  # @param {type:"boolean"}', "True or False"),
        ('PERSONA = 2024  # @param {type:"string"}', "a text, in quotes"),
        ('RUN = "runs/me"  # @param {type:"string"}', None),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_named(shell, line, said):
    shell.run_cell(line, store_history=True)
    if said is None:
        return check_parameters()
    with pytest.raises(PersonaError) as told:
        check_parameters()
    assert said in str(told.value)


@pytest.mark.parametrize("name", LESSONS)
def test_every_default_is_of_its_own_kind(shell, name):
    for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells:
        if PARAMETER_TAGS & set(cell.metadata.get("tags", [])):
            shell.run_cell(cell.source, store_history=True)
    assert "# @param" in shell.user_ns["In"][-1]
    check_parameters()


def test_what_is_typed_is_not_kept_in_ipythons_history(shell, tmp_path):
    shell.run_cell("open_before = 1", store_history=True)
    _forget_what_is_typed()
    shell.run_cell('ME = "山田太郎"', store_history=True)
    assert any("山田太郎" in cell for cell in shell.user_ns["In"])  # check_parameters reads them there
    shell.history_manager.writeout_cache()
    assert "山田太郎".encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("history.sqlite*"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_epochs", 1e308),
        ("num_epochs", float("inf")),
        ("lora_r", 10**9),
        ("lora_r", 10**400),
        ("seed", -1),
        ("seed", 2**64),
        ("learning_rate", float("nan")),
        ("batch_size", 10**30),
        ("max_length", 10**12),
    ],
)
def test_absurd_values_of_a_recipe_are_named(setting, value):
    with pytest.raises(PersonaError, match=f"^{setting.upper()}: "):
        read_recipe("recommended").changed(**{setting: value})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nsystem_prompt: b\nfirst_person: 2024-13-45\n", 3),
        ("name: a\nhabits: [" + "9" * 5000 + "]\n", 2),
        ("name: [[[[", 1),
        ("x: !!python/object/apply:os.system [id]", 1),
        ("name: " + "[" * 1500, None),
        ("- a", None),
        ('name: "a\0b"', None),
    ],
)
def test_a_broken_value_in_yaml_is_named_with_its_line(tmp_path, text, line):
    path = tmp_path / "persona.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError) as told:
        read_profile(path)
    assert (told.value.path, told.value.line) == (path, line)


def test_a_terminal_is_shown_control_characters_and_not_sent_them(tmp_path):
    name = "花\x1b]0;owned\x07\u202e子"
    assert visible(name) == "花\\x1b]0;owned\\x07\\u202e子"
    assert (
        str(PersonaError(f"nobody is called {name}", "look")).isprintable() is False
    )  # the line end before the remedy
    assert "\x1b" not in str(PersonaError(f"nobody is called {name}", "look"))
    assert shown(tmp_path / "a\x1b[2Jb") == "a\\x1b[2Jb"


# What a chat message, a name or an answer may hold.
TAGS = [
    '<script>{0}</script>', '<img src=x onerror="{0}">', "<svg/onload={0}>", '<a href="javascript:{0}">x</a>',
    '<iframe srcdoc="<script>{0}</script>"></iframe>', '"><b onmouseover={0}>', "<body onload={0}>",
    "</td></tr></table><script>{0}</script>", "<details open ontoggle={0}>", "$\\href{{javascript:{0}}}{{x}}$",
    "<style>@import '{0}'</style>", "<!--><img src=x onerror={0}>-->",
]  # fmt: skip
PAYLOADS = [
    tag.format(do) for tag in TAGS for do in ("alert(1)", "document.title='P'", "eval(name)", "`${1}`", "top.x=1")
]


class Live(HTMLParser):
    """Counts what would run in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.tables = 0, []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        runs = [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "").lower()]
        self.found += len(runs) + (tag in ("script", "iframe", "svg", "details", "object", "embed"))
        if tag == "table":
            self.tables.append(dict(attrs).get("class") or "")


def test_no_payload_runs_in_an_executed_notebooks_page(shell):
    """Tables, headers, indices, their names, printed text and errors of 60 payloads, in a page made by nbconvert."""
    import pandas as pd
    from nbconvert import HTMLExporter

    def page(words: list[str]) -> Live:
        notebook = nbformat.v4.new_notebook()
        for word in words:
            frame = pd.DataFrame({word: [word], "b": [word]}, index=pd.Index([word], name=word))
            frame.columns.name = word
            cell = nbformat.v4.new_code_cell(f"{word!r}")
            for shown_as in (text_table(frame), frame, word):
                data, metadata = shell.display_formatter.format(shown_as)
                cell.outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))
            cell.outputs.append(nbformat.v4.new_output("stream", text=word))
            told = {"ename": "PersonaError", "evalue": word, "traceback": [word]}
            cell.outputs.append(nbformat.v4.new_output("error", **told))
            notebook.cells.append(cell)
        return Live(HTMLExporter().from_notebook_node(notebook)[0])

    assert len(PAYLOADS) == 60
    harmless, hostile = page(["元気"] * 60), page(PAYLOADS)
    assert len(hostile.tables) == 120 and all("mathjax_ignore" in table for table in hostile.tables)
    assert hostile.found == harmless.found


def test_a_formula_in_somebodys_words_is_no_formula_in_a_figure():
    words = ["$\\frac{1}$ だよ" * 3, "$x^$ $$"] * 4
    figure = plot_expressions(characteristic(words, ["元気"] * 8), {})
    figure.canvas.draw()


@pytest.fixture
def model_copy(tmp_path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def test_a_model_that_is_whole_is_taken(model_copy):
    check_model(model_copy)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("(m / 'model.safetensors').rename(m / 'pytorch_model.bin')", "pickles, which can run any code"),
        ("(m / 'model.safetensors').unlink()", "the weights are missing"),
        ("os.truncate(m / 'model.safetensors', 100_000)", "weights are cut off or damaged"),
        ("os.truncate(m / 'model.safetensors', 5)", "weights are cut off or damaged"),
        ("(m / 'config.json').write_text('{')", "config.json: the file is cut off or damaged"),
        ("(m / 'tokenizer_config.json').write_text('[]')", "tokenizer_config.json: the file is cut off"),
        ("(m / 'config.json').write_text('{\"model_type\": \"llama\"}')", "the model is llama"),
        ('(m / \'config.json\').write_text(\'{"auto_map": {"AutoConfig": "x.Y"}}\')', "run code of its own"),
        ('(m / \'model.safetensors.index.json\').write_text(\'{"weight_map": {"a": "b.safetensors"}}\')', "missing"),
    ],
)
def test_a_model_that_would_run_code_or_is_not_whole_is_refused_in_a_sentence(model_copy, damage, said):
    exec(damage, {"m": model_copy, "os": os})
    with pytest.raises(PersonaError, match=said):
        check_model(model_copy)


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{% include '/etc/passwd' %}", "{{ 1 / 0 }}", "{% if %}"],
)
def test_a_template_that_reaches_out_is_refused_in_a_sentence(tokenizer, template, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(PersonaError, match="chat template failed"):
        render_prompt(tokenizer, [{"role": "user", "content": "元気？"}])
