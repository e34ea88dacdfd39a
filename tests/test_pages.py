"""What is read: figures in the prose against their sources, Japanese against English, the site and its links."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

from persona_ft.evaluate.statistics import ALPHA
from persona_ft.evaluate.summary import ENOUGH_ANSWERS
from persona_ft.gpt_oss.generate import ANSWER_TOKENS, THINKING_TOKENS
from persona_ft.gpt_oss.load import MINIMUM_GIB
from persona_ft.gpt_oss.lora import count_lora_parameters, count_parameters
from persona_ft.notebook.run import LESSONS
from persona_ft.train.memory import CONTEXT_BYTES, GIB, NF4_BYTES, estimate
from persona_ft.train.recipe import read_recipe

sys.path.insert(0, str(ROOT / "scripts"))

NUMBER = re.compile(r"(?<![\w.,/-])(?:-(?=\d+\.))?\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?(?![\w-])(?!\.\d)")


@cache
def markdown(path: str) -> dict[str, str]:
    """A notebook's prose by cell."""
    cells = nbformat.read(ROOT / path, as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "markdown"}


def prose(text: str) -> str:
    """Without code, formulas, addresses, the numbers of headings, lists and notebooks, and years."""
    for pattern in (r"```.*?```", r"`[^`]*`", r"\$\$.*?\$\$", r"\$[^$]*\$", r"\]\([^)]*\)", r"^(?:#+ )?\d[a-z]?\. "):
        text = re.sub(pattern, " ", text, flags=re.S | re.M)
    text = re.sub(
        r"(?:notebooks?|ノートブック) \d\d(?:(?:,| and| と|・) \d\d)*|section [\d.]+|[\d.]+ 節", "", text, flags=re.I
    )
    return re.sub(r"\b(?:19|20)\d\d\b|\d\d_\w+", "", text).replace("−", "-").replace("\N{NO-BREAK SPACE}", " ")


def outputs(name: str) -> str:
    """Everything that a notebook's stored outputs say, tags left out, and its parameters."""
    texts = []
    for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            texts += [output.get("text", "") for output in cell.outputs]
            html = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
            texts.append(re.sub(r"<style.*?</style>|<[^>]+>", " ", html, flags=re.S))
            texts += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
            if "parameters" in cell.metadata.get("tags", []):
                texts.append(cell.source)
    return "\n".join(texts)


@cache
def results(name: str) -> dict:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


@cache
def config_20b():
    from transformers import GptOssConfig

    return GptOssConfig(num_hidden_layers=24, num_local_experts=32)


def off_by() -> float:
    """The estimate's largest error in per cent, over all settings that were measured."""
    rows = [*results("train_20b")["memory"], *results("train_20b")["recommended"], *results("train_20b")["t4"]]
    return 100 * max(abs(row["estimate_off"]) for row in rows)


def seconds(way: str) -> float:
    return sum(condition[way] for condition in results("conditions_20b")["conditions"])


def share_of_20b() -> float:
    return 100 * count_lora_parameters(config_20b(), 8) / sum(count_parameters(config_20b()).values())


def recommended() -> dict:
    return results("train_20b")["recommended"][0]


def downloaded(kind: str) -> float:
    """GB of a checkpoint: its weights take the same room on disk as once they are loaded."""
    return results("train_mxfp4_20b")[kind][0]["loaded_gib"] * 2**30 / 1e9


