"""The first cell: what it would install and what it leaves alone; the address; the standalone notebooks."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import nbformat
import pytest
from conftest import ROOT
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from persona_ft.notebook.install import PROTECTED, InstallError, Row, advice, install_missing, read_wanted, ready, table
from persona_ft.notebook.run import LESSONS, PARAMETER_TAGS, parameters_of
from persona_ft.train.recipe import read_recipe


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def bootstrap_cell(name: str) -> str:
    cells = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if "bootstrap" in cell.metadata.get("tags", [])]
    assert next(c for c in cells if c.cell_type == "code") is cell, "it comes before any other code"
    return cell.source


def test_every_notebook_begins_with_the_same_cell():
    assert len({bootstrap_cell(name) for name in LESSONS}) == 1


def test_nothing_is_installed_where_everything_is_there():
    rows = install_missing(with_gpu=False)
    assert len(rows) > 30 and not any(row.installed for row in rows)
    assert advice(rows) == "ready: no restart is needed" and table(rows).startswith(f"{len(rows)} of {len(rows)}")


def test_no_package_on_the_list_is_one_that_the_kernel_stands_on():
    names = {canonicalize_name(package.name) for package in read_wanted()}
    assert not names & set(PROTECTED)


@pytest.mark.parametrize(
    ("name", "version", "accepted"),
    [
        ("datasets", "4.0.0", False),
        ("datasets", "4.7.0", True),
        ("pyarrow", "18.1.0", False),
        ("transformers", "5.15.0", True),
        ("transformers", "5.18.0", False),
        ("transformers", "4.57.6", False),
        ("dill", "0.3.8", True),
        ("dill", "0.4.2", False),
        ("unsloth", "2026.10.8", False),
        ("xxhash", "4.0.1", True),
        ("trl", None, False),
    ],
)
def test_what_is_good_enough(name, version, accepted):
    (package,) = [p for p in read_wanted() if p.name == name]
    assert package.accepts(version) is accepted


@pytest.mark.parametrize("runtime", ["current", "2026.07"])
def test_the_pins_fit_the_images(runtime):
    """Of what the image has, little is replaced, and nothing that is protected."""
    lines = (ROOT / f"scripts/colab/{runtime}.txt").read_text(encoding="utf-8").splitlines()
    image = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    assert set(PROTECTED) <= set(image)
    wanted = {canonicalize_name(p.name): p for p in read_wanted()}
    replaced = {name for name, p in wanted.items() if name in image and not p.accepts(image[name].split("+")[0])}
    assert replaced == {"datasets", "pyarrow", "torchao"}


def test_a_loaded_package_wants_a_restart_and_says_why():
    rows = [Row("datasets", "4.0.0", "4.8.5", True), Row("trl", None, "1.15.0", False)]
    assert "an older datasets is loaded" in advice(rows) and "trl" not in advice(rows)
    assert table(rows).splitlines()[0].split() == ["datasets", "4.0.0", "→", "4.8.5"]


def test_an_older_version_in_memory_stops_the_cell_every_time(monkeypatch):
    import trl

    ready()
    monkeypatch.setattr(trl, "__version__", "0.1.0")
    for _ in range(2):
        with pytest.raises(InstallError, match="Restart the runtime, then run from the top: an older trl"):
            ready()


def test_pip_that_fails_is_a_clear_error(monkeypatch):
    import persona_ft.notebook.install as bootstrap

    missing = bootstrap.Wanted("persona-ft-no-such-package", "1", SpecifierSet())
    monkeypatch.setattr(bootstrap, "read_wanted", lambda: [missing])
    with pytest.raises(InstallError, match="Check the network"):
        install_missing(with_gpu=False)


def test_the_address_is_the_same_everywhere():
    links = script("links")
    for path in links.ours():
        assert links.with_links(path, links.repository()) == path.read_text(encoding="utf-8"), f"{path}: run make links"
    address = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    assert f'REPOSITORY = "{address}"' in bootstrap_cell(LESSONS[0])
    other = links.with_links(ROOT / "notebooks/01_inference.ipynb", "somebody/else")
    assert "https://github.com/somebody/else" in other and "github/somebody/else/blob/main" in other
    assert links.repository() not in other


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive, without git")
def test_another_address_leaves_outputs_and_translations_as_they_are(tmp_path):
    """`make links` in a copy: neither are the stored outputs stale then, nor the Japanese twins behind."""
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    for name in ("scripts", "notebooks", "docs", "src"):  # as they are here, committed or not
        shutil.copytree(ROOT / name, copy / name, dirs_exist_ok=True)
    for command in (["links.py", "somebody/else"], ["store_outputs.py", "--check"], ["twins.py"]):
        done = subprocess.run(
            [sys.executable, f"scripts/{command[0]}", *command[1:]], cwd=copy, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    for path in [*copy.glob("notebooks/**/*.ipynb"), *copy.glob("README*.md")]:
        text = path.read_text(encoding="utf-8")
        assert "OWNER" not in text and "somebody/else" in text, path


def test_a_standalone_notebook_brings_everything_and_nothing_private(tmp_path):
    standalone = script("standalone")
    packed = standalone.payload()
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert {
        "src/persona_ft/notebook/install.py",
        "src/persona_ft/notebook/colab.txt",
        "data/masaki/train.jsonl",
    } <= set(names)
    assert packed == standalone.payload(), "the same files, other bytes"
    listed = subprocess.run(["git", "ls-files", "src", "data"], cwd=ROOT, capture_output=True, text=True)
    tracked = listed.stdout.split()
    if tracked:  # not in an unpacked archive of the repository
        assert set(names) - {"notebooks/.keep", "LICENSE"} <= set(tracked)
    notebook = json.loads(standalone.standalone(ROOT / "notebooks/02_build_dataset.ipynb", packed))
    text = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert "](../" not in text
    japanese = json.loads(standalone.standalone(ROOT / "notebooks/ja/02_build_dataset.ipynb", packed))
    assert not any("](../" in "".join(cell["source"]) for cell in japanese["cells"] if cell["cell_type"] == "markdown")
    cell = "".join(notebook["cells"][1]["source"]).replace("ready()", "print(Path.cwd().name)")
    code = f"{cell}\nfrom persona_ft.paths import resolve\nprint(resolve('data/masaki/train.jsonl').resolve())"
    (tmp_path / "first.py").write_text(f"import sys\nsys.path += {sys.path!r}\n{code}", encoding="utf-8")
    # -S: without the installed persona_ft, so that the one in the notebook is found.
    done = subprocess.run([sys.executable, "-S", "first.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith(str(tmp_path / "persona_ft-"))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive, without git")
def test_ones_own_files_outputs_and_parameters_do_not_travel(tmp_path):
    """In a copy of the repository where somebody has worked."""
    copy = tmp_path / "data/privacy-work"  # a part of the path that is also the name of something left out
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    for mine in ("data/masaki/my_chat.txt", "data/me/train.jsonl", "src/persona_ft/notes.txt"):
        (copy / mine).parent.mkdir(exist_ok=True)
        (copy / mine).write_text("MY WORDS", encoding="utf-8")
    assert (
        "data"
        not in subprocess.run(["git", "status", "--short", "data"], cwd=copy, capture_output=True, text=True).stdout
    )
    path = copy / "notebooks/02b_from_chats.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["MY WORDS"]}]
    notebook["metadata"]["widgets"] = {"state": "MY WORDS"}
    path.write_text(json.dumps(notebook), encoding="utf-8")
    kept = copy / "notebooks/.ipynb_checkpoints/02b_from_chats-checkpoint.ipynb"  # JupyterLab's own copy
    kept.parent.mkdir()
    kept.write_text(
        path.read_text(encoding="utf-8").replace('CHAT = \\"\\"', 'CHAT = \\"MY WORDS\\"'), encoding="utf-8"
    )
    command = [sys.executable, "scripts/standalone.py"]
    assert subprocess.run(command, cwd=copy).returncode == 0
    assert not [made for made in (copy / "dist").rglob("*.ipynb") if "checkpoint" in str(made)]
    made = (copy / "dist/colab/02b_from_chats.ipynb").read_text(encoding="utf-8")
    packed = re.search(r'b64decode\(\\"\\"\\"([^\\]+)', made)[1]
    files = zipfile.ZipFile(io.BytesIO(base64.b64decode(packed)))
    assert "MY WORDS" not in made and len(files.namelist()) > 50
    assert not any(b"MY WORDS" in files.read(name) for name in files.namelist())
    text = path.read_text(encoding="utf-8").replace('CHAT = \\"\\"', 'CHAT = \\"me.txt\\"')
    path.write_text(text, encoding="utf-8")
    stopped = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert stopped.returncode and "02b_from_chats.ipynb are not the committed ones" in stopped.stderr


@pytest.mark.parametrize("name", LESSONS)
def test_every_parameter_is_a_field_of_a_form_and_a_plain_assignment(name):
    cells = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells
    source = "\n".join(cell.source for cell in cells if PARAMETER_TAGS & set(cell.metadata.get("tags", [])))
    fields = dict(re.findall(r"^([A-Z_]+) = .*  # @param (.+)$", source, re.M))
    defaults = parameters_of(ROOT / f"notebooks/{name}.ipynb")
    assert fields.keys() == defaults.keys() and len(fields) == len(source.splitlines())
    types = {bool: "boolean", int: "integer", float: "number", str: "string", list: "raw"}
    for parameter, form in fields.items():
        if form.startswith("{"):
            assert form == f'{{type:"{types[type(defaults[parameter])]}"}}'
        else:
            assert defaults[parameter] in json.loads(form.split("]")[0] + "]")


def test_the_table_of_parameters_is_the_notebooks():
    page = script("parameters").page()
    assert (ROOT / "notebooks/README.md").read_text(encoding="utf-8") == page, "run python scripts/parameters.py"


def test_what_a_form_gives_as_text_is_taken_as_a_number():
    changed = read_recipe("recommended").changed(lora_r="16", learning_rate="1e-4", seed="7")
    assert (changed.lora_r, changed.learning_rate, changed.seed) == (16, 1e-4, 7)


def test_a_misspelt_parameter_stops_plain_papermill(tmp_path):
    command = [sys.executable, "-m", "papermill", ROOT / "notebooks/02_build_dataset.ipynb", tmp_path / "out.ipynb"]
    command += ["--no-progress-bar", "-p", "N_VALIDATIONS", "3", "-p", "RUN", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode and "this notebook has no parameter called N_VALIDATIONS" in done.stderr
    assert "What to do: use some of ASK_BACK" in done.stderr and not (tmp_path / "train.jsonl").exists()
