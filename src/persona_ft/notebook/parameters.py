"""A notebook's parameters as papermill gives them, checked."""

from __future__ import annotations

import ast
import math
import re

from persona_ft.errors import PersonaError

# What Colab's form calls a parameter, what that admits here, and the test of it. torch and numpy take such seeds only.
KINDS = {
    "integer": ("a whole number from 0 to 4,294,967,295", lambda value: type(value) is int and 0 <= value < 2**32),
    "number": ("a number from 0 on", lambda value: type(value) in (int, float) and 0 <= value < math.inf),
    "boolean": ("True or False", lambda value: isinstance(value, bool)),
    "string": ("a text, in quotes", lambda value: isinstance(value, str)),
}


def check_parameters() -> None:
    """Refuse a parameter that this notebook does not have (papermill only warns of it, and runs on), and a wrong value.

    Both cells are found in the kernel's own history, so that it works wherever the notebook lies.

    Raises
    ------
    PersonaError
        Names what is unknown, and what there is; or the value, and what it may be.
    """
    from IPython import get_ipython

    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    injected = next((cell for cell in cells if cell.startswith("# Parameters\n")), "")
    known = {name for cell in cells if "# @param" in cell for name in _assigned(cell)}
    if unknown := sorted(_assigned(injected) - known):
        remedy = f"use some of {', '.join(sorted(known))}"
        raise PersonaError(f"this notebook has no parameter called {', '.join(unknown)}", remedy)
    for cell in cells:
        for name, kind in re.findall(r'^(\w+) = .*# @param \{type:"(\w+)"\}', cell, re.MULTILINE):
            said, admits = KINDS.get(kind, ("", lambda value: True))
            if not admits(value := shell.user_ns.get(name)):
                raise PersonaError(f"{name} = {repr(value)[:60]} cannot be used", f"{name} is {said}")


def _assigned(source: str) -> set[str]:
    """The names that a cell's plain assignments give a value to."""
    return {
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
