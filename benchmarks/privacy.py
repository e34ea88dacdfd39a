"""How much of what is private is found, and how much is taken by mistake: labelled sentences, by kind and by part.

    python benchmarks/privacy.py            # two tables
    python benchmarks/privacy.py --wrong    # and each sentence in which something is missed or taken by mistake

The sentences (``data/privacy/sentences.jsonl``, Japanese and English, made up) were written and labelled by readers
who did not know the rules. Something counts as found when every letter and digit of it is replaced, by whatever kind;
something that is replaced counts as right when at least half of it is labelled. Names are not in it: the user lists
them; how many of those that nobody listed are offered is counted on sentences of their own (``names.jsonl``).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from persona_ft.chat.likely import likely_names
from persona_ft.chat.privacy import Privacy
from persona_ft.evaluate.statistics import share
from persona_ft.paths import repository_root

SENTENCES = repository_root() / "data/privacy/sentences.jsonl"
NAMES = SENTENCES.with_name("names.jsonl")
# Breaks made-up keys up in the file, so that whoever scans a repository for lost keys is not alarmed.
BREAK = "¦"
# Label -> what the finder calls it. A secret is a key or a password.
KINDS = {
    "phone": "phone",
    "postal_code": "postal code",
    "card": "card",
    "bank": "bank account",
    "my_number": "My Number",
    "ip": "IP address",
    "email": "e-mail",
    "url": "link",
    "address": "address",
    "handle": "handle",
    "secret": "key",
    "passport": "passport",
    "licence": "driving licence",
    "birth_date": "date of birth",
    "coordinates": "coordinates",
    "code": "one-time code",
}
NUMBERED = ("phone", "postal_code", "card", "bank", "my_number", "ip")


@dataclass
class Score:
    """Counts by label for what is to be found, by the finder's kind for what was taken."""

    labelled: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, text: str, spans: list[dict[str, str]], finder: Privacy) -> None:
        """Hold one sentence's findings against its labels."""
        findings = finder.find(text)
        replaced, labelled, at = bytearray(len(text)), bytearray(len(text)), 0
        for finding in findings:
            replaced[finding.start : finding.end] = b"\x01" * (finding.end - finding.start)
        for span in spans:
            start = text.index(span["text"], at)
            at = start + len(span["text"])
            labelled[start:at] = b"\x01" * (at - start)
            self.labelled[span["kind"]] += 1
            if all(replaced[i] for i in range(start, at) if text[i].isalnum()):
                self.found[span["kind"]] += 1
            else:
                self.wrong.append(f"missed {span['kind']}: {span['text']!r} in {text!r}")
        for finding in findings:
            self.taken[finding.kind] += 1
            if 2 * sum(labelled[finding.start : finding.end]) >= finding.end - finding.start:
                self.right[finding.kind] += 1
            else:
                self.wrong.append(f"taken for {finding.kind}: {finding.text!r} in {text!r}")

    def recall(self, kinds: tuple[str, ...] = tuple(KINDS)) -> tuple[int, int]:
        """(found, labelled) over some labels."""
        return sum(self.found[k] for k in kinds), sum(self.labelled[k] for k in kinds)

    def precision(self, kinds: tuple[str, ...] = tuple(KINDS)) -> tuple[int, int]:
        """(right, taken) over what those labels are called."""
        names = {KINDS[kind] for kind in kinds} | ({"password"} if "secret" in kinds else set())
        return sum(self.right[n] for n in names), sum(self.taken[n] for n in names)


def sentences(path: Path = SENTENCES) -> list[dict]:
    """The labelled sentences, their keys put together again."""
    return [json.loads(line.replace(BREAK, "")) for line in path.read_text(encoding="utf-8").splitlines()]


def score(rows: list[dict]) -> Score:
    """Hold some sentences against the finder."""
    total = Score()
    for row in rows:
        total.add(row["text"], row["spans"], Privacy())
    return total


def offered(rows: list[dict]) -> tuple[int, int]:
    """(offered, all) of the names that nobody listed."""
    found = []
    for row in rows:
        seen = [row["text"][start:end] for start, end in likely_names(row["text"])]
        found += [any(name in o or (o in name and len(o) > 1) for o in seen) for name in row["names"]]
    return sum(found), len(found)


def cell(counts: tuple[int, int]) -> str:
    """Counts, share and its interval."""
    if not counts[1]:
        return "none"
    interval = share(*counts)
    return f"{counts[0]} of {counts[1]}, {interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=SENTENCES)
    parser.add_argument("--wrong", action="store_true", help="show the sentences with a mistake")
    options = parser.parse_args()
    rows = sentences(options.file)
    parts = {
        part: score([row for row in rows if row["part"] == part]) for part in dict.fromkeys(r["part"] for r in rows)
    }
    parts["all"] = score(rows)
    negatives = sum(not row["spans"] for row in rows)
    japanese = sum(row["lang"] == "ja" for row in rows)
    print(f"{len(rows)} sentences, {japanese} of them Japanese, {negatives} with nothing private\n")
    print("| part | found, numbered kinds | found, all kinds | taken rightly |\n|---|---|---|---|")
    for name, part in parts.items():
        print(f"| {name} | {cell(part.recall(NUMBERED))} | {cell(part.recall())} | {cell(part.precision())} |")
    print("\n| kind | found | taken rightly |\n|---|---|---|")
    for kind in KINDS:
        print(f"| {KINDS[kind]} | {cell(parts['all'].recall((kind,)))} | {cell(parts['all'].precision((kind,)))} |")
    names = [json.loads(line) for line in NAMES.read_text(encoding="utf-8").splitlines()]
    print(f"\nlikely names offered in {len(names)} sentences with unlisted ones: {cell(offered(names))}")
    if options.wrong:
        print("", *parts["all"].wrong, sep="\n")


if __name__ == "__main__":
    main()
