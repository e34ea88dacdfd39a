"""Write dist/colab/*.ipynb: the notebooks, each complete in itself, so that uploading one file to Colab is enough.

    python scripts/standalone.py

Helpers, data and the tiny model travel in each notebook's first cell, as a zip in base64: about 7 MB a notebook.
Outputs and widgets that a notebook in your checkout holds stay behind, and parameters that you changed stop it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from persona_ft.notebook.run import PARAMETER_TAGS

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "dist/colab"
# What the notebooks read; labelled sentences and labels serve benchmarks alone, and one made-up chat is enough.
CHATS = ("line_desktop", "whatsapp", "telegram", "discord", "slack", "table")
LEFT_OUT = ("__pycache__", "data/privacy", "fact_labels.jsonl", ".egg-info", *(f"data/chats/{name}" for name in CHATS))
DATA = (
    "data/README.md",
    "data/chats/line_phone.txt",
    "data/general.jsonl",
    "data/questions.jsonl",
    "data/masaki/persona.yaml",
    "data/masaki/talk.jsonl",
    "data/masaki/test.jsonl",
    "data/masaki/train.jsonl",
    "data/tiny-gpt-oss/chat_template.jinja",
    "data/tiny-gpt-oss/config.json",
    "data/tiny-gpt-oss/generation_config.json",
    "data/tiny-gpt-oss/model.safetensors",
    "data/tiny-gpt-oss/tokenizer.json",
    "data/tiny-gpt-oss/tokenizer_config.json",
)
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

from persona_ft.notebook.install import ready

ready()'''


def payload() -> bytes:
    """A zip of src/, data/ and an empty notebooks/, with the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("notebooks/.keep"), "")
        for name in [*shipped(), "LICENSE"]:
            archive.writestr(zipfile.ZipInfo(name), (ROOT / name).read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def git(*arguments: str) -> str:
    """What git says; nothing where there is no git or no repository."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def shipped() -> list[str]:
    """The files that travel: those that git tracks, since a person's own in data/ must never; else a fixed list."""
    tracked = git("ls-files", "src", "data").splitlines()
    if not tracked:
        code = [path for path in (ROOT / "src/persona_ft").rglob("*") if path.is_file()]
        tracked = [path.relative_to(ROOT).as_posix() for path in code] + list(DATA)
    wanted = [name for name in tracked if not any(part in name for part in LEFT_OUT) and (ROOT / name).is_file()]
    if not {"src/persona_ft/notebook/install.py", *DATA} <= set(wanted):
        sys.exit("files of the repository are missing: get them back with git")
    return sorted(wanted)


def standalone(path: Path, packed: bytes) -> str:
    """One notebook with the payload in its bootstrap cell, and links to files of the repository made absolute."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = f"{project['urls']['Repository']}/blob/main"
    published = "/OWNER/" not in address  # before make links, an address leads nowhere
    notebook = json.loads(path.read_text(encoding="utf-8"))
    digest = hashlib.sha256(packed).hexdigest()[:12]
    code = CELL.format(digest=digest, payload=base64.b64encode(packed).decode())
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if "bootstrap" in cell["metadata"].get("tags", []):
            source = code
        elif cell["cell_type"] == "markdown" and not published:
            source = re.sub(r"\[!\[[^\]]+\]\(\S+\)\]\(\S+\)\n", "", source)
            source = re.sub(r"\[([^\]]+)\]\((?:(?:\.\./)+|\d\d_)[^)]*\)", r"\1", source)
        elif cell["cell_type"] == "markdown":
            source = re.sub(r"\]\((?:\.\./)+", f"]({address}/", source)
            source = re.sub(
                r"\]\((\d\d_\w+\.ipynb)", rf"]({address}/{path.parent.relative_to(ROOT).as_posix()}/\1", source
            )
        cell["source"] = source.splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    notebook["metadata"].pop("widgets", None)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def changed_parameters(path: Path) -> bool:
    """Whether the notebook's parameters are not the committed ones: names and paths of one's own would travel."""
    committed = git("show", f"HEAD:{path.relative_to(ROOT).as_posix()}")

    def parameters(text: str) -> list[str]:
        cells = json.loads(text)["cells"]
        return [c["source"] for c in cells if PARAMETER_TAGS & set(c["metadata"].get("tags", []))]

    return bool(committed) and parameters(committed) != parameters(path.read_text(encoding="utf-8"))


def main() -> None:
    # Not in every folder below: an editor keeps copies there, with parameters of one's own.
    notebooks = [path for folder in ("notebooks", "notebooks/ja") for path in sorted((ROOT / folder).glob("*.ipynb"))]
    if own := [path.name for path in notebooks if changed_parameters(path)]:
        sys.exit(
            f"the parameters in {', '.join(own)} are not the committed ones, and would travel: commit or undo them"
        )
    packed = payload()
    OUT.mkdir(parents=True, exist_ok=True)
    for path in notebooks:
        target = OUT / path.relative_to(ROOT / "notebooks")
        target.parent.mkdir(exist_ok=True)
        target.write_text(standalone(path, packed), encoding="utf-8")
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
