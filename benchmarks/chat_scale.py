"""Chats of 10 thousand, 100 thousand and 1 million messages: seconds and peak memory of each step.

    python benchmarks/chat_scale.py
    python benchmarks/chat_scale.py --peers other-venv/bin/python    # and others' parsers on the same files
    python benchmarks/chat_scale.py --forms                          # a million messages in each form that is read

Writes a made-up WhatsApp export of each size, then reads, pairs, looks for private data, and imports it, each in a
process of its own. The peers read alone; they live in an environment of their own (``pip install whatstk chat-miner``),
since they need other versions than the notebooks.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from chat_forms import FORMS, ME, OTHER, Said, write_form

# A parser of each peer, as its documentation calls it: the code prints how many messages it found.
PEERS = {
    "whatstk": (
        "from whatstk import WhatsAppChat\n"
        "chat = WhatsAppChat.from_source(path, hformat='%m/%d/%y, %H:%M - %name:', max_size=10**10)\n"
        "made = len(chat.df)"
    ),
    "chat-miner": (
        "from chatminer.chatparsers import WhatsAppParser\n"
        "parser = WhatsAppParser(path)\n"
        "parser.parse_file()\n"
        "made = len(parser.parsed_messages.get_df())"
    ),
}
# What a million messages may take.
MOST_SECONDS, MOST_MB = 60, 500
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


def in_every_form(n: int, only: list[str]) -> bool:
    """A table of seconds and peak memory of importing n messages in each form; whether all stay within the limits."""
    within = True
    print(f"| {n:,} messages as | file | `import_chat` | peak memory | pairs |\n|---|---|---|---|---|")
    for name in only or FORMS:
        with tempfile.TemporaryDirectory() as folder:
            write = [sys.executable, __file__, "--write", name, str(n), folder]  # in a process with memory of its own
            subprocess.run(write, check=True)
            path = Path(folder, name)
            command = [sys.executable, __file__, "--step", "import", str(path)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                print(
                    f"| {name} | {path.stat().st_size / 1e6:,.0f} MB | failed: {run.stderr.strip()[-200:]} | | |",
                    flush=True,
                )
                within = False
                continue
            seconds, peak, made = run.stdout.split()
            within = within and float(seconds) <= MOST_SECONDS and float(peak) <= MOST_MB
            size = path.stat().st_size / 1e6
            print(f"| {name} | {size:,.0f} MB | {float(seconds):.1f} s | {float(peak):.0f} MB | {made} |", flush=True)
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


def peer(python: str, code: str, path: Path) -> list[str] | None:
    """[seconds, peak MB, messages] of one peer, timed as our own steps are; None where it fails."""
    timed = "import resource, sys, time\npath = sys.argv[1]\n{imports}\nstarted = time.perf_counter()\n{rest}\n"
    imports, _, rest = code.partition("\n")
    timed = timed.format(imports=imports, rest=rest) + (
        "print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, made)"
    )
    run = subprocess.run([python, "-c", timed, str(path)], capture_output=True, text=True)
    return run.stdout.split()[-3:] if run.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has whatstk and chat-miner")
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
        started = time.perf_counter()
        made = step(options.step[0], Path(options.step[1]))
        seconds = time.perf_counter() - started
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, made)
        return
    if options.forms is not None:
        sys.exit(not in_every_form(max(options.sizes), options.forms))
    before: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in options.sizes:
            path = Path(folder, f"chat-{n}.txt")
            write_chat(path, n)
            for name in STEPS:
                command = [sys.executable, __file__, "--step", name, str(path)]
                seconds, peak, made = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                growth = f", {float(seconds) / before[name]:.1f} times the size before" if name in before else ""
                before[name] = float(seconds)
                if name == "read":
                    read, read_peak = float(seconds), float(peak)
                print(
                    f"{n:9,} messages  {name:8s} {float(seconds):7.2f} s  {float(peak):6.0f} MB  {made} made{growth}",
                    flush=True,
                )
            for name, code in PEERS.items() if options.peers else ():
                found = peer(options.peers, code, path)
                if found is None:
                    print(f"{n:9,} messages  {name:10s} failed", flush=True)
                    continue
                seconds, peak, made = found
                ratio = float(seconds) / read
                print(
                    f"{n:9,} messages  {name:10s} {float(seconds):7.2f} s  {float(peak):6.0f} MB  {made} read: "
                    f"{ratio:.1f} times our reading, {float(peak) / read_peak:.1f} times its memory",
                    flush=True,
                )


if __name__ == "__main__":
    main()
