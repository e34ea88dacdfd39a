"""Other people's voices: an answer is this person's when it is nearer to the person than to all of them (the general
impostors method; Koppel and Winter, 2014, doi:10.1002/asi.22954)."""

import random
from collections.abc import Sequence

from persona_ft.conversation import Conversation
from persona_ft.io import read_rows
from persona_ft.paths import resolve

# Somebody of the chat is heard from so many messages up, and in no more than an invented person has: the threshold
# should not hang on one of them.
LEAST, MOST = 20, 60


def read_voices(language: str, pairs: Sequence[Conversation] = ()) -> dict[str, list[str]]:
    """Name -> texts of the invented people of ``data/voices`` who write a language, and of the other people of the chat
    that ``pairs`` were made from: what they asked. PersonaError names file and line of what cannot be used."""
    paths = sorted(resolve("data/voices").glob(f"{language}_*.jsonl"))
    read = {path: read_rows(path, Conversation, "get it back with git").values() for path in paths}
    voices = {path.stem.split("_", 1)[1]: [pair.answer for pair in answered] for path, answered in read.items()}
    asked: dict[int, list[str]] = {}
    for pair in pairs:
        if pair.asker:
            asked.setdefault(pair.asker, []).append(pair.question)
    heard = {f"of the chat, {n}": texts for n, texts in sorted(asked.items()) if len(texts) >= LEAST}
    if asked:
        print(f"other people of the chat who are heard too: {len(heard)} of {len(asked)} (from {LEAST} messages up)")
    return voices | {name: random.Random(0).sample(texts, min(MOST, len(texts))) for name, texts in heard.items()}
