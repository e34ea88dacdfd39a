"""A table of one's own: a CSV or JSONL file with a time, a speaker and a text in each row."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

from persona_ft.chat.json_stream import loaded
from persona_ft.chat.messages import MAX_LINE, ChatMessage, Source, Speakers, lines_of, open_text
from persona_ft.chat.times import ORDERS, orders_of, time_of
from persona_ft.errors import PersonaError

# Column names that a table may use without a map.
COLUMNS = {
    "time": ("time", "date", "datetime", "timestamp", "at", "日時", "時刻"),
    "speaker": ("speaker", "author", "sender", "from", "name", "user", "発言者", "名前"),
    "text": ("text", "message", "content", "body", "本文", "メッセージ"),
}
# A column with the number of who speaks: two people may have one name.
PERSON = ("authorid", "author_id", "userid", "user_id", "senderid", "sender_id")


def read_table(path: Source, columns: dict[str, str] | None = None) -> Iterator[ChatMessage]:
    """The messages of a CSV (comma, semicolon or tab) or JSONL file.

    Parameters
    ----------
    columns : which of the file's columns is ``time``, ``speaker`` and ``text``; the usual names are known. ``dates``
        says how dates of numbers are meant, such as ``dmy``.

    Raises
    ------
    PersonaError
        A column is missing (the message lists those that are there), a row cannot be used, or 3/4/2024 may be April or
        March: file and line are named.
    """
    columns = columns or {}
    order: str | None = columns.get("dates")
    where: dict[str, str] | None = None
    speakers = Speakers()
    for number, row in _rows(path):
        where = where or _map_columns(row, columns, path.name)
        missing = [key for key, column in where.items() if row.get(column) is None and key != "person"]
        if missing:
            raise PersonaError(f"the row has no {missing[0]}", "fill it in or remove the row", path.name, number)
        if order is None and orders_of(str(row[where["time"]]).strip()):
            order = _order(path, where["time"])
        try:
            at = time_of(row[where["time"]], path.name, order=order or "")
        except PersonaError as error:
            raise PersonaError(error.reason, error.remedy, path.name, number) from error
        text = str(row[where["text"]]).strip()
        speaker = speakers(str(row[where["speaker"]]).strip(), row.get(where.get("person")))
        yield ChatMessage(at, speaker, text, "text" if text else "media")


def _order(path: Source, column: str) -> str:
    """How a table's 3/4/2024 are meant, if all its dates together leave one way."""
    left = set(ORDERS)
    for _, row in _rows(path):
        left &= orders_of(str(row.get(column)).strip()) or left
    return left.pop() if len(left) == 1 else ""


def _rows(path: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) for each row that is not empty."""
    with open_text(path) as stream:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            rows = _json_rows(stream, path.name)
        else:
            head = stream.readline(MAX_LINE)
            if re.fullmatch(r"sep=.\s*", head):  # for Excel
                head = stream.readline(MAX_LINE)
            delimiter = max("\t;,", key=head.count)
            rows = _csv_rows(itertools.chain([head], stream), delimiter, path.name)
        yield from ((n, row) for n, row in rows if any(str(value or "").strip() for value in row.values()))


def _json_rows(stream: IO[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines_of(stream, name):
        if not line.strip():
            continue
        row = loaded(line, name, number)
        if not isinstance(row, dict):
            raise PersonaError("the line is no object", 'write {"time": …, "speaker": …, "text": …}', name, number)
        yield number, row


def _csv_rows(stream: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Strict: a quote that is opened and never closed would swallow every row after it.
    reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise PersonaError(f"the row cannot be read ({why})", "save it as CSV again", name, reader.line_num) from error


def _map_columns(row: dict[str, Any], given: dict[str, str], name: str) -> dict[str, str]:
    there = {str(column).strip().lower(): str(column) for column in row if column is not None}
    found = {}
    for key, usual in COLUMNS.items():
        wanted = [given[key].lower()] if key in given else usual
        column = next((there[w] for w in wanted if w in there), None)
        if column is None:
            # Without a header the first row is somebody's words: it is not repeated.
            header = all(len(name) <= 24 and not re.search(r"\d|\s", name) for name in there.values())
            listed = f"there are {', '.join(there.values())}" if header else "its first line names no columns"
            reason = f"no column is the {key}; {listed if there else 'there are none'}"
            raise PersonaError(reason, f'say which one it is: COLUMNS = "{key}=…"', name)
        found[key] = column
    if person := next((there[name] for name in PERSON if name in there), None):
        found["person"] = person
    return found
