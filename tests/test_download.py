"""A model from the Hub: the real client against a small server on this machine that answers as the Hub does."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import TINY
from huggingface_hub import constants

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.download import fetch_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "somebody/gpt-oss-20b-4bit"


class Hub:
    """What the server holds and how it behaves: files, who may have them, where a transfer is cut."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files = {path.name: path.read_bytes() for path in TINY.iterdir()} | {"original/model.safetensors": b"x"}
        self.claimed: dict[str, int] = {}  # sizes that it says a file has, where they are not the true ones
        self.cut_after: int | None = None  # once
        self.then_gone = False
        self.refuse: tuple[int, str] | None = None
        self.refuse_files: tuple[int, str] | None = None  # a gated repository lists its files and gives none
        self.ranges: list[str | None] = []  # of each request for the weights
        self.served: list[str] = []
        self.tokens: set[str | None] = set()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.hub, self.path.split("?")[0]
        hub.tokens.add(self.headers.get("authorization"))
        if hub.refuse or NAME not in path:
            status, code = hub.refuse or (404, "RepoNotFound")
            return self.reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
        if "/revision/" in path:
            return self.reply(200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": []}).encode())
        if "/tree/" in path:
            rows = [
                {"type": "file", "path": n, "size": hub.claimed.get(n, len(b)), "oid": hashlib.sha1(b).hexdigest()}
                for n, b in hub.files.items()
            ]
            return self.reply(200, json.dumps(rows).encode())
        if hub.refuse_files:
            status, code = hub.refuse_files
            return self.reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
        name = path.split(f"/resolve/{COMMIT}/")[1]
        content = hub.files[name]
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked, status = self.headers.get("Range"), 200
        if self.command == "GET" and name == "model.safetensors":
            hub.ranges.append(asked)
        if asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        if self.command == "HEAD":
            headers["Content-Length"] = str(hub.claimed.get(name, len(content)))
        cut = None
        if self.command == "GET":
            hub.served.append(name)
            if name == "model.safetensors":
                cut, hub.cut_after = hub.cut_after, None
        return self.reply(status, content, headers, cut)

    def reply(self, status: int, content: bytes, headers: dict | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:cut])
        if cut:
            self.close_connection = True
            if self.hub.then_gone:
                time.sleep(0.5)  # the small files come at the same time; they are here by now
                self.hub.refuse = (503, "Unavailable")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    handler = type("OneHub", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", handler.hub.url)
    template = handler.hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500_000)  # what is written at once, 10 MB for real
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield handler.hub
    server.shutdown()


def test_a_model_comes_whole_and_a_second_time_from_the_cache(hub, capsys):
    folder = Path(fetch_model(NAME))
    assert {p.name for p in folder.iterdir()} == {p.name for p in TINY.iterdir() if p.suffix != ".md"}
    assert (folder / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert fetch_model(NAME) == str(folder) and len(hub.ranges) == 1
    hub.refuse = (503, "Unavailable")
    assert fetch_model(NAME) == str(folder)
    assert "from the local cache" in capsys.readouterr().out


def test_a_connection_that_breaks_is_taken_up_where_it_was(hub):
    hub.cut_after = 3_000_000
    folder = Path(fetch_model(NAME))
    assert (folder / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert hub.ranges == [None, "bytes=3000000-"]  # six pieces were written


def test_what_is_whole_is_kept_when_the_network_goes(hub):
    hub.cut_after, hub.then_gone = 3_000_000, True
    with pytest.raises(PersonaError, match=r"broke off .* missing, 0\.0 GB(.|\n)*run the cell again"):
        fetch_model(NAME)
    with pytest.raises(PersonaError, match="is not here whole"):  # half a model is no model
        fetch_model(NAME)
    hub.refuse = None
    hub.served.clear()
    folder = Path(fetch_model(NAME))
    assert (folder / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert hub.served == ["model.safetensors"]


def test_config_and_tokenizer_alone_leave_the_weights(hub):
    folder = Path(fetch_model(NAME, weights=False))
    assert (folder / "tokenizer.json").exists() and not hub.ranges
    hub.refuse = (503, "Unavailable")
    with pytest.raises(PersonaError, match="not here whole"):
        fetch_model(NAME)
    assert fetch_model(NAME, weights=False) == str(folder)


def test_a_disk_that_is_too_small_is_seen_before_anything_is_downloaded(hub):
    hub.claimed["model.safetensors"] = 10**16
    with pytest.raises(PersonaError, match=r"wants 10000001.\d GB of disk, .* are free(.|\n)*HF_HUB_CACHE"):
        fetch_model(NAME)
    assert not hub.ranges


@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("unsloth/gpt-oss-20bb", 404, "RepoNotFound", "no model unsloth/gpt-oss-20bb, or it is private(.|\n)*spelling"),
        (
            "somebody/gated",
            403,
            "GatedRepo",
            r"is gated(.|\n)*agree at https://huggingface.co/somebody/gated(.|\n)*HF_",
        ),
        ("somebody/model", 503, "Unavailable", 'cannot be reached(.|\n)*MODEL = "tiny"'),
        ("somebody/model", 401, "Invalid credentials in Authorization header", "does not accept your token"),
        ("somebody/model", 429, "", "too many requests"),
    ],
)
def test_what_the_reader_is_told(hub, name, status, code, message):
    hub.refuse = (status, code)
    with pytest.raises(PersonaError, match=message):
        fetch_model(name)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(403, "GatedRepo", "is gated"), (403, "", "does not let you have")],
)
def test_a_repository_that_lists_its_files_and_refuses_them(hub, status, code, message):
    hub.refuse_files = (status, code)
    with pytest.raises(PersonaError, match=message):
        fetch_model(NAME)


@pytest.mark.parametrize("name", ["unsloth/gpt-oss-20b", "unsloth/gpt-oss-20b-unsloth-bnb-4bit"])
def test_the_20b_is_not_downloaded_where_no_gpu_is(hub, name):
    with pytest.raises(PersonaError, match="wants a CUDA GPU"):
        fetch_model(name)
    assert not hub.tokens  # nobody was asked


def test_no_network_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(PersonaError, match="cannot be reached"):
        fetch_model(NAME)


def test_the_token_is_colabs_secret_else_the_environments_else_none(hub, monkeypatch, capsys):
    def sent() -> set[str | None]:
        hub.tokens.clear()
        fetch_model(NAME, weights=False)
        return hub.tokens

    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    assert sent() == {"Bearer hf_environment"}
    secrets = {"HF_TOKEN": "hf_secret"}
    colab = types.ModuleType("google.colab")
    colab.userdata = types.SimpleNamespace(get=secrets.__getitem__)  # it raises where there is no such secret
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    assert sent() == {"Bearer hf_secret"} and "hf_" not in capsys.readouterr().out
    secrets.clear()
    assert sent() == {"Bearer hf_environment"}


def test_a_folder_is_taken_as_it_is():
    assert fetch_model(str(TINY)) == str(TINY)