# A figure of the prose that is not in its notebook's outputs, and how it is worked out from a file of the repository.
FIGURES = {
    "00_one_sitting": {
        "13": lambda: f"{downloaded('recommended'):.0f}",
        "14": lambda: f"{MINIMUM_GIB:.0f}",  # GiB of a GPU; and GB of a download
        "95": lambda: f"{100 * (1 - ALPHA):.0f}",
    },
    "01_inference": {
        "39": lambda: f"{estimate(config_20b(), 'LoRA, 16 bit').weights / GIB:.0f}",
        "20.9": lambda: f"{sum(count_parameters(config_20b()).values()) / 1e9:.1f}",
        "4.5": lambda: f"{4 + 32 / 64:g}",
        "32": lambda: str(config_20b().num_local_experts),
        "13": lambda: f"{downloaded('recommended'):.0f}",
        "14": lambda: f"{downloaded('recommended-mxfp4'):.0f}",
        "4.13": lambda: f"{8 * NF4_BYTES:.2f}",
        "15": lambda: known(r"Low effort takes (15) to 38 tokens"),
        "38": lambda: known(r"Low effort takes 15 to (38) tokens"),
        "512": lambda: f"{THINKING_TOKENS['low']:,}",
        "1,024": lambda: f"{THINKING_TOKENS['medium']:,}",
        "4,096": lambda: f"{THINKING_TOKENS['high']:,}",
        "96": lambda: str(ANSWER_TOKENS),
    },
    "02_build_dataset": {"16": lambda: str(read_recipe("recommended").batch_size)},
    "02b_from_chats": {},
    "03_train_qlora": {
        "15.2": lambda: f"{recommended()['peak_gib']:.1f}",
        "13.3": lambda: f"{results('train_20b')['t4'][0]['peak_gib']:.1f}",
        "0.66": lambda: f"{recommended()['median_step_s']:.2f}",
        "26": lambda: f"{recommended()['train_wall_s']:.0f}",
        "25": lambda: str(recommended()["steps"]),
        "80": lambda: re.search(r"H100 (\d+)GB", results("train_20b")["machine"])[1],
        "20.9": lambda: f"{sum(count_parameters(config_20b()).values()) / 1e9:.1f}",
        "3,981,312": lambda: f"{count_lora_parameters(config_20b(), 8):,}",
        "7,962,624": lambda: f"{count_lora_parameters(config_20b(), 16):,}",
        "0.019": lambda: f"{share_of_20b():.3f}",
        "0.02": lambda: f"{share_of_20b():.2f}",
        "0.5": lambda: f"{off_by():.1f}",
        "1,536": lambda: f"{24 * 32 * 2:,}",
        "0.9": lambda: re.search(r"add (0\.\d) times", read_recipe("recommended").why["router_aux_loss_coef"])[1],
        "16": lambda: f"{count_lora_parameters(config_20b(), 8) * 4 / 1e6:.0f}",  # MB; and rows at once
        "0.75": lambda: f"{CONTEXT_BYTES / GIB:.2f}",
        "0.25": lambda: f"{gain('16 rows at once = recommended'):.2f}",
        "0.15": lambda: f"{gain('epochs, learning rate, best epoch kept') - gain('16 rows at once = recommended'):.2f}",
        "14": lambda: f"{results('train_20b')['article'][0]['train_wall_s'] / recommended()['train_wall_s']:.0f}",
        "400": lambda: str(results("train_20b")["rows"]),
        "22": lambda: benchmarked(r"cap (22) GiB"),
        "14.5": lambda: benchmarked(r"under (14\.5) GiB"),
        "15": lambda: str(n_settings()),
    },
    "04_compare": {
        "96": lambda: str(ANSWER_TOKENS),
        "512": lambda: f"{THINKING_TOKENS['low']:,}",
        "1,024": lambda: f"{THINKING_TOKENS['medium']:,}",
        "4,096": lambda: f"{THINKING_TOKENS['high']:,}",
        "90": lambda: f"{100 * ENOUGH_ANSWERS:.0f}",
        "150": lambda: str(results("conditions_20b")["answers"]),
        "64": lambda: str(results("conditions_20b")["tokens"]),
        "99": lambda: f"{seconds('batched_s'):.0f}",
        "773": lambda: f"{seconds('alone_s'):.0f}",
        "15.3": lambda: f"{results('conditions_20b')['peak_gib']:.1f}",
        "80": lambda: re.search(r"H100 (\d+)GB", results("conditions_20b")["machine"])[1],
        "22": lambda: benchmarked(r"cap (22) GiB"),
        "84": lambda: str(sum(1 for _ in (ROOT / "data/masaki/train.jsonl").open(encoding="utf-8"))),
        "0.025": lambda: f"{0.05 / 2:g}",
        "0.05": lambda: f"{ALPHA:g}",
        "100": lambda: "100",  # questions, in the exercise whose answer is 3.6
        "0.116": lambda: f"{1 - 0.025 ** (1 / 30):.3f}",
        "3.6": lambda: f"{100 * (1 - 0.025 ** (1 / 100)):.1f}",
        "0.6": lambda: f"{20 * 0.03:g}",
    },
    "05_experiments": {
        "16": lambda: str(read_recipe("recommended").batch_size),
    },
    "06_talk": {},
}


def known(pattern: str) -> str:
    """A figure about the real model, from the page that says where it is from."""
    return re.search(pattern, (ROOT / "docs/real-model.md").read_text(encoding="utf-8"))[1]


def gain(condition: str) -> float:
    """Log-likelihood of a condition of the ablation over the article's, nats per token."""
    return next(
        row["log_likelihood"]["gain"] for row in results("ablation")["conditions"] if row["condition"] == condition
    )


def person() -> dict[str, str]:
    """What became of the person's own answers, planted as a condition's."""
    return next(row for row in results("verdict_planted")["planted"] if row["planted"] == "the person")


def benchmarked(pattern: str) -> str:
    """A figure as benchmarks/README.md states it."""
    return re.search(pattern, (ROOT / "benchmarks/README.md").read_text(encoding="utf-8"))[1]


