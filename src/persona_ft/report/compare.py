"""Set comparisons of several runs side by side: python -m persona_ft.report.compare runs/a runs/b"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from persona_ft.errors import PersonaError, as_command
from persona_ft.evaluate.schema import AFTER, HEADLINES, SCORES, Comparison
from persona_ft.evaluate.statistics import together
from persona_ft.io import write_text
from persona_ft.paths import resolve, shown
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import Rows, difference_text, markdown_table, rows_of, text_of

# Each run measures these with what it learnt from its own training pairs and its own base: two rulers, no test.
OWN_RULER = {"headline", "style", "sense"}
# These are compared where all runs stated the same facts.
ON_FACTS = {"facts_said", "not_invented"}


def compare_runs(runs: dict[str, Comparison]) -> tuple[Rows, Rows, Rows]:
    """Three tables as rows of text: the tuned model's scores by run, each run minus the first, and what was set
    differently. PersonaError where the runs were not asked the same questions."""
    start, *others = runs
    asked = {name: [(q.id, q.question, q.reference) for q in run.questions] for name, run in runs.items()}
    if other := next((name for name in others if asked[name] != asked[start]), None):
        reason = f"{other} and {start} were not asked the same questions"
        raise PersonaError(reason, "compare runs of one persona and test set")
    marks = [[question.facts for question in run.questions] for run in runs.values()]
    values = {key: {name: run.condition(AFTER).values(key) for name, run in runs.items()} for key in SCORES}
    left_out = OWN_RULER if all(found == marks[0] for found in marks) else OWN_RULER | ON_FACTS
    single = [key for key in SCORES if key not in left_out and not np.isnan(list(values[key].values())).all()]
    found = together({(name, key): (values[key][name], values[key][start]) for name in others for key in single})
    tuned = {name: {s.label: text_of(run.summary[AFTER][s.key], s) for s in HEADLINES} for name, run in runs.items()}
    changes = {
        f"{name} minus {start}": {SCORES[key].label: difference_text(found[name, key]) for key in single}
        for name in others
    }
    setup = {name: {key: str(value) for key, value in run.setup.items()} for name, run in runs.items()}
    set_differently = [row for row in rows_of("setting", setup) if len(set(list(row.values())[1:])) > 1]
    return rows_of("score", tuned), rows_of("score", changes), set_differently


@as_command()
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders in which notebook 04 was run")
    parser.add_argument("--out", help="a Markdown file to write as well")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        raise PersonaError("one run has nothing to be compared with", 'name two: make compare RUNS="runs/a runs/b"')
    folders = [resolve(run) for run in options.runs]
    if len(set(map(os.path.realpath, folders))) < len(folders):
        raise PersonaError("a run is named twice", "name different run folders")
    names = [Path(run).name for run in options.runs]
    names = names if len(set(names)) == len(names) else options.runs
    runs = {n: read_comparison(folder / "comparison.json") for n, folder in zip(names, folders, strict=True)}
    text = f"{AFTER} of {len(runs)} runs, {len(runs[names[0]].questions)} questions\n\n"
    text += "\n".join(filter(None, map(markdown_table, compare_runs(runs))))
    print(text)
    if options.out:
        print(shown(write_text(resolve(options.out), text)))


if __name__ == "__main__":
    main()
