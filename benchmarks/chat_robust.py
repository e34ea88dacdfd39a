"""What readers and detectors do with a stranger's bytes: mutated exports of every form, and how time grows with size.

    python benchmarks/chat_robust.py --mutations 100000     # hours on one core; 1000 by default, some minutes
    python benchmarks/chat_robust.py --growth               # seconds at four sizes, for the texts that once were slow

Each mutated file must give messages or one ``PersonaError``; anything else is printed with its seed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from persona_ft.chat.likely import likely_names
from persona_ft.chat.messages import Funnel
from persona_ft.chat.pairing import Pairing, pairs_of
from persona_ft.chat.privacy import Privacy
from persona_ft.chat.read import read_chat
from persona_ft.errors import PersonaError
from test_chat_fuzz import FORMS, PIECES

SIZES = (10_000, 20_000, 40_000, 80_000)
TEXTS = {
    "PASSWORD": "AKEY",
    "ADDRESS_LOOSE": "1 a",
    "NOT_TAGS": "a'",
    "addresses in Latin letters": "Aa-ku, ",
    "keys": "aA1-",
    "kana": "ア",
    "kanji": "山",
    "dates of birth": "誕生日 ",
    "one-time codes": "認証コード",
    "capitals": "Aa ",
    "numbers": "1 ",
    "spaces": " ",
}
LINE = "[LINE] A\n保存日時：1\n\n2024/01/15(月)\n9:05\tA\thi\n"
FILES: dict[str, tuple[str, Callable[[int], str]]] = {
    "blank continuation lines": ("t.txt", lambda n: LINE + "\n" * n),
    "quotes that stay open": ("t.txt", lambda n: LINE + '9:05\tA\t"hi\nx\n' * (n // 12)),
    "day equals month": ("t.csv", lambda n: "time,speaker,text\n" + "3/3/2024 9:05,a,b\n" * (n // 18)),
    "deep JSON": ("r.json", lambda n: '{"type": "personal_chat", "messages": ' + "[" * n),
    "many objects": ("r.json", lambda n: '{"type": "personal_chat", "messages": [' + '{"a": [[[1]]]},' * (n // 15)),
}


def seconds(what: Callable[[], object]) -> float:
    """Processor time of a call; an error that it is meant to give is part of it."""
    started = time.process_time()
    with suppress(PersonaError):
        what()
    return time.process_time() - started


def read_whole(path: Path) -> None:
    """Read a file to its end."""
    for _ in read_chat(path):
        pass


def growth(folder: Path) -> None:
    """A table of seconds at each size."""
    print("| what | " + " | ".join(f"{n:,}" for n in SIZES) + " |\n|---|" + "---|" * len(SIZES))
    for name, piece in TEXTS.items():
        texts = ["1 " + piece * (n // len(piece)) + " 090-1234-5678" for n in SIZES]
        times = [seconds(lambda t=text: Privacy().find(t)) for text in texts]
        print(f"| {name} | " + " | ".join(f"{t:.2f}" for t in times) + " |", flush=True)
    texts = ["田辺さんと Ann Lee に会った。" * (n // 18) for n in SIZES]
    print("| likely names | " + " | ".join(f"{seconds(lambda t=t: list(likely_names(t))):.2f}" for t in texts) + " |")
    for name, (file, content) in FILES.items():
        times = []
        for n in SIZES:
            path = folder / file
            path.write_text(content(10 * n), encoding="utf-8")
            times.append(seconds(partial(read_whole, path)))
        print(f"| {name}, ten times the size | " + " | ".join(f"{t:.2f}" for t in times) + " |", flush=True)


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Some pieces put in, in place of others or between."""
    for _ in range(draw.randint(1, 6)):
        at, length = draw.randrange(len(content) + 1), draw.choice((0, 0, 1, 3, 40))
        content = content[:at] + draw.choice((*PIECES, draw.randbytes(3))) + content[at + length :]
    return content


def mutations(folder: Path, n: int) -> int:
    """Try ``n`` mutated files of each form; how many gave anything else than messages or one clear error."""
    wrong = 0
    print("| form | messages | one clear error | anything else | slowest, s |\n|---|---|---|---|---|")
    for form, (name, content) in FORMS.items():
        ends, slowest = Counter[str](), 0.0
        for seed in range(n):
            path = folder / name
            path.write_bytes(mutate(content.encode() if isinstance(content, str) else content, random.Random(seed)))
            started = time.process_time()
            try:
                list(pairs_of(read_chat(path), Pairing(frozenset({"まさき"})), Funnel()))
                ends["messages"] += 1
            except PersonaError:
                ends["error"] += 1
            except Exception as error:  # the finding
                ends["else"] += 1
                print(json.dumps([form, seed, repr(error)[:200]]), file=sys.stderr)
            slowest = max(slowest, time.process_time() - started)
        wrong += ends["else"]
        print(f"| {form} | {ends['messages']} | {ends['error']} | {ends['else']} | {slowest:.2f} |", flush=True)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--growth", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.growth:
            growth(Path(folder))
        else:
            sys.exit(bool(mutations(Path(folder), options.mutations)))


if __name__ == "__main__":
    main()
