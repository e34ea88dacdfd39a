"""The pages in a real browser: whatever people or a model write is text there, and what one presses works.

A page is served as it is but for its own protection (the policy that lets no other script run), which is taken off:
what the words may do must not hang on it. A probe then moves over everything and presses every link that holds a
script. Whatever runs tells the server, and whatever is fetched is counted there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from conftest import ROOT
from parrot import parrot
from test_evaluation import compared
from test_robust import TAGS

from persona_ft.chat.review import Review, Seen, review_form
from persona_ft.conversation import Conversation, read_jsonl, write_jsonl
from persona_ft.data.interview import Interview, interview_form
from persona_ft.data.persona import Persona, Profile
from persona_ft.evaluate.schema import Comparison
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.notebook.run import execute
from persona_ft.report.blind import BlindTest, blind_form
from persona_ft.report.compare import SideBySide
from persona_ft.report.page import render_page, write_report, write_tables
from persona_ft.use.form import bubble
from persona_ft.use.web import web_app

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")

# Beside the tags: what ends a comment, an attribute or a raw text, entities read twice, Markdown, formulas, fetches.
MORE = [
    '<!-- --!><img src=x onerror="{0}">', "<!--<script>{0}</script>", "</textarea><script>{0}</script>",
    "</title><script>{0}</script>", "</style><script>{0}</script>", "</script><script>{0}</script>",
    "</pre><img src=x onerror={0}>", "' onmouseover='{0}", '" onmouseover="{0}', '" autofocus onfocus="{0}',
    "&lt;script&gt;{0}&lt;/script&gt;", "&#60;img src=x onerror={0}&#62;", "\\u003cscript\\u003e{0}",
    "{{{{ {0} }}}}", "${{{0}}}", "[x](javascript:{0})", "![x](/out-markdown)", "[x]: javascript:{0}\n\n[x]",
    "<javascript:{0}>", "$$\\href{{javascript:{0}}}{{x}}$$", "\\(\\href{{javascript:{0}}}{{x}}\\)",
    "<math><mtext><img src=x onerror={0}>", "<svg><script>{0}</script></svg>",
    "<svg><a xlink:href=javascript:{0}>x</a>",
    '<noscript><p title="</noscript><img src=x onerror={0}>">', "<form action=javascript:{0}><button>x</button></form>",
    "<a href=&#106;avascript:{0}>x</a>", "<a href=' java\tscript:{0}'>x</a>", "<object data=javascript:{0}></object>",
    "<video><source onerror={0}></video>", "<input autofocus onfocus={0}>", "<marquee onstart={0}>x</marquee>",
    "<template><script>{0}</script></template>", "<base href=javascript:{0}//>", "<img src=/out-picture>",
    "<link rel=stylesheet href=/out-style>", "<style>@import '/out-import';</style>",
    "<iframe src=/out-frame></iframe>",
    "<p style=\"background:url('/out-background')\">x</p>", "<script src=/out-script></script>",
    '<meta http-equiv="refresh" content="0;url=/out-refresh">', "<b id=items class=item name=find>x</b>",
]  # fmt: skip
HOSTILE = [tag.format(f"top.ran({n})") for n, tag in enumerate([*TAGS, *MORE])]
ALL = "  ".join(HOSTILE)

FIRST = """<script>window.ran = (n) => { new Image().src = `${location.origin}/ran-${n}`; };</script>"""
PROBE = """<script>addEventListener("load", () => {
  for (const e of document.querySelectorAll("body *")) {
    for (const kind of ["mouseover", "focus", "toggle", "start"]) e.dispatchEvent(new Event(kind));
    const where = e.href?.baseVal ?? e.href ?? "";
    if (/^\\s*javascript:/i.test(where)) window.ran("link");
  }
});</script>"""


# Tests run as root too, in a container, where Chromium's own sandbox cannot be had.
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]


def opened(folder: Path, page: str) -> tuple[str, set[str]]:
    """The page's DOM after its scripts, and what was fetched besides the page: /ran-7 by the 7th words' script."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    page = re.sub(r"<head>|\Z", lambda m: m[0] + FIRST, page, count=1)
    body = page.replace("</body>", f"{PROBE}</body>") if "</body>" in page else page + PROBE
    fetched: set[str] = set()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/", "/favicon.ico"):
                fetched.add(self.path)
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode() if self.path == "/" else b"")

        def log_message(self, *_: Any) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{site.server_port}/"
        command = [CHROMIUM, *FLAGS, "--virtual-time-budget=2000", f"--user-data-dir={folder / 'browser'}"]
        # Only this page's server can be reached: scripts that a page loads from elsewhere are not what is looked at.
        command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom", address]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    finally:
        site.shutdown()
        site.server_close()
    assert "<html" in dom, "the browser showed nothing"
    return dom, fetched


