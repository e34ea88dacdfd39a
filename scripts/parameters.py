"""Write notebooks/README.md: every parameter of the notebooks in one table, with its default.

python scripts/parameters.py
"""

from __future__ import annotations

from pathlib import Path

import nbformat

from persona_ft.notebook.run import LESSONS, parameters_of

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "notebooks/README.md"
# What each is for; the notebooks say more.
MEANING = {
    "MODEL": "`auto`, `tiny`, `gpt-oss-20b`, a folder, or a name on the Hub; in 04 to 06 empty: that of the training",
    "PERSONA": "folder with `persona.yaml`, `test.jsonl`, for a replay `train.jsonl`; in 00 also a JSONL file",
    "SYSTEM_PROMPT": "who is talking, for such a file",
    "RUN": "the run folder: what one notebook writes and the next one reads. With `make run` it is given as `RUN=…`",
    "PERSIST": "`drive` puts the run folder on Google Drive, on Colab, where it outlives the session",
    "QUESTION": "what is asked",
    "DATE": "the date that the chat template prints, in training and when asked",
    "MAX_NEW_TOKENS": "most new tokens of an answer; `auto` is enough for the protocol",
    "QUESTIONS": "`bank`, a JSONL file, or empty for the persona's own `train.jsonl`",
    "INTERACTIVE": "ask you, in the notebook",
    "ASK_BACK": "who asks back after a short answer: `rules`, `model`, or an OpenAI-compatible address",
    "ASK_MODEL": "the model's name at that address",
    "N_VALIDATION": "pairs set aside to watch while training",
    "SEED": "of the split and the sample (02, 02b), of training (03), of sampling and resampling (04)",
    "CHAT": "a chat export to take the pairs from",
    "ME": "the speakers of the chat that are you, separated by commas",
    "COLUMNS": "a table's columns, `time=…,speaker=…,text=…`",
    "REGIONS": "countries of telephone numbers written without one, your own first",
    "MERGE_MINUTES": "messages of one speaker at most this far apart are one",
    "REPLY_MINUTES": "an answer counts when it comes at most this long after the question",
    "MIN_CHARACTERS": "shorter answers are left out",
    "MAX_CHARACTERS": "longer questions and answers are left out",
    "LANGUAGE": "`ja` or `en`: answers in another script are left out",
    "SIMILAR": "of pairs this similar (0 to 100) the first is kept; 0 keeps all",
    "N_PAIRS": "at most this many pairs to train on; of more a sample is drawn",
    "N_TEST": "the newest replies, which become the test",
    "NAMES": "further names to take out: a text file with one a line, or separated by commas",
    "KEEP_PRIVATE": "kinds of private data to leave as they are, separated by commas",
    "DROP_PRIVATE": "kinds of private data whose pairs are left out",
    "SHOW_PRIVATE": "show each finding to keep, replace or drop. The originals are in the output then",
    "RECIPE": "`auto`, `recommended`, `patient`, `t4`, `article`, or a YAML file",
    "LORA_SCOPE": "`attention` or `attention+experts`",
    "LORA_R": "rank of the adapter",
    "LORA_ALPHA": "its scale, over the rank",
    "LEARNING_RATE": "of the model at hand",
    "THINK": "`no`: every condition answers without analysis; `yes`: every one thinks first, as its training rows do",
    "NUM_EPOCHS": "passes over the pairs, at most",
    "BATCH_SIZE": "rows at once: in training (03), when asked (04)",
    "GRADIENT_ACCUMULATION": "batches to an optimizer step",
    "MAX_LENGTH": "longest row, in tokens",
    "PROFILE": "the card to plan for; `auto` is the one at hand",
    "RESTART": "begin anew in a run folder that holds another training; what was there is kept beside it",
    "EXAMPLES": "training pairs in the prompt of the condition *base + examples*",
    "FACTS": "two more conditions, whose prompt lists the persona's facts",
    "REPORT_LANGUAGE": "of the verdict and of report.html: `en` or `ja`",
    "SAMPLES": "further passes at `TEMPERATURE`",
    "TEMPERATURE": "of those passes",
    "JUDGE": "`off`, `local` (the base model), or an OpenAI-compatible address",
    "BUDGET": "most tokens of a prompt in a talk; the oldest exchanges are left out first",
    "REPLAY": "a saved talk whose questions are asked again where nobody is at the keyboard",
    "WEIGHTS": "`mxfp4`, as gpt-oss was released, `nf4`, or `auto`: the first where the GPU can",
    "TURNS": "exchanges of the talk before that come with a pair",
    "PAIRS": "numbers of pairs to try",
    "RANKS": "ranks to try",
    "RATE_FACTORS": "learning rates to try, as multiples of the recipe's",
    "STEPS": "optimizer steps of each trial",
    "PASSES": "passes over the pairs, in the trials that go by passes",
    "JUDGE_MODEL": "the model's name at that address",
}


def page() -> str:
    """The table as Markdown.

    Raises
    ------
    KeyError
        A parameter has no meaning yet.
    """
    where: dict[str, list[tuple[str, object]]] = {}
    for name in LESSONS:
        for parameter, default in parameters_of(ROOT / f"notebooks/{name}.ipynb").items():
            where.setdefault(parameter, []).append((name.split("_")[0], default))
    lines = [
        "# The notebooks' parameters",
        "",
        "In a notebook they stand in the cell under *Parameters*, on Colab as a form. In batch, for all at once:",
        "",
        "```sh",
        'make run RUN=runs/me PERSONA=data/me PROFILE=L4 ARGS="-p SAMPLES 5"',
        "```",
        "",
        "or one notebook with papermill itself. A parameter that no notebook has is an error in both",
        "(papermill warns of the rarer ones too, which stand in a cell of their own, and takes them):",
        "",
        "```sh",
        ".venv/bin/papermill notebooks/03_train_qlora.ipynb out.ipynb -p RUN runs/me -p MODEL tiny",
        "```",
        "",
        "`recipe` means the recipe's own value. This table is written by `.venv/bin/python scripts/parameters.py`.",
        "",
        "| parameter | notebook: default | what it is for |",
        "|---|---|---|",
    ]
    for parameter, found in where.items():
        defaults = {repr(value): [n for n, v in found if v == value] for _, value in found}
        shown = "; ".join(f"{', '.join(numbers)}: `{value}`" for value, numbers in defaults.items())
        lines.append(f"| `{parameter}` | {shown} | {MEANING[parameter]} |")
    lines += ["", "## How long they are", "", "Their twins in [ja/](ja/01_inference.ipynb) have the same cells.", ""]
    lines += [
        "| notebook | cells | of them code | longest, lines | words of text | Japanese characters | kB with outputs |"
    ]
    lines += ["|---|---|---|---|---|---|---|", *map(size, LESSONS)]
    return "\n".join(lines) + "\n"


def size(name: str) -> str:
    """A row: cells, code cells, lines of the longest of them, how much prose in both languages, and the file's size."""
    path = ROOT / f"notebooks/{name}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    japanese = nbformat.read(ROOT / f"notebooks/ja/{name}.ipynb", as_version=4).cells
    characters = sum(len(cell.source) for cell in japanese if cell.cell_type == "markdown")
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    prose = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    longest = max(len(source.splitlines()) for source in code)
    written = f"{len(prose.split()):,} | {characters:,}"
    return f"| {name} | {len(cells)} | {len(code)} | {longest} | {written} | {path.stat().st_size / 1000:.0f} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(TARGET.relative_to(ROOT))
