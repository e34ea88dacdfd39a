"""What readers and detectors do with a stranger's bytes: mutated exports of every form, and how time grows with size.

    python benchmarks/chat_robust.py --mutations 100000     # some hours on one core; 1000 by default, a minute
    python benchmarks/chat_robust.py --growth               # seconds at four sizes, for every reader and detector

Each mutated file must give messages or one ``PersonaError``; anything else is printed with its seed. Every second
mutant stays text (lines are swapped, repeated and cut, words of other forms put in), so that it is not refused at its
first byte; of a zip every second one is mutated inside and packed again.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chat_forms import FORMS as WRITTEN
from chat_forms import ME, OTHER, Said, write_form
from privacy import sentences

from persona_ft.chat.importing import import_chat
from persona_ft.chat.likely import likely_names, read_likely
from persona_ft.chat.messages import ChatMessage, Funnel
from persona_ft.chat.pairing import Pairing, pairs_of
from persona_ft.chat.privacy import Privacy
from persona_ft.chat.read import read_chat
from persona_ft.conversation import Conversation, read_jsonl, write_jsonl
from persona_ft.data.persona import Fact
from persona_ft.errors import PersonaError
from persona_ft.evaluate.facts import PATTERNS, judge, says
from persona_ft.evaluate.stylometry import copied, learn_features, measure
from persona_ft.gpt_oss.harmony import as_text
from persona_ft.report.blind import read_votes
from test_chat_fuzz import FORMS, PIECES

# The forms that the tests have no broken files of.
MORE = [
    Said(datetime(2024, 1, 31, 21, i), who, text)
    for i, (who, text) in enumerate([(OTHER, "ひま？"), (ME, "ひまだよw")] * 3)
]
FORMS = FORMS | {name: (name, WRITTEN[name](MORE)) for name in ("messenger.json", "google_chat.json", "slackdump.json")}

TEXT_PIECES = (
    *[
        "\t",
        '"',
        "'",
        "{",
        "[",
        "]",
        "}",
        "null",
        "-1",
        "1e999",
        "\\",
        "\\ud800",
        "24:61",
        "2024-13-45",
        "31/02/2024,",
        "2024/02/30(金)",
        "<",
        ">",
        "(",
        "٣",
        "R9",
        ":",
        ",",
        ";",
        "午後",
    ],
    *(
        "2024/1/31",
        "[31.01.24, 21:05:01] ",
        "1/31/24, 9:05 - ",
        "9:05\tまさき\t",
        "まさき: ",
        "21:05 まさき ",
        "\r",
        "\ufeff",
    ),
    *(
        '"a":',
        '"text": 5',
        '"ts": "x"',
        "[スタンプ]",
        "\u200e",
        "\u2028",
        "\x85",
        "9" * 5000,
        "[" * 500,
        "あ" * 3000,
        "\ud800",
    ),
)
# Texts that are hard on a search: what a pattern may begin with, over and over.
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
    "numbers with hyphens": "1-",
    "spaces": " ",
    "passwords": "password ",
    "at signs": "a@",
    "dots": "a.",
    "colons": "a:",
    "titles": "Mr. ",
    "honorifics": "さん",
    "postal code": "zip ",
    "brackets": "(",
}
LINE = "[LINE] A\n保存日時：1\n\n2024/01/15(月)\n9:05\tA\thi\n"
FILES: dict[str, tuple[str, Callable[[int], str]]] = {
    "blank continuation lines": ("t.txt", lambda n: LINE + "\n" * n),
    "quotes that stay open": ("t.txt", lambda n: LINE + '9:05\tA\t"hi\nx\n' * n),
    "day equals month": ("t.csv", lambda n: "time,speaker,text\n" + "3/3/2024 9:05,a,b\n" * n),
    "deep JSON": ("r.json", lambda n: '{"type": "personal_chat", "messages": ' + "[" * n),
    "many objects": ("r.json", lambda n: '{"type": "personal_chat", "messages": [' + '{"a": [[[1]]]},' * n),
    "one long string": ("r.json", lambda n: '{"type": "personal_chat", "messages": ["' + "\\\\" * n),
    "one long message": ("w.txt", lambda n: "1/31/24, 9:05 - A: hi\n" + "x\n" * n),
}
# Of a table: a time eight times the work may take, more than eight for what a processor's caches and the clock do.
LINEAR = 11.0


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


def said(
    n: int, other: str = "今日{i}ひま？", mine: str = "ひまだよ{i}w", minutes: float = 2, who: tuple = (OTHER, ME)
) -> list:
    """A chat of n messages, a number in each so that no two are the same."""
    start, texts = datetime(2015, 1, 1), {OTHER: other, ME: mine}
    people = (who[i % len(who)] for i in range(n))
    return [Said(start + timedelta(minutes=minutes * i), p, texts[p].format(i=i)) for i, p in enumerate(people)]


def messages(rows: list) -> list[ChatMessage]:
    """As a reader gives them."""
    return [ChatMessage(row.at, row.speaker, row.text) for row in rows]


def pairing(rows: list) -> Callable[[], object]:
    """Pairing a chat that was read."""
    found = messages(rows)
    return lambda: deque(pairs_of(found, Pairing(frozenset({ME})), Funnel()), maxlen=0)


def importing(folder: Path, rows: list, n_pairs: int) -> Callable[[], object]:
    """The whole import of a chat, with as many pairs as it has."""
    path = write_form("table.csv", rows, folder)
    return lambda: import_chat(path, ME, n_pairs=min(20_000, n_pairs), similar=0)


def cases(folder: Path) -> Iterator[tuple[str, int, Callable[[int], Callable[[], object]]]]:
    """(what, the most that is tried, what makes the work of a size)."""
    for name in WRITTEN:
        yield (
            f"read {name}, messages",
            80_000,
            lambda n, name=name: partial(read_whole, write_form(name, said(n), folder)),
        )
    for what, (file, content) in FILES.items():

        def odd_file(n: int, file: str = file, content: Callable[[int], str] = content) -> Callable[[], object]:
            (folder / file).write_text(content(n), encoding="utf-8")
            return partial(read_whole, folder / file)

        yield f"read {what}", 1_000_000, odd_file
    yield "pair: question and answer", 200_000, lambda n: pairing(said(n))
    yield "pair: one speaks without a pause", 200_000, lambda n: pairing(said(n, who=(OTHER,)))
    yield (
        "pair: you go on and on after an answer",
        200_000,
        lambda n: pairing(
            [*said(2), *(row._replace(at=row.at + timedelta(hours=1)) for row in said(n, minutes=6, who=(ME,)))]
        ),
    )
    for what, piece in TEXTS.items():
        for before, behind in (("1 ", " 090-1234-5678"), ("", " x")):

            def find(n: int, piece: str = piece, before: str = before, behind: str = behind) -> Callable[[], object]:
                text = before + piece * (n // len(piece)) + behind
                return lambda: Privacy([OTHER]).find(text, offered=True)

            yield f"private data: {what}{', and no number' * (not before)}, characters", 1_000_000, find
    by_kind: dict[str, list[str]] = {}
    for row in sentences():
        for span in row["spans"]:
            by_kind.setdefault(span["kind"], []).append(row["text"])
    for kind, texts in by_kind.items():
        cut = [text[: len(text) * 2 // 3] for text in texts]
        for what, joined in ((kind, " ".join(texts)), (f"{kind}, cut off", " ".join(cut))):

            def labelled(n: int, joined: str = joined) -> Callable[[], object]:
                text = (joined * (n // len(joined) + 1))[:n]
                return lambda: Privacy([OTHER]).find(text, offered=True)

            yield f"private data: sentences with {what}, characters", 200_000, labelled
    yield (
        "likely names, characters",
        500_000,
        lambda n: lambda t="田辺さんと Ann Lee に会った。" * (n // 18): list(likely_names(t)),
    )
    phone = "090-{i:08d}にかけて"
    yield "import, pairs", 20_000, lambda n: importing(folder, said(2 * n), n)
    yield (
        "import, another number in each pair",
        20_000,
        lambda n: importing(folder, said(2 * n, other=f"{{i}} {phone}"), n),
    )
    yield (
        "import, the same number in each pair",
        20_000,
        lambda n: importing(folder, said(2 * n, other="{i} 090-1234-5678"), n),
    )
    yield (
        "import, another likely name in each pair",
        20_000,
        lambda n: importing(folder, said(2 * n, other="{i} met Ann{i} Lee"), n),
    )
    yield (
        "import, the same likely name in each pair",
        20_000,
        lambda n: importing(folder, said(2 * n, other="{i} 田辺さん"), n),
    )
    yield "read pairs", 100_000, lambda n: partial(read_jsonl, write_pairs(folder / "pairs.jsonl", n))
    yield (
        "read likely names",
        200_000,
        lambda n: partial(
            read_likely, written(folder / "likely_names.txt", "".join(f"keep\tn{i}\n" for i in range(n)))
        ),
    )
    yield (
        "read votes",
        200_000,
        lambda n: partial(
            read_votes, written(folder / "votes.jsonl", "".join(f'{{"id": "Q{i}", "vote": "A"}}\n' for i in range(n)))
        ),
    )
    answer = {
        "an answer": "そうだね、明日は行くよ。",
        "marks": "、",
        "a fact, over and over": "横浜。",
        "laughter": "w",
        "letters": "は",
    }
    fact = Fact(id="town", stated="train", ja="住まい：横浜", aliases=["横浜"], contradicted_by=["東京"])
    for what, piece in answer.items():
        for name, rule in (
            ("facts", lambda text: judge(text, fact)),
            (
                "disclosure and refusal",
                lambda text: [says(pattern, text) for pattern in PATTERNS],
            ),
            ("habits", lambda text: measure(learn_features([text] * 2, ["はい。"]), [text])),
            ("copying", lambda text: copied(text, ["そうだね、明日は行くよ。" * 8])),
            ("control words", as_text),
        ):

            def score(n: int, piece: str = piece, rule: Callable[[str], object] = rule) -> Callable[[], object]:
                text = piece * (n // len(piece)) + "x"
                return lambda: rule(text)

            yield f"score {name}: {what}, characters", 200_000, score


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_pairs(path: Path, n: int) -> Path:
    return write_jsonl(path, (Conversation.pair(f"ひま？{i}", f"ひまだよ{i}") for i in range(n)))


def growth(folder: Path, only: str = "") -> int:
    """Seconds at n, 2n, 4n and 8n, n being where it takes some hundredths of a second; how many grow faster than n."""
    worse = []
    print("| what | n | seconds at n | 2n | 4n | 8n | 8n / n |\n|---|---|---|---|---|---|---|")
    for what, most, make in cases(folder):
        if only not in what:
            continue
        n = most // (128 if what.startswith("import") else 512)  # a few pairs hide what grows with their square
        while seconds(make(n)) < 0.02 and 16 * n <= most:
            n *= 2
        times = []
        for size in (n, 2 * n, 4 * n, 8 * n):
            work = make(size)
            times.append(min(seconds(work) for _ in range(3)))
            if times[-1] > 60:
                break
        ratio = times[-1] / max(times[0], 0.002)
        mark = " **worse**" if ratio > LINEAR else ""
        worse += [what] * bool(mark)
        print(f"| {what} | {n:,} | {' | '.join(f'{t:.3f}' for t in times)} | {ratio:.1f}{mark} |", flush=True)
    print(f"worse than linear: {', '.join(worse) or 'none'}")
    return len(worse)


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Some pieces put in, in place of others or between."""
    for _ in range(draw.randint(1, 6)):
        at, length = draw.randrange(len(content) + 1), draw.choice((0, 0, 1, 3, 40))
        content = content[:at] + draw.choice((*PIECES, draw.randbytes(3))) + content[at + length :]
    return content


