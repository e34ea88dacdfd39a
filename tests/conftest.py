"""Real things for the tests: the tiny model, the personas' files, and one run of all four notebooks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from filelock import FileLock

from persona_ft.data.persona import Persona, read_persona
from persona_ft.gpt_oss.load import load_model
from persona_ft.notebook.run import NOTEBOOKS, execute

# Two tests run at once: two torches with a thread for each core on two cores are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "data/tiny-gpt-oss"
DATE = "2025-12-04"
# Fewer than the recipe's, so that all tests take minutes; the stored outputs are those of whole trainings.
EPOCHS = 2
# Tests of a group run in one process, the longest group first, so that both processes are busy until the end. A test is
# in the group of the first of these fixtures that it takes, else in that of its file.
GROUPS = dict.fromkeys(("loaded", "tuned", "merged"), "model")
GROUPS |= {"killed_run": "warm", "warm_kernels": "warm", "demo_run": "demo"}
LONGEST_FIRST = ("demo", "warm", "model", "test_grid.py", "test_training.py")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, bool]:
        """In the order of the groups, and in each what waits for the demo last: the other process is making it."""
        (group,) = item.get_closest_marker("xdist_group").args
        rank = LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)
        return rank, "demo_run" in item.fixturenames

    for item in items:
        group = next((group for fixture, group in GROUPS.items() if fixture in item.fixturenames), item.path.name)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=place)


@pytest.fixture(scope="session")
def masaki() -> Persona:
    return read_persona(ROOT / "data/masaki")


@pytest.fixture(scope="session")
def tokenizer():
    """The tiny model's tokenizer with its date frozen."""
    from transformers import AutoTokenizer

    from persona_ft.gpt_oss.harmony import freeze_date

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.chat_template = freeze_date(tokenizer.chat_template, DATE)
    return tokenizer


@pytest.fixture(scope="session")
def loaded():
    """The tiny model, loaded as the notebooks load it. Tests must not change it."""
    return load_model(TINY, length=1024)[0]


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory, worker_id) -> Path:
    """A run folder after all four notebooks on まさき。, made once for all processes. Tests must not change it."""
    base = tmp_path_factory.getbasetemp()
    run = (base if worker_id == "master" else base.parent) / "masaki"
    with FileLock(f"{run}.lock"):
        if not (run / "report.html").exists():
            run.mkdir(exist_ok=True)
            first, *others = NOTEBOOKS
            execute([first], run, {"MODEL": "tiny", "MAX_NEW_TOKENS": 64})
            execute(others, run, {"MODEL": "tiny", "NUM_EPOCHS": EPOCHS})
    return run


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> Iterator[Path]:
    """A folder for JUPYTER_PATH that makes kernels warm."""
    folder = tmp_path_factory.mktemp("kernels")
    address = folder / "address"
    warm.write_kernelspec(folder, address)
    command = [sys.executable, warm.__file__, "serve", str(address)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while not address.exists():
        assert server.poll() is None, "no warm kernels"
        time.sleep(0.1)
    yield folder
    server.communicate()


@pytest.fixture
def warm_kernels(request, monkeypatch) -> None:
    """Kernels with Unsloth imported, for a test of what comes after that; macOS does not like to be forked."""
    if sys.platform == "linux":
        monkeypatch.setenv("JUPYTER_PATH", str(request.getfixturevalue("kernels")))


@pytest.fixture
def before_experiments(demo_run, tmp_path) -> Path:
    """A run folder of one's own with what notebook 05 reads, and nothing else."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("persona.yaml", "train.jsonl", "validation.jsonl", "test.jsonl", "training.json"):
        shutil.copy(demo_run / name, run)
    return run


@pytest.fixture
def persona_copy(tmp_path) -> Path:
    """A persona folder that a test may damage."""
    return Path(shutil.copytree(ROOT / "tests/personas/hana", tmp_path / "hana"))
