"""comparison.json written and read, and the versions of the stack."""

from contextlib import suppress
from importlib import metadata
from pathlib import Path

import yaml

from persona_ft.errors import PersonaError
from persona_ft.evaluate.schema import Comparison
from persona_ft.io import write_text
from persona_ft.paths import shown

STACK = yaml.safe_load(Path(__file__).with_name("stack.yaml").read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """Installed versions of the stack; a package that is missing is left out."""
    found = {}
    for name in STACK:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def write_comparison(path: Path | str, comparison: Comparison) -> Path:
    """Write comparison.json; its schema is :class:`~persona_ft.evaluate.schema.Comparison`."""
    return write_text(path, comparison.model_dump_json(indent=1) + "\n")


def read_comparison(path: Path | str) -> Comparison:
    """Read what :func:`write_comparison` wrote; PersonaError where it is missing or no comparison of this version."""
    path = Path(path)
    try:
        return Comparison.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = "there is no comparison" if isinstance(error, OSError) else "this is no comparison of this version"
        raise PersonaError(reason, "run notebook 04_compare again, with the same RUN", shown(path)) from error
