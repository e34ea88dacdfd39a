"""A table of one's own: a CSV or JSONL file with a time, a speaker and a text in each row."""

import csv
import itertools
import re
from collections.abc import Iterator
from typing import Any

from persona_ft.chat.exports import loaded
from persona_ft.chat.messages import MAX_LINE, ChatMessage, Source, Speakers, lines_of, open_text
from persona_ft.chat.times import ORDERS, orders_of, time_of
from persona_ft.errors import PersonaError
from persona_ft.io import packaged

# What a row must have.
COLUMNS = ("time", "speaker", "text")


def read_table(path: Source, columns: dict[str, str] | None = None) -> Iterator[ChatMessage]:
    """The messages of a CSV (comma, semicolon or tab) or JSONL file. ``columns``: which of its columns is ``time``,
    ``speaker`` and ``text``, where they have no usual name, and how ``dates`` of numbers are meant, such as ``dmy``;
    else all the dates together have to say it."""
    columns = columns or {}
    order, where, speakers = columns.get("dates"), {}, Speakers()
    for number, row in _rows(path):
        where = where or _map_columns(row, columns, path.name)
        if missing := [key for key, column in where.items() if row.get(column) is None and key != "person"]:
            raise PersonaError(f"the row has no {missing[0]}", "fill it in or remove the row", path.name, number)
        time, speaker, text = (str(row[where[key]]).strip() for key in COLUMNS)
        if order is None and orders_of(time):
            order = _order(path, where["time"])
        at = time_of(time, path.name, order=order or "", line=number)
        person = where["person"] and row.get(where["person"])
        yield ChatMessage(at, speakers(speaker, person), text, "text" if text else "media")


def _order(path: Source, column: str) -> str:
    """How a column writes its dates, where all its dates together leave one way."""
    left = set(ORDERS)
    for _, row in _rows(path):
        left &= orders_of(str(row.get(column)).strip()) or left
    return left.pop() if len(left) == 1 else ""


def _rows(path: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) for each row that is not empty."""
    rows = _json_rows(path) if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(path)
    yield from ((n, row) for n, row in rows if any(str(value or "").strip() for value in row.values()))


def _json_rows(path: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines_of(path):
        if not line.strip():
            continue
        row = loaded(line, path.name, number)
        if not isinstance(row, dict):
            raise PersonaError("the line is no object", 'write {"time": …, "speaker": …, "text": …}', path.name, number)
        yield number, row


def _csv_rows(path: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as stream:
        head = stream.readline(MAX_LINE)
        if re.fullmatch(r"sep=.\s*", head):  # for Excel
            head = stream.readline(MAX_LINE)
        # Strict: a quote that is opened and never closed would swallow every row after it.
        rows = csv.DictReader(itertools.chain([head], stream), delimiter=max("\t;,", key=head.count), strict=True)
        try:
            yield from ((rows.line_num, row) for row in rows)
        except (csv.Error, UnicodeDecodeError) as error:
            why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            reason = f"the row cannot be read ({why})"
            raise PersonaError(reason, "save it as CSV again", path.name, rows.line_num) from error


def _map_columns(row: dict[str, Any], given: dict[str, str], name: str) -> dict[str, str]:
    """Which of the row's columns is the time, the speaker, the text, and the number of the person."""
    there = {str(column).strip().lower(): str(column) for column in row if column is not None}
    usual = packaged("chat/formats")["columns"]
    wanted = {key: [given[key].lower()] if key in given else names for key, names in usual.items()}
    found = {key: next((there[w] for w in names if w in there), None) for key, names in wanted.items()}
    if key := next((key for key in COLUMNS if found[key] is None), None):
        # Without a header the first row is somebody's words: it is not repeated.
        header = all(len(name) <= 24 and not re.search(r"\d|\s", name) for name in there.values())
        listed = f"there are {', '.join(there.values())}" if header else "its first line names no columns"
        reason = f"no column is the {key}; {listed if there else 'there are none'}"
        raise PersonaError(reason, f'say which one it is: COLUMNS = "{key}=…"', name)
    return found
