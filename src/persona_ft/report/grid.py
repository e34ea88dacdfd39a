"""One table over the runs of a grid: each run, each setting over its seeds, and the best one with its caveat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.schema import AFTER, SCORES
from persona_ft.evaluate.statistics import ALPHA, holm, permutation_p
from persona_ft.io import write_text
from persona_ft.paths import shown
from persona_ft.report.page import render_page
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import markdown_table
from persona_ft.train.identity import read_training

if TYPE_CHECKING:
    import pandas as pd

TRAINING = ["validation_loss", "training_seconds", "units", "usd", "peak_gib"]
# Where a cell's link leads: to the first that is there.
PAGES = ("report.html", "04_compare.ipynb", "03_train_qlora.ipynb", "cell.log")


def measured(run: Path) -> dict[str, Any]:
    """What a run folder says of itself: the tuned model's headline scores, its training's loss, time and cost."""
    found: dict[str, Any] = {}
    if (run / "comparison.json").exists():
        summary = read_comparison(run / "comparison.json").summary[AFTER]
        found |= {key: summary[key].value for key in SCORES}
    if training := read_training(run):
        found["validation_loss"] = min((loss for _, loss in training["log"]["validation"]), default=None)
        found["training_seconds"] = training["seconds"]
        found |= {key: training.get(key) for key in ("units", "usd", "peak_gib")}
    return found


def over_seeds(values: pd.Series) -> str:
    """A mean with its 95 % interval (Student's t over the seeds); a value that stands alone has none."""
    from scipy.stats import t

    kept = values.dropna()
    if len(kept) < 2:
        return f"{kept.iloc[0]:.3g}" if len(kept) else "–"
    reach = t.ppf(1 - ALPHA / 2, len(kept) - 1) * kept.sem()
    return f"{kept.mean():.3g} [{kept.mean() - reach:.3g}, {kept.mean() + reach:.3g}]"


def best_setting(rows: pd.DataFrame, settings: list[str], paired_by: list[str]) -> str:
    """The best setting in a sentence, by likelihood over the runs that all settings have, and which are as good.
    ``settings``: the columns that were tried; ``paired_by``: those that are repeated for each: persona, seed."""
    if not settings or "log_likelihood" not in rows:
        return "No best setting is named: that takes notebook 04, and more than persona and seed varied."
    name, pair = (rows[columns].astype(str).agg(", ".join, axis=1) for columns in (settings, paired_by))
    table = rows.pivot_table("log_likelihood", pair, name).dropna()
    if len(table) < 1 or len(table.columns) < 2:
        return "No best setting is named: no two settings have a persona and a seed in common."
    best, n = table.mean().idxmax(), len(table.columns)
    p = holm({other: permutation_p(table[best], table[other]) for other in table.columns if other != best})
    alike = ", ".join(f"{other} (p = {p[other]:.2g})" for other in table.columns if p.get(other, 0) >= ALPHA)
    return (
        f"Best of {n} settings ({', '.join(settings)}) by the likelihood of the person's answers, {len(table)} runs of "
        f"each: {best}. " + (f"It cannot be told from {alike} (Holm). " if alike else "") + "It was picked as the "
        f"largest of {n}, which flatters it: expect less on new questions, and confirm it with seeds of their own."
    )


def write_grid_report(runs: Path, cells: list[dict[str, Any]], n_all: int) -> str:
    """Write grid.md, grid.csv, grid.json and grid.html into the folder of the runs; the Markdown comes back. ``cells``:
    name, given and seconds of each cell that is done, of ``n_all``."""
    import pandas as pd

    found = [{"cell": c["name"], **c["given"], "seconds": c["seconds"], **measured(runs / c["name"])} for c in cells]
    rows = pd.DataFrame(found).dropna(axis=1, how="all")
    given = dict.fromkeys(name for c in cells for name in c["given"])
    varied = [name for name in given if rows[name].astype(str).nunique() > 1]
    numbers = [name for name in (*SCORES, *TRAINING, "seconds") if name in rows]
    by = [name for name in varied if name != "SEED"]
    groups = rows.groupby(by or (lambda _: "all"), dropna=False, sort=False)
    settings = groups[numbers].agg(over_seeds).assign(runs=groups.size()).reset_index()
    best = best_setting(rows, [n for n in by if n != "PERSONA"], [n for n in varied if n in ("PERSONA", "SEED")])
    said = [f"{len(cells)} of {n_all} cells are done. Intervals are over seeds, 95 %.", best]
    each = rows[["cell", *varied, *numbers]].map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    tables = {"By setting": settings.to_dict("records"), "By cell": each.to_dict("records")}
    pages = {c["name"]: next((p for p in PAGES if (runs / c["name"] / p).exists()), "") for c in cells}
    text = "\n\n".join([*said, *(f"## {title}\n\n{markdown_table(table)}" for title, table in tables.items())])
    write_text(runs / "grid.md", text)
    write_text(runs / "grid.csv", rows.to_csv(index=False))
    write_text(runs / "grid.json", rows.to_json(orient="records", force_ascii=False, indent=1) + "\n")
    write_text(runs / "grid.html", render_page("grid", said=said, tables=tables, pages=pages))
    return f"{text}\n{shown(runs / 'grid.html')}"
