"""Sphinx's settings for `make site`: the READMEs, the notebooks as they are stored, and the pages beside them.

scripts/build_site.py builds it twice, in English and, with the tag ``ja``, in Japanese. The source folder is the
repository itself.
"""

import posixpath
import re
from pathlib import Path

from sphinx.search import SearchLanguage

ROOT = Path(__file__).resolve().parents[1]
JAPANESE = tags.has("ja")  # noqa: F821  Sphinx puts `tags` here
LESSONS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
# The pages of each language, by their place in the repository, without suffix; the first is the way in.
PAGES = {
    "en": [
        "README",
        *(f"notebooks/{name}" for name in LESSONS),
        "docs/guide",
        "docs/talk",
        "docs/grid",
        "docs/mxfp4",
        "docs/glossary",
        "docs/real-model",
    ],
    "ja": [
        "README.ja",
        *(f"notebooks/ja/{name}" for name in LESSONS),
        *("docs/guide.ja", "docs/talk.ja", "docs/grid.ja", "docs/mxfp4.ja", "docs/glossary.ja", "docs/real-model.ja"),
    ],
}
COUNTERPARTS = dict(zip(PAGES["en"], PAGES["ja"], strict=True))
# Reference pages that exist in English alone.
PAGES["en"] += ["CONTRIBUTING", "docs/licences", "notebooks/README", "benchmarks/README", "data/README"]

language = "ja" if JAPANESE else "en"
other = "en" if JAPANESE else "ja"
project = "persona_ft"
root_doc = PAGES[language][0]
include_patterns = [f"{page}.ipynb" if "/0" in page else f"{page}.md" for page in PAGES[language]]
extensions = ["myst_nb"]
templates_path = ["templates"]
html_static_path = ["site.css"]
html_css_files = ["site.css"]

nb_execution_mode = "off"  # what is stored is shown; `make notebooks` makes it
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

html_theme = "sphinx_book_theme"
html_title = "persona_ft"
html_context = {"default_mode": "auto"}
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "footer_content_items": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def address(page: str, here: str, language_of_page: str) -> str:
    """From one page of the site to another: in its own language's folder, or in the other one's."""
    return posixpath.relpath(f"{language_of_page}/{page}.html", posixpath.dirname(f"{language}/{here}"))


def link_across(app, docname: str, source: list[str]) -> None:
    """Let links to pages of the other language lead to their HTML, and give the first page its table of contents."""

    def other_page(match: re.Match) -> str:
        text, target, anchor = match.groups()
        page = posixpath.normpath(posixpath.join(posixpath.dirname(docname), target))
        if page in PAGES[language] or page not in PAGES[other]:
            return match[0]
        return f"<a href='{address(page, docname, other)}{anchor or ''}'>{text}</a>"

    badge = r"(?:<br>)?\[!\[([^\]]+)\]\(https://colab[^)]+\)\]\((https://colab[^)]+)\)"
    # A badge's picture would be fetched from elsewhere; and before `make links` it leads nowhere.
    source[0] = re.sub(badge, lambda m: "" if "/OWNER/" in m[2] else f"[{m[1]}]({m[2]})", source[0])
    source[0] = re.sub(r"\[([^\[\]\n]+)\]\(([^)\s#:]+?)\.(?:md|ipynb)(#[^)\s]*)?\)", other_page, source[0])
    if docname == root_doc:
        entries = "\n".join(PAGES[language][1:])
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def counterpart(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """For templates/language.html: the same page in the other language, or that language's first page."""
    there = {ja: en for en, ja in COUNTERPARTS.items()} if JAPANESE else COUNTERPARTS
    page = there.get(pagename, PAGES[other][0])
    context["counterpart"] = address(page, pagename, other)
    context["counterpart_name"] = "English" if JAPANESE else "日本語"
    context["counterpart_language"] = other


def mathml(self, node, display: str) -> None:
    """A formula as MathML, which browsers draw themselves: no script from elsewhere, and none at all."""
    from docutils.nodes import SkipNode
    from latex2mathml.converter import convert

    formula = convert(node.astext(), display=display)
    self.body.append(f'<div class="formula">{formula}</div>' if display == "block" else formula)
    raise SkipNode


class Japanese(SearchLanguage):
    """Find any run of two characters or more: the page's script compares a query, as a whole, with each term.

    A splitter that knows words cuts 個人情報 in two, and then it is not found. Here a term is all that stands between
    two marks, in which a longer query is looked for, and each pair of neighbours, for queries of two characters. The
    sign before the long ones keeps a query from being one of them: then the script would look no further.
    """

    lang, language_name = "ja", "Japanese"

    def split(self, input: str) -> list[str]:
        runs = re.findall(r"\w+", input)
        japanese = [run for run in runs if not run.isascii()]
        pairs = [run[n : n + 2] for run in japanese for n in range(len(run) - 1)]
        return [*(run for run in runs if run.isascii()), *(f"_{run}" for run in japanese), *pairs]

    def word_filter(self, stemmed_word: str) -> bool:
        return len(stemmed_word) > 1


def setup(app) -> None:
    app.add_search_language(Japanese)
    inline, block = (lambda self, node, d=display: mathml(self, node, d) for display in ("inline", "block"))
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("source-read", link_across)
    app.connect("html-page-context", counterpart)
