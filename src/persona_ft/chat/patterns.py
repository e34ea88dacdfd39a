"""Regular expressions in YAML files, by name: a text, or a list of alternatives, whose first item may be flags, such as
``(?i)``. A name in braces stands for what it was given further up."""

import re
from typing import Any

from persona_ft.io import packaged


class Patterns:
    """The expressions of a YAML file beside this module as attributes, each compiled when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._texts: dict[str, str] = {}
        for key, value in packaged(f"chat/{name}").items():
            self._texts[key] = joined(value, self._texts)

    def __getattr__(self, name: str) -> re.Pattern[str]:
        if name.startswith("_") or name not in self._texts:
            raise AttributeError(name)
        setattr(self, name, re.compile(self._texts[name]))
        return getattr(self, name)

    def compiled(self, value: Any) -> re.Pattern[str]:
        """An expression that is not in the file but may name what is."""
        return re.compile(joined(value, self._texts))


def joined(value: Any, known: dict[str, str]) -> str:
    """A text or a list of alternatives as one expression."""
    if isinstance(value, list):
        flags, *parts = value if re.fullmatch(r"\(\?[a-z]+\)", str(value[0])) else ("", *value)
        value = flags + "|".join(map(str, parts))
    return re.sub(r"\{([A-Z][A-Z_]*)\}", lambda name: known[name[1]], str(value))
