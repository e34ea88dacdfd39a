"""Set comparisons of several runs side by side: python -m persona_ft.report.compare runs/a runs/b"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from persona_ft.errors import PersonaError
from persona_ft.evaluate.schema import AFTER, HEADLINE, HEADLINES, HEARD, Comparison
from persona_ft.evaluate.statistics import together
from persona_ft.io import write_text
from persona_ft.paths import resolve, shown
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import difference_text, markdown_table, text_of


def compare_runs(
    runs: dict[str, Comparison],
) -> tuple[list[dict[str, str]], list[dict[str, str]], list[dict[str, str]]]:
    """Three tables as rows of text: the tuned model's scores by run, each run minus the first, and what was set
    differently.

    Style, sense and both together are in the first table only, without a test: each run measures them with what it
    learnt from its own training pairs and its own base, so they are two rulers. Facts are compared where both runs
    stated the same ones.

    Raises
    ------
    PersonaError
        The runs were not asked the same questions.
    """
    names = list(runs)
    first = runs[names[0]]
    for name, run in runs.items():
        if [(q.id, q.question, q.reference) for q in run.questions] != [
            (q.id, q.question, q.reference) for q in first.questions
        ]:
            raise PersonaError(
                f"{name} and {names[0]} were not asked the same questions", "compare runs of one persona and test set"
            )
    scores = [
        {"score": score.label} | {name: text_of(run.summary[AFTER][score.key], score) for name, run in runs.items()}
        for score in HEADLINES
    ]
    same_facts = all([q.facts for q in run.questions] == [q.facts for q in first.questions] for run in runs.values())
    own_ruler = {HEADLINE.key, *HEARD} | (set() if same_facts else {"facts_said", "not_invented"})
    single = [
        score
        for score in HEADLINES
        if score.key not in own_ruler
        and not all(np.isnan(run.condition(AFTER).values(score.key)).all() for run in runs.values())
    ]
    values = {
        name: {score.key: run.condition(AFTER).values(score.key) for score in single} for name, run in runs.items()
    }
    found = together({(n, s.key): (values[n][s.key], values[names[0]][s.key]) for n in names[1:] for s in single})
    changes = []
    for score in single:
        row = {"score": score.label}
        for name in names[1:]:
            d = found[name, score.key]
            row[f"{name} minus {names[0]}"] = difference_text(
                score, d.mean.value, d.mean.low, d.mean.high, d.p_adjusted
            )
        changes.append(row)
    keys = dict.fromkeys(key for run in runs.values() for key in run.setup)
    settings = [
        {"setting": key} | {name: str(run.setup.get(key, "")) for name, run in runs.items()}
        for key in keys
        if len({str(run.setup.get(key)) for run in runs.values()}) > 1
    ]
    return scores, changes, settings


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders in which notebook 04 was run")
    parser.add_argument("--out", help="a Markdown file to write as well")
    options = parser.parse_args(arguments)
    try:
        if len(options.runs) < 2:
            raise PersonaError("one run has nothing to be compared with", 'name two: make compare RUNS="runs/a runs/b"')
        if len({resolve(run).resolve() for run in options.runs}) < len(options.runs):
            raise PersonaError("a run is named twice", "name different run folders")
        names = [Path(run).name for run in options.runs]
        if len(set(names)) < len(names):
            names = list(options.runs)
        runs = {
            name: read_comparison(resolve(run) / "comparison.json")
            for name, run in zip(names, options.runs, strict=True)
        }
        scores, changes, settings = compare_runs(runs)
        text = f"{AFTER} of {len(runs)} runs, {len(next(iter(runs.values())).questions)} questions\n\n"
        text += "\n".join(filter(None, map(markdown_table, (scores, changes, settings))))
        print(text)
        if options.out:
            print(shown(write_text(resolve(options.out), text)))
    except PersonaError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
