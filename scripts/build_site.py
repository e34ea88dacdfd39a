"""Build the site: the READMEs, the notebooks and the pages beside them as HTML that opens from disk.

    python scripts/build_site.py [--out site]     # make site: about 20 s; then open site/index.html

Sphinx with MyST-NB, once for each language (settings: docs/conf.py). A link to a page or a heading that is not there
stops it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
FIRST_PAGES = {"en": "en/README.html", "ja": "ja/README.ja.html"}
INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>persona_ft</title>
<style>body {{ font: 1.3rem sans-serif; margin: 20vh auto; text-align: center; color-scheme: light dark; }}</style>
<p><a href="{en}">English</a> &nbsp; <a href="{ja}" lang="ja">日本語</a></p>
<script>location.replace(navigator.language.startsWith("ja") ? "{ja}" : "{en}")</script>
"""


class Links(HTMLParser):
    """What a page points to, and the places in it that can be pointed to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        self.targets |= {found[name] for name in ("href", "src") if found.get(name)}


def pages_of(site: Path) -> list[Path]:
    """The site's pages, without the theme's own templates."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def broken_links(site: Path) -> list[str]:
    """``page: target`` for each link of the site to a file, or to a place in a page, that is not there."""
    pages = {path.resolve(): Links(path) for path in pages_of(site)}
    found = []
    for page, links in pages.items():
        for target in sorted(links.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            wanted = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            place = unquote(parts.fragment)
            if not wanted.exists() or (place and wanted in pages and place not in pages[wanted].places):
                found.append(f"{page.relative_to(site.resolve())}: {target}")
    return found


def fetched_from_elsewhere(site: Path) -> list[str]:
    """Scripts, styles, fonts and pictures that a page would fetch from the network: opened from disk it must not."""
    pattern = re.compile(r'<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)="(https?:)?//[^"]+"')
    return [
        f"{page.relative_to(site)}: {m[0]}"
        for page in pages_of(site)
        for m in pattern.finditer(page.read_text("utf-8"))
    ]


def build(out: Path) -> None:
    """Both languages into a folder, which is emptied first.

    Raises
    ------
    SystemExit
        Sphinx warned of something, or a link is broken: which, is on the standard error stream.
    """
    if out.exists():
        if any(out.iterdir()) and not (out / "index.html").exists():
            sys.exit(f"{out} holds something else than a site: give another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    # First, so that what a failed build leaves is known for a site, and the next one may empty it.
    (out / "index.html").write_text(INDEX.format(**FIRST_PAGES), encoding="utf-8")
    for language in FIRST_PAGES:
        command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-b", "html"]
        command += ["-c", str(ROOT / "docs"), "-d", str(out / f".doctrees-{language}"), "-t", language]
        if subprocess.run([*command, str(ROOT), str(out / language)]).returncode:
            sys.exit(f"the pages in {language} were not built: Sphinx says above where to look")
        shutil.rmtree(out / f".doctrees-{language}")
    if faults := broken_links(out) + fetched_from_elsewhere(out):
        sys.exit("\n".join(["links that lead nowhere, or out of the site:", *faults]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder for the site")
    out = parser.parse_args().out
    build(out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out / 'index.html'}  {len(pages_of(out))} pages, {size / 1e6:.0f} MB: open it in a browser")


if __name__ == "__main__":
    main()
