"""One table over the runs of a grid: each run, each setting over its seeds, and the best one with its caveat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.schema import AFTER, HEADLINES
from persona_ft.evaluate.statistics import holm, jackknife_interval, permutation_p
from persona_ft.io import write_text
from persona_ft.paths import shown
from persona_ft.report.render import render_page
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import markdown_table

if TYPE_CHECKING:
    import pandas as pd

SCORES = [score.key for score in HEADLINES]
TRAINING = ["validation_loss", "training_seconds", "units", "usd", "peak_gib"]
FLATTERED = (
    "It was picked as the largest of {n}, which flatters it: expect less on new questions, and confirm it there."
)


def measured(run: Path) -> dict[str, Any]:
    """What a run folder says of itself: the tuned model's headline scores, its training's loss, time and cost."""
    found: dict[str, Any] = {}
    if (run / "comparison.json").exists():
        summary = read_comparison(run / "comparison.json").summary[AFTER]
        found |= {key: summary[key].value for key in SCORES}
    if (run / "training.json").exists():
        training = json.loads((run / "training.json").read_text(encoding="utf-8"))
        losses = [loss for _, loss in training["log"]["validation"]]
        found |= {"validation_loss": min(losses, default=None), "training_seconds": training["seconds"]}
        found |= {key: training.get(key) for key in ("units", "usd", "peak_gib")}
    return found


def over_seeds(values: pd.Series) -> str:
    """A mean with its 95 % interval (Student's t over the seeds); a value that stands alone has none."""
    kept = values.dropna().to_numpy(float)
    if kept.size < 2:
        return f"{kept[0]:.3g}" if kept.size else "–"
    found = jackknife_interval(kept.mean(), (kept.sum() - kept) / (kept.size - 1))
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def best_setting(rows: pd.DataFrame, settings: list[str], pairs: list[str]) -> str:
    """The best setting in a sentence, by likelihood over the runs that every setting has, and which are as good.

    Parameters
    ----------
    settings : the columns that were tried; ``pairs`` : those that the settings are paired by, persona and seed.
    """
    if not settings or "log_likelihood" not in rows:
        return "No best setting is named: nothing but persona and seed was varied, or notebook 04 was not run."
    index = rows[pairs].astype(str).agg(" ".join, axis=1) if pairs else rows.index * 0
    name = rows[settings].astype(str).agg(", ".join, axis=1)
    table = rows.pivot_table("log_likelihood", index, name).dropna()
    if table.empty or len(table.columns) < 2:
        return "No best setting is named: no two settings have a persona and seed in common."
    best = table.mean().idxmax()
    p = holm({other: permutation_p(table[best], table[other]) for other in table.columns if other != best})
    alike = [f"{other} (p = {value:.2g})" for other, value in p.items() if value >= 0.05]
    told = f" It cannot be told from {', '.join(alike)}, Holm's p over all." if alike else ""
    what = f"Best of {len(table.columns)} settings ({', '.join(settings)}) by the likelihood of the person's answers"
    return f"{what}, over {len(table)} runs of each: {best}.{told} {FLATTERED.format(n=len(table.columns))}"


def write_grid_report(runs: Path, cells: list[dict[str, Any]], n_all: int) -> str:
    """Write grid.md, grid.csv, grid.json and grid.html into the folder of the runs; the Markdown comes back."""
    import pandas as pd

    rows = pd.DataFrame(
        [{"cell": c["name"]} | c["given"] | {"seconds": c["seconds"]} | measured(runs / c["name"]) for c in cells]
    )
    rows = rows.dropna(axis=1, how="all")
    given = list(dict.fromkeys(name for cell in cells for name in cell["given"] if name in rows))
    varied = [name for name in given if rows[name].astype(str).nunique() > 1]
    numbers = [name for name in (*SCORES, *TRAINING, "seconds") if name in rows]
    by = [name for name in varied if name != "SEED"] or given[:1]
    groups = rows.groupby(by, dropna=False, sort=False)
    settings = groups[numbers].agg(over_seeds).assign(runs=groups.size()).reset_index()
    best = best_setting(rows, [n for n in by if n != "PERSONA"], [n for n in varied if n in ("PERSONA", "SEED")])
    said = f"{len(cells)} of {n_all} cells are done. Intervals are over seeds, 95 %."
    each = rows[["cell", *varied, *numbers]].map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    tables = [("By setting", settings.to_dict("records")), ("By cell", each.to_dict("records"))]
    text = "\n".join([said, "", best, "", *(f"## {title}\n\n{markdown_table(table)}" for title, table in tables)])
    pages = {
        c["name"]: next(
            (p for p in ("report.html", "04_compare.ipynb", "03_train_qlora.ipynb") if (runs / c["name"] / p).exists()),
            "",
        )
        for c in cells
    }
    write_text(runs / "grid.md", text)
    write_text(runs / "grid.csv", rows.to_csv(index=False))
    write_text(runs / "grid.json", rows.to_json(orient="records", force_ascii=False, indent=1) + "\n")
    write_text(runs / "grid.html", render_page("grid", said=[said, best], tables=tables, pages=pages))
    return f"{text}\n{shown(runs / 'grid.html')}"
