"""Other people's voices: an answer is this person's when it is nearer to the person than to all of them (the general
impostors method; Koppel and Winter, 2014, doi:10.1002/asi.22954)."""

from persona_ft.conversation import Conversation
from persona_ft.io import read_rows
from persona_ft.paths import resolve


def read_voices(language: str) -> dict[str, list[str]]:
    """The invented people of ``data/voices`` who write a language: name -> answers; none for one that has none there.
    PersonaError names file and line of what cannot be used."""
    paths = sorted(resolve("data/voices").glob(f"{language}_*.jsonl"))
    read = {path: read_rows(path, Conversation, "get it back with git").values() for path in paths}
    return {path.stem.split("_", 1)[1]: [pair.answer for pair in pairs] for path, pairs in read.items()}