def test_the_probe_sees_what_runs(tmp_path):
    """The same words as HTML: most of them do run here, so that none on a page means something."""
    leaves = ("<!--", "<base", "refresh")  # these would hide the others, or go to another page
    some = [words for words in HOSTILE if not any(part in words for part in leaves)]
    closed = "\n".join(f"<div>{words}</div></title></style></script>" for words in some)
    _, fetched = opened(tmp_path, f"<!doctype html><html><head></head><body>{closed}</body></html>")
    assert sum("/ran-" in path for path in fetched) >= 15 and "/ran-link" in fetched and "/out-picture" in fetched


@cache
def nth(n: int) -> str:
    return HOSTILE[n % len(HOSTILE)]


@pytest.fixture
def hostile_persona(masaki) -> Persona:
    """A persona in which name, prompt, questions, answers and categories are hostile words, each another one."""

    def rows(pairs: list[Conversation], k: int) -> list[Conversation]:
        return [
            Conversation.pair(f"{nth(3 * i + k)} {i}", f"{nth(3 * i + k + 1)} {pair.answer}", category=nth(i))
            for i, pair in enumerate(pairs)
        ]

    profile = Profile.model_validate({**masaki.profile.model_dump(), "name": ALL, "facts": [], "unknown_topics": []})
    test = [p.model_copy(update={"id": nth(i)}) for i, p in enumerate(rows(masaki.test, 2))]
    return Persona(masaki.folder, profile, rows(masaki.train, 0), test)


@pytest.fixture
def hostile_comparison(hostile_persona) -> Comparison:
    """Hostile words wherever comparison.json has words of a person, of a model or of a file."""
    n = len(hostile_persona.test)
    found = compared(hostile_persona, [nth(i) for i in range(n)], [nth(n + i) for i in range(n)])
    for i, change in enumerate(found.changes):
        change.evidence = change.kind = nth(i)
    for i, answer in enumerate(found.conditions[1].answers):
        answer.nearest = nth(i + 7)
    judge = {"who": ALL, "first": 1, "second": 1, "ties": 0, "n": 2, "unanswered": 0, "p": 1.0}
    updated = {"setup": {ALL: ALL, "model": ALL}, "judge": judge | {"a_a": {"first": 1, "second": 1, "ties": 0}}}
    return found.model_copy(update=updated)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_report(hostile_comparison, tmp_path, language):
    page = write_report(tmp_path / "report.html", hostile_comparison, {}, language).read_text(encoding="utf-8")
    dom, fetched = opened(tmp_path, page)
    assert not fetched and ">30 / 30<" in dom, "the page's own script has run, and no other"


def test_the_page_of_two_runs(hostile_comparison, hostile_persona, tmp_path):
    style = StyleClassifier([pair.answer for pair in hostile_persona.train], ["はい。"] * 5)
    found = SideBySide({ALL: hostile_comparison, HOSTILE[0]: hostile_comparison.model_copy(deep=True)}, style)
    asked = {name: dict(zip(HOSTILE, reversed(HOSTILE), strict=True)) for name in found.runs}
    dom, fetched = opened(tmp_path, found.page(asked, "ja"))
    assert not fetched and ">30 / 30<" in dom


