"""Real things for the tests: the tiny model, the personas' files, and one run of all four notebooks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
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
EPOCHS = 3


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
            execute(list(NOTEBOOKS), run, {"MODEL": "tiny", "NUM_EPOCHS": EPOCHS})
    return run


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
