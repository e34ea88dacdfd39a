"""A notebook's parameters as papermill gives them, checked."""

from __future__ import annotations

import ast

from persona_ft.errors import PersonaError


def check_parameters() -> None:
    """Refuse a parameter that this notebook does not have: papermill itself only warns of a misspelt name, and runs on.

    Both cells are found in the kernel's own history, so that it works wherever the notebook lies.

    Raises
    ------
    PersonaError
        Names what is unknown, and what there is.
    """
    from IPython import get_ipython

    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    injected = next((cell for cell in cells if cell.startswith("# Parameters\n")), "")
    known = {name for cell in cells if "# @param" in cell for name in _assigned(cell)}
    if unknown := sorted(_assigned(injected) - known):
        remedy = f"use some of {', '.join(sorted(known))}"
        raise PersonaError(f"this notebook has no parameter called {', '.join(unknown)}", remedy)


def _assigned(source: str) -> set[str]:
    """The names that a cell's plain assignments give a value to."""
    return {
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