def test_the_sheet_for_a_friend(hostile_comparison, tmp_path):
    rows = [(nth(i), nth(i + 1), nth(i + 2), ALL) for i in range(len(HOSTILE))]
    page = BlindTest(tmp_path, (ALL, "b"), rows).export(ALL).read_text(encoding="utf-8")
    dom, fetched = opened(tmp_path, page)
    assert not fetched and f">0 / {len(rows)}<" in dom


def test_the_page_of_a_grid(tmp_path):
    rows = [{"cell": words, ALL: words, "scores": 1.0} for words in HOSTILE]
    page = render_page("grid", said=[ALL], tables={ALL: rows}, pages=dict.fromkeys(HOSTILE, "report.html"))
    _, fetched = opened(tmp_path, page)
    assert not fetched


def test_tables_in_markdown_as_html(hostile_comparison, tmp_path):
    """As a reader that lets HTML through makes a page of it; most let none."""
    from markdown_it import MarkdownIt

    text = write_tables(tmp_path, hostile_comparison)[1].read_text(encoding="utf-8")
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    _, fetched = opened(tmp_path, f"<!doctype html><html><head></head><body>{page}</body></html>")
    assert not fetched


def values(widget: Any) -> list[str]:
    """The HTML of all HTML widgets in a form; everything else that a widget shows is text."""
    own = [widget.value] if type(widget).__name__ == "HTML" else []
    return own + [html for child in getattr(widget, "children", ()) for html in values(child)]


def test_the_forms(tmp_path):
    asked = [Conversation.pair(f"{words} {n}", "…", category=words) for n, words in enumerate(HOSTILE)]
    html = [bubble(who, words) for who in ("user", "base", "tuned", "corrected") for words in (*HOSTILE, ALL)]
    for n, words in enumerate((*HOSTILE, ALL)):
        rows = [("1", words, words, words)]
        html += values(blind_form(BlindTest(tmp_path, (words, "b"), rows)))
        seen = Seen("name", words, words, words, words, ("1/q0/name",), "keep")
        html += values(review_form(Review((seen,), "x"), tmp_path / "choices.json"))
        html += values(interview_form(Interview(asked[n:], tmp_path / "interview.jsonl")))
    assert len(html) > 7 * len(HOSTILE)
    page = "".join(f"<div>{part}</div>" for part in html)
    _, fetched = opened(tmp_path, f"<!doctype html><html><head></head><body>{page}</body></html>")
    assert not fetched


def executed(name: str, given: dict[str, Any], folder: Path) -> str:
    """A notebook after it ran, as the page that nbconvert makes of it."""
    from nbconvert import HTMLExporter

    run = folder / "run"
    run.mkdir(mode=0o700)
    execute([name], run, {"MODEL": "tiny", **given})
    return HTMLExporter().from_notebook_node(nbformat.read(run / f"{name}.ipynb", as_version=4))[0]


def persona_folder(folder: Path) -> Path:
    """A persona whose name and prompt are hostile, without answers."""
    (folder / "persona").mkdir()
    profile = {"name": HOSTILE[1], "system_prompt": ALL, "language": "ja"}
    text = yaml.safe_dump(profile, allow_unicode=True)
    (folder / "persona/persona.yaml").write_text(text, encoding="utf-8")
    return folder / "persona"


def harmless_page(name: str, given: dict[str, Any], folder: Path) -> None:
    dom, fetched = opened(folder, executed(name, given, folder))
    assert not fetched and dom.count("top.ran(") > 10, "hostile words are shown, and do nothing"


def test_the_notebook_of_answers(masaki, tmp_path):
    """Name, prompt, answers, categories and the questions that are trained on; those of the test must differ."""
    folder = persona_folder(tmp_path)
    for file, pairs, asked in (("train", masaki.train, HOSTILE), ("test", masaki.test, [""] * 30)):
        rows = [
            Conversation.pair(
                f"{word} {pair.question}", f"{nth(n)} {pair.answer}", category=nth(n + 1), id=f"{file}-{n}"
            )
            for n, (pair, word) in enumerate(zip(pairs, asked, strict=False))
        ]
        write_jsonl(folder / f"{file}.jsonl", rows)
    harmless_page("02_build_dataset", {"PERSONA": str(folder)}, tmp_path)


