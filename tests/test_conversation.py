"""JSONL in and out; what a broken line says."""

from __future__ import annotations

import json
import os

import pytest
from conftest import ROOT

from persona_ft.conversation import Conversation, read_jsonl, write_jsonl
from persona_ft.data.persona import persona_or_pairs
from persona_ft.errors import PersonaError
from persona_ft.io import write_text

GOOD = '{"messages": [{"role": "user", "content": "元気？"}, {"role": "assistant", "content": "元気！"}]}'


def row(*messages: tuple[str, str], **known) -> str:
    return json.dumps({"messages": [{"role": r, "content": c} for r, c in messages], **known})


def test_round_trip_keeps_every_field(tmp_path, masaki):
    for rows in (masaki.train, masaki.test):
        assert read_jsonl(write_jsonl(tmp_path / "copy.jsonl", rows)) == rows


def test_shipped_files_are_written_as_we_write_them(masaki):
    """So that a notebook's copy of them does not differ in form."""
    for name, rows in (("train", masaki.train), ("test", masaki.test)):
        path = masaki.folder / f"{name}.jsonl"
        assert [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()] == [
            [m.model_dump(exclude_none=True) for m in r.messages] for r in rows
        ]


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path):
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{GOOD}\r\n\r\n{GOOD}".encode())
    assert [c.answer for c in read_jsonl(path)] == ["元気！", "元気！"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{'messages': []}", "not JSON"),
        (GOOD[:-1], "not JSON"),
        ("[1, 2]", "dictionary"),
        ('{"messages": []}', "no assistant turn"),
        (row(("user", "元気？")), "no assistant turn"),
        (row(("user", "元気？"), ("assistant", "  ")), "messages.1.content: is empty"),
        (row(("assistant", "元気！"), ("user", "え")), "must take turns"),
        (row(("user", "a"), ("user", "b"), ("assistant", "c")), "must take turns"),
        (row(("user", "a"), ("system", "b"), ("assistant", "c")), "must take turns"),
        (row(("user", "a"), ("assistant", "b"), ("user", "c")), "must take turns"),
        (row(("human", "元気？"), ("assistant", "元気！")), "messages.0.role"),
        (row(("user", "a"), ("assistant", "b"), answer="b"), "answer: Extra inputs"),
        (row(("user", "a"), ("assistant", "\ud83d")), "half a character"),
        (json.dumps({"prompt": "a", "completion": "b"}), "messages: Field required"),
    ],
)
def test_a_bad_line_names_file_line_reason_and_remedy(tmp_path, line, reason):
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n{GOOD}\n", encoding="utf-8")
    with pytest.raises(PersonaError) as caught:
        read_jsonl(path)
    assert (caught.value.path, caught.value.line) == (path, 3)
    assert reason in str(caught.value) and "What to do: " in str(caught.value)


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-16"])
def test_another_encoding_is_named_as_the_reason(tmp_path, encoding):
    path = tmp_path / "excel.jsonl"
    path.write_bytes(GOOD.encode(encoding))
    with pytest.raises(PersonaError, match=r"line 1: byte .* is not UTF-8") as caught:
        read_jsonl(path)
    assert "Shift_JIS" in caught.value.remedy


def test_a_missing_and_an_empty_file(tmp_path):
    with pytest.raises(PersonaError, match="cannot be read"):
        read_jsonl(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(PersonaError, match="has no conversation"):
        read_jsonl(tmp_path / "empty.jsonl")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = write_jsonl(tmp_path / "a.jsonl", [Conversation.pair("前", "まえ")])
    before = path.read_bytes()

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(PersonaError, match="No space left"):
        write_text(path, "後")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_file_of_pairs_is_split_and_what_it_lacks_is_said(tmp_path, masaki):
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, masaki.train)
    persona = persona_or_pairs(path, "短く話す人です。")
    assert (len(persona.train), len(persona.test)) == (63, 21) and len({item.id for item in persona.test}) == 21
    assert not {p.question for p in persona.train} & {p.question for p in persona.test}
    with pytest.raises(PersonaError, match="who is talking"):
        persona_or_pairs(path)
    write_jsonl(path, masaki.train[:7])
    with pytest.raises(PersonaError, match=r"mine.jsonl: 7 pairs are too few"):
        persona_or_pairs(path, "短く話す人です。")
    with pytest.raises(PersonaError, match="no such persona folder"):
        persona_or_pairs(tmp_path / "nobody", "")
    assert persona_or_pairs(ROOT / "data/masaki").test == masaki.test


def test_prompt_is_all_but_the_answer():
    pair = Conversation.model_validate_json(
        row(("developer", "p"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"))
    )
    assert (pair.question, pair.answer) == ("q2", "a2")
    assert [m["role"] for m in pair.prompt] == ["developer", "user", "assistant", "user"]
