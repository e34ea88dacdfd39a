"""Chats of 10 thousand, 100 thousand and 1 million messages: seconds and peak memory of each step.

    python benchmarks/chat_scale.py
    python benchmarks/chat_scale.py --peers other-venv/bin/python    # and others' parsers on the same files
    python benchmarks/chat_scale.py --forms                          # a million messages in each form that is read

Writes a made-up WhatsApp export of each size, then reads, pairs, looks for private data, and imports it, each in a
process of its own with one thread. Seconds are given by the clock and of the processor: on a machine that does other
things as well the second are the ones to compare.

The peers read alone. They live in an environment of their own (``pip install whatstk chat-miner chatpack linelog2py
LineTextParser``), since they need other versions than the notebooks; ``--node`` is a folder where ``npm install
whatsapp-chat-parser`` was run.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from chat_forms import FORMS, ME, OTHER, Said, write_form

# The form of the first table, whose stamps are those of a phone in the United States.
WHATSAPP = "chat.txt"
MINER = (
    "from chatminer.chatparsers import {0} as Parser\n"
    "parser = Parser(path)\n"
    "parser.parse_file()\n"
    "made = len(parser.parsed_messages.get_df())"
)
WHATSTK = (
    "from whatstk import WhatsAppChat\nmade = len(WhatsAppChat.from_source(path, hformat='{0}', max_size=10**10).df)"
)
CHATPACK = "import chatpack\nmade = len(chatpack.parse_{0}(path))"
LINE_PHONE = "from linelog2py import Reader\nmade = len(Reader.readFile(path))"
LINE_DESKTOP = (
    "from LineTextParser import Linetxt\n"
    "how = {'dateSplit': '.', 'dateSplitCount': 2, 'dateMM': (10, 15), 'split': ' '}\n"
    "made = len(Linetxt(open(path, encoding='utf-8').read(), how).seqs)"
)
NODE = (
    "import { readFileSync } from 'node:fs'; import { parseString } from 'whatsapp-chat-parser';"
    "const started = performance.now(), before = process.cpuUsage();"
    "const made = parseString(readFileSync(process.argv[1], 'utf8')).length, cpu = process.cpuUsage(before);"
    "const seconds = [(performance.now() - started) / 1e3, (cpu.user + cpu.system) / 1e6];"
    "console.log(...seconds, process.resourceUsage().maxRSS / 1024, made);"
)
# The peers that read a form, as their documentation calls them: the code prints how many messages it found.
PEERS = {
    WHATSAPP: {"whatstk": WHATSTK.format("%m/%d/%y, %H:%M - %name:"), "chat-miner": MINER.format("WhatsAppParser")}
    | {"chatpack": CHATPACK.format("whatsapp"), "whatsapp-chat-parser": NODE},
    "whatsapp_ios.zip": {
        "whatstk": WHATSTK.format("[%d.%m.%y, %H:%M:%S] %name:"),
        "chat-miner": MINER.format("WhatsAppParser"),
        "chatpack": CHATPACK.format("whatsapp"),
        "whatsapp-chat-parser": NODE,
    },
    "whatsapp_android.txt": {"whatstk": WHATSTK.format("%Y/%m/%d %H:%M - %name:"), "whatsapp-chat-parser": NODE},
    "telegram.json": {"chat-miner": MINER.format("TelegramJsonParser"), "chatpack": CHATPACK.format("telegram")},
    "discord.json": {"chatpack": CHATPACK.format("discord")},
    "messenger.json": {
        "chat-miner": MINER.format("FacebookMessengerParser"),
        "chatpack": CHATPACK.format("instagram"),
    },
    "line_phone.txt": {"linelog2py": LINE_PHONE},
    "line_desktop.txt": {"LineTextParser": LINE_DESKTOP},
}
# What a million messages may take.
MOST_SECONDS, MOST_MB = 60, 500
PEER = (
    "import resource, sys, time\npath = sys.argv[1]\n{imports}\n"
    "started, before = time.perf_counter(), time.process_time()\n{rest}\n"
    "print(time.perf_counter() - started, time.process_time() - before,"
    " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, made)"
)
STEPS = ("read", "pair", "privacy", "import")


def write_chat(path: Path, n: int) -> None:
    """A WhatsApp export of n messages between two people, one text in fifty with something private in it."""
    draw, at = random.Random(0), datetime(2015, 1, 1, 8)
    words = ["今日", "明日", "ラーメン", "行く", "眠い", "すごい", "ほんと", "アニメ", "仕事"]
    words += ["電車", "やばい", "たぶん", "いいね", "w", "！", "〜", "って"]
    private = (
        "090-1234-{:04d}にかけて",
        "mail{}@example.org に送って",
        "https://example.org/{} みて",
        "たろうさん{}円かして",
    )
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            at += timedelta(seconds=draw.choice((20, 40, 90, 200, 4000)))
            text = "".join(draw.choices(words, k=draw.randint(2, 9)))
            if i % 50 == 0:
                text += draw.choice(private).format(i % 10_000)
            file.write(f"{at:%m/%d/%y, %H:%M} - {draw.choice(('たろう', 'まさき'))}: {text}\n")


def made_up(n: int) -> list[Said]:
    """The same kind of chat as messages, for the other forms."""
    draw, at = random.Random(0), datetime(2015, 1, 1, 8)
    words = [
        "今日",
        "明日",
        "ラーメン",
        "行く",
        "眠い",
        "すごい",
        "ほんと",
        "アニメ",
        "仕事",
        "電車",
        "w",
        "！",
        "って",
    ]
    said = []
    for i in range(n):
        at += timedelta(seconds=draw.choice((20, 40, 90, 200, 4000)))
        number = f" 090-1234-{i % 10_000:04d}にかけて" if i % 50 == 0 else ""
        said.append(Said(at, draw.choice((OTHER, ME)), "".join(draw.choices(words, k=draw.randint(2, 9))) + number))
    return said


class Took(NamedTuple):
    """What a step took, in a process of its own, and how many messages or pairs it made."""

    seconds: float
    processor_seconds: float
    peak_mb: float
    made: int

    def __str__(self) -> str:
        times = f"{self.seconds:7.2f} s  {self.processor_seconds:7.2f} s of processor"
        return f"{times}  {self.peak_mb:6.0f} MB  {self.made:9,} made"


def timed(command: list[str], folder: Path | None = None) -> Took | str:
    """Run a command that prints what it took; its last words where it fails."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | one, cwd=folder)
    if run.returncode:
        return run.stderr.strip()[-200:]
    *times, made = run.stdout.split()[-4:]
    return Took(*map(float, times), int(made))