def test_the_notebook_of_a_chat(tmp_path):
    """Speakers' names, what they write, and what was found to be private, which this notebook shows on demand."""
    chat = json.loads((ROOT / "data/chats/telegram.json").read_text(encoding="utf-8"))
    # A speaker's name is taken out of all texts, word by word: these have no word of the others but "object".
    names = {"まさき": "<object data=/zza></object>", "花子": "<object data=/zzb></object>"}
    for n, message in enumerate(chat["messages"]):
        message["from"] = names.get(message.get("from"), "")
        if message.get("text"):
            message["text"] = f"{nth(n)} {message['text']} {n}@example.org"
    (tmp_path / "chat.json").write_text(json.dumps(chat, ensure_ascii=False), encoding="utf-8")
    given = {"CHAT": str(tmp_path / "chat.json"), "ME": names["まさき"], "SHOW_PRIVATE": True}
    given["PERSONA"] = str(persona_folder(tmp_path))
    harmless_page("02b_from_chats", given, tmp_path)


@contextmanager
def window(width: int = 1200, height: int = 900) -> Iterator[Any]:
    """A window of the browser that one can type in, without a page's own protection; what runs is in ``window.marks``.

    Playwright drives it: pip install playwright, no browser of its own.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.route(re.compile(r"^https?://(?!127\.0\.0\.1|localhost)"), lambda route: route.abort())
        page = context.new_page()
        page.add_init_script("window.marks = []; window.ran = (n) => window.marks.push(n)")
        page.fetched = []
        page.on("request", lambda request: page.fetched.append(request.url))
        yield page
        browser.close()


def nothing_ran(page: Any) -> None:
    """Moves over everything that is shown, and looks at what ran and what was fetched."""
    page.evaluate(PROBE.removeprefix('<script>addEventListener("load", ').removesuffix(");</script>"))
    page.wait_for_timeout(300)
    assert page.evaluate("window.marks") == [] and not [url for url in page.fetched if "/out-" in url]


def confirm_a_conversion(page: Any) -> None:
    """As a Japanese keyboard does: Enter takes 日本 for にほん, and the browser hears key 229 and no key press."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    key = {"windowsVirtualKeyCode": 229, "key": "Process", "code": "Enter"}
    devtools.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    devtools.send("Input.insertText", {"text": "日本"})
    devtools.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    page.wait_for_timeout(700)


def talks_of(folder: Path) -> list[list[str]]:
    return [[m.content for m in read_jsonl(path)[0].messages] for path in sorted((folder / "talks").glob("*.jsonl"))]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until_it_listens(port: int) -> None:
    for _ in range(300):
        with socket.socket() as door:
            if door.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("nothing listens")


