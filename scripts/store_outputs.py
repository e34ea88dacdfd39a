"""Execute the notebooks on the tiny model and keep their outputs in notebooks/, so that a page shows what they show.

    python scripts/store_outputs.py            # make notebooks: about 5 minutes on 2 cores
    python scripts/store_outputs.py --check    # do the stored outputs belong to the code and data of today?

What differs from one run to the next is taken out: times, rates, the machine's memory, random ids in tables. A digest
of the code, the parameters and the data that the outputs come from stands in each notebook's metadata.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import parameters
import twins

from persona_ft.io import digest, file_digest
from persona_ft.notebook.run import FROM_CHATS, LESSONS, ONE_SITTING, execute

ROOT = Path(__file__).resolve().parents[1]
DATA = ["data/masaki/persona.yaml", "data/masaki/train.jsonl", "data/masaki/test.jsonl", "data/questions.jsonl"]
DATA += [
    "data/chats/line_phone.txt",
    "data/general.jsonl",
    "data/tiny-gpt-oss/model.safetensors",
    "data/tiny-gpt-oss/tokenizer.json",
]
DATA += [
    "src/persona_ft/train/recipes/article.yaml",
    "src/persona_ft/train/recipes/recommended.yaml",
    "src/persona_ft/train/gpus.yaml",
]
# Where a run is stored while it is made, and where a reader's would be.
SCRATCH, SHOWN = "stored-outputs", "runs/mine"
# The picture that the READMEs show: a cell's first figure.
PICTURE, PICTURED = ROOT / "docs/base-against-tuned.png", ("04_compare", "04-25")
VARIES = [
    (re.compile(r"^.*Unsloth \(CPU\):.*\n|^.*Unsloth [\d.]+: no GPU found.*\n", re.M), ""),
    (re.compile(r"  [\d,]+ tokens/s  .*? left(?:  no GPU, no units)?"), ""),
    (re.compile(r"(machine: CPU), [\d.]+ GiB"), r"\1"),
    (re.compile(r"\d+ (?:min \d+ )?s, [\d.]+ s a step with evaluations"), "(differs from run to run)"),
    (re.compile(r"<pandas\.io\.formats\.style\.Styler at 0x[0-9a-f]+>"), "a table"),
]


def made_from(name: str) -> str:
    """Digest of what a notebook's outputs come from: its code, that of those before it, and the data."""
    code = []
    for earlier in [name] if name in (ONE_SITTING, FROM_CHATS) else LESSONS[1 : LESSONS.index(name) + 1]:
        cells = nbformat.read(ROOT / f"notebooks/{earlier}.ipynb", as_version=4).cells
        code += [cell.source for cell in cells if cell.cell_type == "code"]
    code = [re.sub(r'(?<=REPOSITORY = ")[^"]*', "", source) for source in code]  # `make links` changes no output
    return digest(*code, *(file_digest(ROOT / path) for path in DATA))


def normalised(text: str) -> str:
    """Without what differs from run to run."""
    for pattern, instead in VARIES:
        text = pattern.sub(instead, text)
    return text.replace(f"runs/{SCRATCH}", SHOWN)


def smaller(picture: str) -> str:
    """A figure, in base64, with a palette of 64 colours: a third of the bytes, and the eye sees no difference."""
    from PIL import Image

    image, kept = Image.open(io.BytesIO(base64.b64decode(picture))), io.BytesIO()
    image.convert("RGB").quantize(64).save(kept, "png", optimize=True)
    return base64.b64encode(kept.getvalue()).decode("ascii") + "\n"


def clean(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """One output as it is stored."""
    if output.output_type == "stream":
        output.text = normalised(output.text)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = normalised(content)
        elif kind == "image/png":
            output.data[kind] = smaller(content)
    if "data" in output:
        output.metadata = {}
    return output


def numbered_tables(text: str) -> str:
    """A styled table's id is drawn at random: number them instead, in their order."""
    names: dict[str, str] = {}
    pattern = r"\bT_[0-9a-f]{5}(?![0-9a-z])"
    return re.sub(pattern, lambda m: names.setdefault(m[0], f"T_t{len(names) + 1:02d}"), text)


def store(name: str, executed: nbformat.NotebookNode) -> int:
    """Put the outputs of an executed notebook into the one in notebooks/; its size in bytes."""
    path = ROOT / f"notebooks/{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    ran = {cell.id: cell for cell in executed.cells}
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            number += 1
            cell.execution_count = number
            cleaned = (clean(output) for output in ran[cell.id].outputs)
            cell.outputs = [o for o in cleaned if o.get("text") != ""]
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = number
    notebook.metadata["made_from"] = made_from(name)
    path.write_text(numbered_tables(nbformat.writes(notebook)) + "\n", encoding="utf-8")
    return path.stat().st_size


def pictured() -> bytes:
    """The figure for the READMEs, out of notebook 04."""
    name, wanted = PICTURED
    (cell,) = [c for c in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells if c.id == wanted]
    return next(base64.b64decode(o.data["image/png"]) for o in cell.outputs if "image/png" in o.get("data", {}))


def stale() -> list[str]:
    """Notebooks whose code or data changed since their outputs were stored."""
    read = {name: nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4) for name in LESSONS}
    return [name for name, notebook in read.items() if notebook.metadata.get("made_from") != made_from(name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether they are fresh")
    if parser.parse_args().check:
        if old := stale():
            sys.exit(f"changed since their outputs were stored: {', '.join(old)}. Run: make notebooks")
        return
    import torch

    if torch.cuda.is_available():
        sys.exit("the stored outputs are those of the tiny model on a CPU: run this with CUDA_VISIBLE_DEVICES=''")
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as folder:
        run = Path(folder, SCRATCH)
        run.mkdir()
        execute(list(LESSONS), run, {})
        where = f"runs/{Path(folder).name}/{SCRATCH}"
        for name in LESSONS:
            text = (run / f"{name}.ipynb").read_text(encoding="utf-8").replace(where, f"runs/{SCRATCH}")
            print(f"notebooks/{name}.ipynb  {store(name, nbformat.reads(text, as_version=4)) / 1000:.0f} kB")
    for name in LESSONS:
        twins.write(name)
    parameters.TARGET.write_text(parameters.page(), encoding="utf-8")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(pictured())


if __name__ == "__main__":
    main()