def own(name: str, path: Path) -> Took | str:
    """One of our own steps on a file."""
    return timed([sys.executable, str(Path(__file__).resolve()), "--step", name, str(path)])


def peers(form: str, path: Path, python: str | None, node: Path | None) -> Iterator[tuple[str, Took | str]]:
    """(peer, what it took) for each that reads the form, timed as our own steps are. A zip is unpacked for them."""
    if form in PEERS and path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            path = Path(archive.extract("_chat.txt", path.parent))
    for name, code in PEERS.get(form, {}).items():
        if code is NODE and node:
            yield name, timed(["node", "--input-type=module", "-e", code, str(path)], node)
        elif code is not NODE and python:
            imports, _, rest = code.partition("\n")
            yield name, timed([python, "-c", PEER.format(imports=imports, rest=rest), str(path)])


def in_every_form(n: int, only: list[str], python: str | None, node: Path | None) -> bool:
    """Print what reading and importing n messages takes in each form; whether all stay within the limits."""
    within = True
    for form in only or FORMS:
        with tempfile.TemporaryDirectory() as folder:
            write = [sys.executable, __file__, "--write", form, str(n), folder]  # in a process with memory of its own
            subprocess.run(write, check=True)
            path = Path(folder, form)
            print(f"{n:,} messages as {form}, {path.stat().st_size / 1e6:,.0f} MB", flush=True)
            took = {name: own(name, path) for name in ("read", "import")}
            for name, what in [*took.items(), *peers(form, path, python, node)]:
                print(f"    {name:20s} {what}", flush=True)
            imported = took["import"]
            within = within and isinstance(imported, Took) and imported.peak_mb <= MOST_MB
            within = within and imported.processor_seconds <= MOST_SECONDS
    return within


def step(name: str, path: Path) -> int:
    """Run one step; how many it made."""
    from persona_ft.chat.importing import import_chat
    from persona_ft.chat.messages import Funnel
    from persona_ft.chat.pairing import Pairing, pairs_of
    from persona_ft.chat.privacy import Privacy
    from persona_ft.chat.read import read_chat

    if name == "read":
        return sum(1 for _ in read_chat(path))
    if name == "pair":
        return sum(1 for _ in pairs_of(read_chat(path), Pairing(frozenset({"まさき"})), Funnel()))
    if name == "privacy":
        privacy, found = Privacy(["たろう"]), Counter[str]()
        for message in read_chat(path):
            found.update(finding.kind for finding in privacy.find(message.text))
        return found.total()
    return len(import_chat(path, "まさき").pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has the peers")
    parser.add_argument("--node", metavar="FOLDER", type=Path, help="a folder that has whatsapp-chat-parser")
    parser.add_argument(
        "--forms", nargs="*", metavar="FORM", help=f"the largest size in {', '.join(FORMS)}, or in some"
    )
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        name, n, folder = options.write
        write_form(name, made_up(int(n)), Path(folder))
        return
    if options.step:
        started, before = time.perf_counter(), time.process_time()
        made = step(options.step[0], Path(options.step[1]))
        seconds, processor = time.perf_counter() - started, time.process_time() - before
        print(seconds, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, made)
        return
    if options.forms is not None:
        sys.exit(not in_every_form(max(options.sizes), options.forms, options.peers, options.node))
    with tempfile.TemporaryDirectory() as folder:
        for n in options.sizes:
            path = Path(folder, WHATSAPP)
            write_chat(path, n)
            found = [(name, own(name, path)) for name in STEPS]
            for name, took in [*found, *peers(WHATSAPP, path, options.peers, options.node)]:
                print(f"{n:9,} messages  {name:20s} {took}", flush=True)


if __name__ == "__main__":
    main()
