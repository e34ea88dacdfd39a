"""Whatever bytes a file holds, reading it gives messages or one clear error."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_chat import EXPORTS, zipped

from persona_ft.chat.messages import Funnel
from persona_ft.chat.pairing import Pairing, pairs_of
from persona_ft.chat.read import read_chat
from persona_ft.errors import PersonaError

META = {"participants": [], "messages": [{"sender_name": "a", "timestamp_ms": 1705312860000, "content": "hi"}] * 3}
FORMS = {what: (name, content) for what, (name, content, _) in EXPORTS.items()} | {
    "Messenger": ("m.json", json.dumps(META)),
    "several in a zip": ("z.zip", zipped(**{name: content for name, content, _ in EXPORTS.values()})),
}
# What means something in one form or another.
PIECES = (
    "\0 \n \t \" ' { [ ] } null true -1 1e999 \\ \\ud800 24:61 2024-13-45 31/02/2024,"
    " 2024/02/30(金) < > ( ٣ R9 : , ; 午後"
)
PIECES = [*(piece.encode() for piece in PIECES.split(" ")), b"\xff", b"\xed\xa0\x80", b"9" * 5000, b"[" * 500, b'"a":']
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 3, 40]), st.sampled_from(PIECES) | st.binary(max_size=3)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("what", FORMS)
@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_any_bytes_give_messages_or_one_error(what, tmp_path, edits):
    name, content = FORMS[what]
    broken = content.encode() if isinstance(content, str) else content
    for place, length, piece in edits:
        at = int(place * len(broken))
        broken = broken[:at] + piece + broken[at + length :]
    (tmp_path / name).write_bytes(broken)
    try:
        list(pairs_of(read_chat(tmp_path / name), Pairing(frozenset({"まさき"})), Funnel()))
    except PersonaError as error:
        assert "What to do" in str(error) and str(tmp_path) not in str(error)
