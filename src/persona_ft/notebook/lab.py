"""Copies of the notebooks in a run folder, with its parameters set, to be opened in JupyterLab (make lab)."""

import json
import re
from pathlib import Path

from persona_ft.notebook.run import PARAMETER_TAGS, notebooks_folder


def copy_notebooks(run: Path, given: dict[str, str], notebooks: str = "notebooks") -> list[Path]:
    """Copy what is not there yet, with each given parameter in the cells that have it; returns the copies."""
    import nbformat

    copies = []
    for path in sorted(notebooks_folder(notebooks).glob("*.ipynb")):
        if (run / path.name).exists():
            continue
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if PARAMETER_TAGS & set(cell.metadata.get("tags", [])):
                for name, value in given.items():
                    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
                    old = rf"^{name} = .*?(?=  # @param|$)"
                    cell.source = re.sub(old, lambda _, line=line: line, cell.source, flags=re.M)
        nbformat.write(notebook, run / path.name)
        (run / path.name).chmod(0o600)
        copies.append(run / path.name)
    return copies
