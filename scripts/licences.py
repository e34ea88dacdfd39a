"""Write docs/licences.md: what runs here under which licence, out of what is installed. python scripts/licences.py"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from install import sections

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs/licences.md"
# Who uses a section of requirements.txt.
USED_BY = {
    "torch": "all",
    "base": "all",
    "gpu": "on a GPU",
    "no-deps": "notebooks, talk, talk-web; not serve, not export",
    "grid": "make grid",
    "use": "talk-web, serve, export TO=gguf",
    "site": "make site",
    "test": "make test",
}
HEAD = """# What runs under which licence

This repository's own code and text, the tiny model and まさき。's data with them, are under Apache-2.0. gpt-oss-20b is
under Apache-2.0 with OpenAI's usage policy. An adapter is made from a person's words: whose it is, and who may have
it, is for that person to say; `make export` chooses no licence.

Unsloth Zoo is under LGPL-3.0-or-later with parts under AGPL-3.0: whoever offers a service over a network that runs it
should read that licence. `make serve` and what `make export` makes do not import it; `make talk-web`, which listens to
your own machine only, does.

The table is what each installed package says of itself; `.venv/bin/python scripts/licences.py` writes it.

| package | version | licence | used by |
|---|---|---|---|
"""


def licence_of(name: str) -> tuple[str, str]:
    """A package's version and licence, by its own metadata: expression, else classifiers, else first line."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return "", "not installed here"
    named = [c.rsplit(" :: ", 1)[-1] for c in found.get_all("Classifier") or () if c.startswith("License ::")]
    first = (found.get("License") or "").strip().splitlines()[:1]
    said = found.get("License-Expression") or ", ".join(named) or (first[0] if first else "not stated")
    return found["Version"].split("+")[0], said[:100]


def page() -> str:
    """The page as Markdown."""
    wanted = sections((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    rows = [
        (name, *licence_of(name), USED_BY[section])
        for section, lines in wanted.items()
        for name in (re.split(r"[=;<>\s]", line)[0] for line in lines)
    ]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in sorted(rows))


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
