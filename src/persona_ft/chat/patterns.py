"""Regular expressions in YAML files, by name: a text, or a list of alternatives, whose first item may be flags, such as
``(?i)``. A name in braces stands for what it was given further up."""

import re
from functools import cache
from importlib.resources import files
from typing import Any


class Patterns:
    """The expressions of one file as attributes, each compiled when it is first asked for."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

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


@cache
def read_yaml(name: str) -> Any:
    """What a YAML file beside this module holds."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), loader)


@cache
def patterns(name: str) -> Patterns:
    """The expressions of a YAML file beside this module."""
    texts: dict[str, str] = {}
    for key, value in read_yaml(name).items():
        texts[key] = joined(value, texts)
    return Patterns(texts)
