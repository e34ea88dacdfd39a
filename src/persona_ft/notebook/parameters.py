"""A notebook's parameters: what its cells assign, and what papermill gave, checked."""

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
    """Refuse a parameter that this notebook does not have (papermill only warns of it, and runs on), and a wrong value:
    PersonaError names it, and what there is or what it may be. Both cells are found in the kernel's own history, so
    that it works wherever the notebook lies."""
    from IPython import get_ipython

    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    injected = next((cell for cell in cells if cell.startswith("# Parameters\n")), "")
    known = {name for cell in cells if "# @param" in cell for name in assigned(cell)}
    if unknown := sorted(assigned(injected).keys() - known):
        remedy = f"use some of {', '.join(sorted(known))}"
        raise PersonaError(f"this notebook has no parameter called {', '.join(unknown)}", remedy)
    for name, kind in re.findall(r'^(\w+) = .*# @param \{type:"(\w+)"\}', "\n".join(cells), re.MULTILINE):
        said, admits = KINDS.get(kind, ("", lambda value: True))
        if not admits(value := shell.user_ns.get(name)):
            raise PersonaError(f"{name} = {repr(value)[:60]} cannot be used", f"{name} is {said}")


def assigned(source: str) -> dict[str, ast.expr]:
    """The names that a cell's plain ``NAME = value`` lines give a value to, with that value's expression."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {target.id: node.value for node in nodes for target in node.targets if isinstance(target, ast.Name)}
