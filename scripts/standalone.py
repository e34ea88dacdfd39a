"""Write dist/colab/*.ipynb: the notebooks, each complete in itself, so that uploading one file to Colab is enough.

    python scripts/standalone.py

Helpers, data and the tiny model travel in each notebook's first cell, as a zip in base64: about 10 MB a notebook.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "dist/colab"
# What the notebooks read; labelled sentences and labels serve benchmarks alone.
LEFT_OUT = ("__pycache__", "data/privacy", "fact_labels.jsonl", ".egg-info")
CELL = '''#@title Unpack what travels in this notebook: helpers, data, tiny model {{ display-mode: "form" }}
import base64
import io
import sys
import zipfile
from pathlib import Path

here = Path("persona_ft-{digest}").resolve()
if not (here / "notebooks").is_dir():
    zipfile.ZipFile(io.BytesIO(base64.b64decode("""{payload}"""))).extractall(here)
if str(here / "src") not in sys.path:
    sys.path.insert(0, str(here / "src"))

from persona_ft.bootstrap import ready

ready()'''


def payload() -> bytes:
    """A zip of src/, data/ and an empty notebooks/, with the same bytes for the same files."""
    buffer = io.BytesIO()
    files = [path for folder in ("src", "data") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    shipped = [path for path in files if not any(part in path.as_posix() for part in LEFT_OUT) and _is_tracked(path)]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("notebooks/.keep"), "")
        for path in [*shipped, ROOT / "LICENSE"]:
            archive.writestr(
                zipfile.ZipInfo(path.relative_to(ROOT).as_posix()), path.read_bytes(), zipfile.ZIP_DEFLATED, 9
            )
    return buffer.getvalue()


def _is_tracked(path: Path) -> bool:
    """A person's own data in data/ must never travel: only what the repository ships does."""
    top = path.relative_to(ROOT).parts
    return top[0] == "src" or top[1] in ("README.md", "general.jsonl", "questions.jsonl", "masaki", "tiny-gpt-oss")


def standalone(path: Path, packed: bytes) -> str:
    """One notebook with the payload in its bootstrap cell, and links to files of the repository made absolute."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = f"{project['urls']['Repository']}/blob/main"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    digest = hashlib.sha256(packed).hexdigest()[:12]
    code = CELL.format(digest=digest, payload=base64.b64encode(packed).decode())
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if "bootstrap" in cell["metadata"].get("tags", []):
            source = code
        elif cell["cell_type"] == "markdown":
            source = re.sub(r"\]\(\.\./", f"]({address}/", source)
            source = re.sub(r"\]\((\d\d_\w+\.ipynb)", rf"]({address}/notebooks/\1", source)
        cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    packed = payload()
    OUT.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        target = OUT / path.name
        target.write_text(standalone(path, packed), encoding="utf-8")
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