def n_settings() -> int:
    """Rows of the table that holds the estimate against measured peaks."""
    page = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    return len(re.findall(r"^\| (?:recommended|t4) \| attention\S* \| \d+ x \d+ \|", page, re.M))


@pytest.mark.parametrize("name", LESSONS)
def test_a_figure_in_the_prose_has_its_source(name):
    """Worked out from a file of the repository, or among the notebook's stored outputs; up to twelve may be a count."""
    known, said = FIGURES[name], outputs(name)
    for text, worked_out in known.items():
        assert text == worked_out(), f"the prose says {text}"
    used = set()
    for id, source in markdown(f"notebooks/{name}.ipynb").items():
        for found in NUMBER.findall(prose(source)):
            if found in known:
                used.add(found)
            elif not re.fullmatch(r"[1-9]|1[0-2]", found):
                assert re.search(rf"(?<![\d.,]){re.escape(found)}(?![\d]|\.\d)", said), f"{id}: where is {found} from?"
    assert used == set(known), f"no longer in the prose: {set(known) - used}"


class Rows(HTMLParser):
    """The cells of a table, row by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(re.sub(r"<style.*?</style>", "", html, flags=re.S))

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/ja"])
def test_what_is_said_of_the_experiments_is_what_their_table_says(folder):
    cells = nbformat.read(ROOT / f"{folder}/05_experiments.ipynb", as_version=4).cells
    (table,) = [cell for cell in cells if cell.id == "05-21"]
    rows = Rows(table.outputs[0].data["text/html"]).rows
    found = {
        (kind, value): {"steps": steps, "loss": loss, "style": style.replace("%", " %"), "likelihood": likelihood}
        for kind, value, steps, loss, style, likelihood, _ in (
            row for row in rows if len(row) == 7 and row[0] != "changed"
        )
        if kind
    }
    steps, passes = "pairs, 15 steps", "pairs, 5 passes"
    assert "05-22" in markdown(f"{folder}/05_experiments.ipynb")
    fifteen = [row for (kind, _), row in found.items() if kind == steps]
    assert min(float(row["likelihood"]) for row in fifteen) == float(found[steps, "5"]["likelihood"])
    assert min(float(row["loss"]) for row in fifteen) == float(found[steps, "5"]["loss"])
    assert float(found[passes, "5"]["likelihood"]) < float(found[passes, "84"]["likelihood"])
    slow = min((float(value) for kind, value in found if kind == "learning rate"), default=0)
    base = float(found["the base", ""]["likelihood"])
    assert abs(float(found["learning rate", f"{slow:g}"]["likelihood"]) - base) < 0.2


@pytest.mark.parametrize("name", LESSONS)
def test_the_japanese_twin_has_the_same_cells_and_is_not_behind(name):
    """Code, parameters and outputs to the byte; each text has the English one's figures, code and addresses."""
    import twins

    path = ROOT / f"notebooks/ja/{name}.ipynb"
    wanted, behind = twins.twin(name)
    assert not behind, f"their English changed: {behind}. Mend the Japanese, then: make twins ARGS=--translated"
    assert path.read_text(encoding="utf-8") == nbformat.writes(wanted) + "\n", "run make twins"
    english, japanese = markdown(f"notebooks/{name}.ipynb"), markdown(f"notebooks/ja/{name}.ipynb")
    assert list(english) == list(japanese)
    for id, text in japanese.items():
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text), f"{id} is not in Japanese"
        millions = {"20": "200", "20.9": "209"}  # 20 billion is 200 億
        missing = [n for n in NUMBER.findall(prose(english[id])) if n not in (numbers := NUMBER.findall(prose(text)))]
        assert all(millions.get(n) in numbers for n in missing), f"{id}: {missing} of the English are not in it"
        for pattern in (r"`[^`\n]+`", r"https?://[^)\s]+", r"\$[^$\n]+\$"):
            there = {found.replace("/notebooks/ja/", "/notebooks/") for found in re.findall(pattern, text)}
            assert set(re.findall(pattern, english[id])) <= there, f"{id} lacks code or an address of the English"


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/ja"])
@pytest.mark.parametrize("name", LESSONS[1:])
def test_a_lesson_begins_with_a_question_and_ends_with_its_answer(folder, name):
    cells = nbformat.read(ROOT / f"{folder}/{name}.ipynb", as_version=4).cells
    title = re.match(r"# \d[a-z]?\. (.+[?？])$", cells[0].source.splitlines()[0])
    assert title, "the title is no question"
    (answer,) = [
        n for n, cell in enumerate(cells) if re.search(r"^## (?:The answer|答え)(?=$|,|と)", cell.source, re.M)
    ]
    assert f"*{title[1]}*" in cells[answer].source
    assert any(cell.get("outputs") for cell in cells[answer + 1 : answer + 4]), "the answer shows nothing of the run"
    assert cells[-1].source.count("<details>") >= 3 and "glossary" in cells[0].source


