"""HTML pages that are complete in one file and run no script but their own."""

from __future__ import annotations

import base64
import hashlib
from typing import Any


def render_page(template: str, /, **values: Any) -> str:
    """The page of ``template.html.j2`` with its script ``template.js``; every value is escaped.

    The page's Content-Security-Policy lets this script run, known by its hash, and no other.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("persona_ft.report", "."), autoescape=True, keep_trailing_newline=True
    )
    script = environment.loader.get_source(environment, f"{template}.js")[0]  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(f"{template}.html.j2").render(
        script=script, script_hash=f"sha256-{digest}", **values
    )