def mutate_text(text: str, draw: random.Random) -> str:
    """Lines swapped, repeated, cut or left out, and pieces that are text put in."""
    for _ in range(draw.randint(1, 6)):
        lines = text.split("\n")
        one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        do = draw.randrange(6)
        if do == 0:
            lines[one], lines[other] = lines[other], lines[one]
        elif do == 1:
            lines.insert(one, lines[other])
        elif do == 2:
            lines[one] = lines[one][: draw.randrange(len(lines[one]) + 1)]
        elif do == 3 and len(lines) > 1:
            del lines[one]
        else:
            line, length = lines[one], draw.choice((0, 0, 1, 3))
            at = draw.randrange(len(line) + 1)
            lines[one] = line[:at] + draw.choice(TEXT_PIECES) + line[at + length :]
        text = "\n".join(lines)
    return text


ODD_VALUES = (
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    "",
    "\0",
    "\ud800",
    "9" * 5000,
    [],
    {},
    [[]],
    {"text": None},
    "2024-13-45",
)


def mutate_json(text: str, draw: random.Random) -> str | None:
    """Values put in place of others, keys and items left out or repeated; None where it is no JSON."""
    try:
        whole = json.loads(text)
    except ValueError:
        return None
    places: list[tuple[dict | list, object]] = []

    def walk(value: object) -> None:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            places.append((value, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk(whole)
    for _ in range(min(len(places), draw.randint(1, 4))):
        parent, key = draw.choice(places)
        if not (key in parent if isinstance(parent, dict) else key < len(parent)):
            continue
        do = draw.randrange(4)
        if do == 0:
            del parent[key]
        elif do == 1 and isinstance(parent, list):
            parent.insert(0, parent[key])
        else:
            parent[key] = draw.choice(ODD_VALUES)
    return json.dumps(whole, ensure_ascii=bool(draw.randrange(2)))


def inside(text: str, draw: random.Random) -> bytes:
    """A text, or every second time a JSON as such, mutated."""
    changed = mutate_json(text, draw) if draw.randrange(2) else None
    return (changed or mutate_text(text, draw)).encode("utf-8", "surrogatepass")


def mutant(content: str | bytes, seed: int) -> bytes:
    """The file of a seed: bytes for an even one; for an odd one text, or what is inside of a zip."""
    draw, raw = random.Random(seed), content.encode() if isinstance(content, str) else content
    if seed % 2 and isinstance(content, str):
        return inside(content, draw)
    if seed % 2 and raw.startswith(b"PK"):
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as archive, zipfile.ZipFile(packed, "w") as new:
            names = archive.namelist()
            chosen = draw.choice(names)
            for name in names:
                raw = archive.read(name)
                new.writestr(name, inside(raw.decode("utf-8", "replace"), draw) if name == chosen else raw)
        return packed.getvalue()
    return mutate(raw, draw)


def mutations(folder: Path, n: int, first: int = 0) -> int:
    """Try ``n`` mutated files of each form; how many gave anything else than messages or one clear error."""
    wrong = 0
    print("| form | messages | one clear error | anything else | slowest, s |\n|---|---|---|---|---|")
    for form, (name, content) in FORMS.items():
        ends, slowest = Counter[str](), 0.0
        for seed in range(first, first + n):
            path = folder / name
            path.write_bytes(mutant(content, seed))
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
    parser.add_argument("--first", type=int, default=0, help="the first seed, to go on from an earlier run")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--only", default="", help="of the table of growth: what has this in its name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.growth:
            sys.exit(bool(growth(Path(folder), options.only)))
        else:
            sys.exit(bool(mutations(Path(folder), options.mutations, options.first)))


if __name__ == "__main__":
    main()