def test_the_table_of_cards_is_that_of_today():
    import gpus

    for page in gpus.HEADERS:
        assert gpus.with_table(page) == (ROOT / page).read_text(encoding="utf-8"), "run python scripts/gpus.py"


@pytest.mark.parametrize("language", ["", ".ja"])
def test_the_figures_of_the_20b_in_readme_and_guide_are_the_measured_ones(language):
    text = "".join((ROOT / f"{page}{language}.md").read_text(encoding="utf-8") for page in ("README", "docs/guide"))
    for figure in (
        f"{recommended()['loaded_gib']:.1f} GiB",
        f"{recommended()['peak_gib']:.1f} GiB",
        f"{results('train_20b')['t4'][0]['peak_gib']:.1f} GiB",
        f"{results('conditions_20b')['peak_gib']:.1f} GiB",
        f"{recommended()['train_wall_s']:.0f} ",
        f"{seconds('batched_s'):.0f} ",
        f"{gain('16 rows at once = recommended'):.2f} ",
        *(f"{person()[f'called better, {n} questions'].strip('%')} %" for n in (30, 100)),
    ):
        assert figure in text, figure


def test_the_glossary_is_the_same_in_both_languages():
    english, japanese = (
        [
            line.split(" | ")
            for line in (ROOT / f"docs/{page}").read_text(encoding="utf-8").splitlines()
            if line[:2] == "| "
        ]
        for page in ("glossary.md", "glossary.ja.md")
    )
    assert len(english) == len(japanese) > 30
    here, there = ({cells[n].strip("| ").lower() for cells in rows[1:]} for n, rows in ((0, english), (1, japanese)))
    assert here == there, "the English names differ"


def found_by_search(index: Path, query: str) -> set[str]:
    """The pages that Sphinx's searchtools.js lists for a query of one term: an exact term, else, of three characters
    or more, every term that holds it; and titles."""
    known = json.loads(index.read_text(encoding="utf-8").removeprefix("Search.setIndex(").removesuffix(")"))
    pages = set()
    for terms in (known["terms"], known["titleterms"]):
        hits = [query] if query in terms else [term for term in terms if query in term and len(query) > 2]
        for term in hits:
            pages |= {terms[term]} if isinstance(terms[term], int) else set(terms[term])
    pages |= {page for title, places in known["alltitles"].items() if query in title for page, _ in places}
    return {known["docnames"][page] for page in pages}


JAPANESE_PAGES = (
    "README.ja.md",
    *(f"docs/{name}.ja.md" for name in ("guide", "talk", "grid", "mxfp4", "glossary", "real-model")),
)


def test_the_site_opens_from_disk_and_no_link_is_broken(tmp_path):
    command = [sys.executable, "scripts/build_site.py", "--out", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    for language, folder, word in (("en", "notebooks", "adapter"), ("ja", "notebooks/ja", "推論")):
        for name in LESSONS:
            page = (site / language / folder / f"{name}.html").read_text(encoding="utf-8")
            assert f'<html lang="{language}"' in page and "data-theme" in page
            assert ("ja" if language == "en" else "en") + "/notebooks" in page, "no way to the other language"
        assert json.dumps(word)[1:-1] in (site / language / "searchindex.js").read_text(encoding="utf-8")
    for query in ("個人情報", "本人らしさ", "推論", "チェックポイント"):
        texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in JAPANESE_PAGES}
        texts |= {f"notebooks/ja/{name}.": "".join(markdown(f"notebooks/ja/{name}.ipynb").values()) for name in LESSONS}
        wanted = {path.rpartition(".")[0] for path, text in texts.items() if query in text}
        assert found_by_search(site / "ja/searchindex.js", query) == wanted, query
    math = (site / "en/notebooks/03_train_qlora.html").read_text(encoding="utf-8")
    assert "<math" in math and not re.search(r"<script[^>]*mathjax", math, re.I)


def test_a_broken_link_of_the_site_is_found(tmp_path):
    import build_site

    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#end">1</a><a href="#top">2</a><a href="#no">3</a>'
    )
    (tmp_path / "b.html").write_text('<p id="end"><a href="gone.html">4</a><img src="https://example.org/x.png">')
    assert build_site.broken_links(tmp_path) == ["a.html: #no", "b.html: gone.html"]
    assert len(build_site.fetched_from_elsewhere(tmp_path)) == 1