@pytest.fixture
def talk_page(tmp_path) -> Iterator[str]:
    """The address of a talk page; what answers there says back what it is told."""
    pytest.importorskip("gradio")
    uvicorn, port = pytest.importorskip("uvicorn"), free_port()
    config = uvicorn.Config(web_app(parrot(tmp_path, ALL)), host="127.0.0.1", port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until_it_listens(port)
    yield f"http://localhost:{port}/"
    server.should_exit = True
    thread.join(20)


def test_the_talk_page_on_a_phone(talk_page, tmp_path):
    with window(390, 844) as page:
        page.goto(talk_page)
        box, answers = page.locator("#talk textarea").first, page.locator("#talk .bot.message")
        for n, words in enumerate((ALL, *HOSTILE[:3], "<3 A&B &lt;b&gt;"), start=1):
            box.fill(words)
            box.press("Enter")
            answers.nth(n - 1).wait_for()
            page.wait_for_function("!document.querySelector('#talk textarea').disabled")
        assert answers.last.inner_text() == "<3 A&B &lt;b&gt;" and HOSTILE[1] in answers.nth(2).inner_text()
        page.wait_for_function("document.activeElement.matches('#talk textarea')")
        confirm_a_conversion(page)
        assert box.input_value() == "日本" and answers.count() == n, "Enter took the conversion, and sent nothing"
        better = page.locator("textarea").last
        better.fill("better words")
        page.get_by_role("button", name="Add to my answers").click()
        page.wait_for_function("[...document.querySelectorAll('#talk .bot.message')].pop().innerText == 'better words'")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        nothing_ran(page)
        other = page.context.new_page()
        other.goto(talk_page)
        other.locator("#talk textarea").first.fill("another page")
        other.locator("#talk textarea").first.press("Enter")
        other.locator("#talk .bot.message").wait_for()
        page.wait_for_timeout(300)
    first, second = talks_of(tmp_path)
    assert second == ["another page"] * 2 and first[-1] == "better words" and len(first) == 2 * n
    assert read_jsonl(tmp_path / "train.jsonl")[-1].answer == "better words"


@pytest.fixture
def laboratory(tmp_path) -> Iterator[str]:
    """The address of a JupyterLab with one notebook, which shows the talk form and hostile tables."""
    source = f"import sys\nsys.path[:0] = {[str(ROOT / 'tests'), str(ROOT / 'src')]!r}\nfrom pathlib import Path\n"
    source += (
        "from parrot import parrot\nfrom persona_ft.use.form import talk_form\nfrom IPython.display import display\n"
    )
    source += "import pandas as pd\nfrom persona_ft.report.tables import text_table\n"
    source += f"words = {HOSTILE!r}\nframe = pd.DataFrame({{'a': words}}, index=words)\n"
    source += "display(text_table(frame), frame)\ndisplay(talk_form(parrot(Path(), words[1])))"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel}, cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "talk.ipynb")
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", str(tmp_path), "--no-browser", "--allow-root", f"--port={port}"]
    homes = {
        name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | homes}
    process = subprocess.Popen([*command, "--IdentityProvider.token=t"], **quiet)
    try:
        until_it_listens(port)
        yield f"http://localhost:{port}"
    finally:
        urllib.request.urlopen(urllib.request.Request(f"http://localhost:{port}/api/shutdown?token=t", method="POST"))
        process.wait(30)


def test_the_talk_form_in_jupyterlab(laboratory, tmp_path):
    pytest.importorskip("jupyterlab")
    with window() as page:
        page.goto(f"{laboratory}/lab/tree/talk.ipynb?token=t&reset")
        page.locator(".jp-CodeCell").first.click(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        box = page.locator("input[placeholder*='Enter sends']")
        box.click(timeout=60_000)
        words = page.locator(".widget-html-content div[style*='overflow-wrap']")

        def done() -> None:
            page.wait_for_function(
                "[...document.querySelectorAll('button')].some(b => b.innerText == 'stop' && b.disabled)"
            )

        # Typed at once: the last letters are still on their way to the kernel when Enter is there.
        page.keyboard.type("who are you now?", delay=0)
        page.keyboard.press("Enter")
        words.nth(1).wait_for()
        done()
        assert words.all_inner_texts() == ["who are you now?"] * 2 and box.input_value() == ""
        assert page.evaluate("document.activeElement.placeholder") == "write something; Enter sends it"
        for hostile in (ALL, HOSTILE[1]):
            box.fill(hostile)
            box.press("Enter")
            page.wait_for_function("document.querySelector(\"input[placeholder*='Enter sends']\").value == ''")
            done()
        assert words.last.inner_text() == HOSTILE[1] and words.count() == 6
        page.locator("button[onclick]").last.click()
        assert page.evaluate("navigator.clipboard.readText()") == HOSTILE[1]
        box.click()
        confirm_a_conversion(page)
        assert box.input_value() == "日本" and words.count() == 6
        box.fill("say this slowly , word for word , and do not hurry at all , there is time")
        box.press("Enter")
        page.get_by_text("say this", exact=True).wait_for()
        page.keyboard.type("typed meanwhile")
        page.get_by_role("button", name="stop").click()
        page.get_by_text("Stopped; this answer is not kept.").wait_for()
        assert box.input_value() == "typed meanwhile" and words.count() == 6
        nothing_ran(page)
    (talk,) = talks_of(tmp_path)
    assert talk[::2] == talk[1::2] and len(talk) == 6
