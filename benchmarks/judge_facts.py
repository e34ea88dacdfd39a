"""How often do the rules of persona_ft.evaluate.facts err? They against labels made by hand.

    python benchmarks/judge_facts.py

data/masaki/fact_labels.jsonl: an answer, a fact, and what a reader says the answer does with it. Two parts are made up,
with hard cases on purpose: the first was looked at while the rules were written, the second once they were done. The
third holds what the tiny model's five conditions really answered to questions that touch a fact.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

from persona_ft.evaluate.scoring import known_facts
from persona_ft.evaluate.facts import judge
from persona_ft.evaluate.statistics import share
from persona_ft.data.persona import read_persona
from persona_ft.paths import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persona", default="data/masaki")
    parser.add_argument(
        "--show", nargs="*", default=["rules", "held out", "tiny model"], help="parts whose errors are printed"
    )
    options = parser.parse_args()
    folder = resolve(options.persona)
    facts = known_facts(read_persona(folder))
    rows = [json.loads(line) for line in (folder / "fact_labels.jsonl").read_text(encoding="utf-8").splitlines()]
    for part in ("rules", "held out", "tiny model"):
        chosen = [row for row in rows if row["split"] == part]
        found = [judge(row["answer"], facts[row["fact"]]).verdict for row in chosen]
        wrong = [(row, verdict) for row, verdict in zip(chosen, found, strict=True) if verdict != row["label"]]
        rate = share(len(wrong), len(chosen))
        labels = Counter(row["label"] for row in chosen)
        print(
            f"{part}: {len(wrong)} of {len(chosen)} wrong, {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}]; "
            f"{dict(labels)}"
        )
        for row, verdict in wrong if part in options.show else []:
            print(f"  {row['fact']:18s} {row['answer']}  labelled {row['label']}, judged {verdict}")


if __name__ == "__main__":
    main()
