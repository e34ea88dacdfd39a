"""The project's commands in odd environments and on odd files: each ends right, or with one clear error and its code.

    python benchmarks/environments.py                 # a table; five minutes on 2 cores
    python benchmarks/environments.py --only disk     # what has this in its name

Nothing here loads a model. `start` is the batch command with a notebook of one cell, in a kernel of its own; `new` the
first questions about a person, `edit` a change of an answer, `read` a persona's folder with its data set, `import` a
chat, `check` what `make check` does. A case passes if the exit code is the expected one, no traceback is shown, and a
code other than 0 comes with one error and what to do about it. Cases that need Linux, root or `setpriv` are left out
elsewhere.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from persona_ft.paths import repository_root

ROOT = repository_root()
PERSONA = ROOT / "tests/personas/hana"
CHAT = (ROOT / "data/chats/line_phone.txt").read_bytes()
GUARD = (
    "import sys\nfrom persona_ft.errors import PersonaError\n"
    "try:\n    {body}\nexcept PersonaError as error:\n    print(error, file=sys.stderr); sys.exit(1)"
)
READ = GUARD.format(
    body="from persona_ft.data.persona import read_persona; from persona_ft.paths import resolve; "
    "print(len(read_persona(resolve(sys.argv[1])).train), 'pairs')"
)
IMPORT = GUARD.format(
    body="from persona_ft.chat.importing import import_chat; from persona_ft.paths import resolve; "
    "print(len(import_chat(resolve(sys.argv[1]), '\\u307e\\u3055\\u304d', n_test=6).pairs), 'pairs')"
)
CELL = (
    "from persona_ft.notebook.parameters import check_parameters\nfrom persona_ft.io import write_text\n"
    "from persona_ft.paths import resolve, run_folder\ncheck_parameters()\n"
    "print(write_text(run_folder(RUN) / 'said.txt', 'こんにちは').name, resolve(PERSONA).name, 'こんにちは')"
)
HEAD = 'RUN = ""  # @param {type:"string"}\nPERSONA = ""  # @param {type:"string"}\nSEED = 0  # @param {type:"integer"}'
CLEAR = re.compile(r"What to do|: error: |The output is closed|Stopped\.")
# A file's new content, or what is done to the old one.
Change = bytes | Callable[[bytes], bytes]
# The answers to the first questions about a person, and Ctrl-D.
DESCRIBED = b"Ann\nshort and dry\nlives in Leeds\nLeeds\n\nfine, you?\n"


@dataclass
class Case:
    """What is run where, and how it should end. ``folder`` holds a persona, a chat and room for runs."""

    name: str
    command: str
    set_up: Callable[[Path], dict[str, Any] | None] = lambda folder: None
    env: dict[str, str | None] = field(default_factory=dict)
    code: int | tuple[int, ...] = 0
    given: list[str] = field(default_factory=list)
    limits: dict[int, int] = field(default_factory=dict)
    closed: tuple[int, ...] = ()
    stdin: bytes = DESCRIBED
    unprivileged: bool = False
    says: str = ""
    after: Callable[[Path], str] = lambda folder: ""


def arguments(case: Case, folder: Path, place: dict[str, Any]) -> list[str]:
    """The command line."""
    persona, run = place.get("persona", folder / "me"), place.get("run", folder / "run")
    chat = place.get("chat", folder / "chat.txt")
    module = [sys.executable, "-m"]
    return {
        "start": [*module, "persona_ft.notebook.run", "--run", run, "--notebooks", folder / "book", "--only", "short"],
        "new": [*module, "persona_ft.use.new", "--persona", place.get("persona", folder / "new"), "--language", "en"],
        "edit": [*module, "persona_ft.use.answers", "--persona", persona, "--from", folder / "changes.jsonl"],
        "remove": [*module, "persona_ft.use.answers", "--persona", persona, "--who"],
        "interview": [*module, "persona_ft.data.interview", "--run", run],
        "check": [*module, "persona_ft.use.check", "--persona", persona],
        "compare": [*module, "persona_ft.report.compare", run, run],
        "grid": [*module, "persona_ft.use.grid", folder / "grid.yaml", "--report"],
        "read": [sys.executable, "-c", READ, persona],
        "import": [sys.executable, "-c", IMPORT, chat],
    }[case.command] + case.given


def prepared(folder: Path) -> None:
    """A persona, a chat, a change of an answer, a grid and a notebook of one cell."""
    shutil.copytree(PERSONA, folder / "me")
    (folder / "chat.txt").write_bytes(CHAT)
    question = '{"question": "まいど！", "answer": "まいどおおきに"}\n'
    (folder / "changes.jsonl").write_text(question, encoding="utf-8")
    (folder / "grid.yaml").write_text(f"parameters: {{SEED: [1, 2]}}\nruns: {folder}/runs\n", encoding="utf-8")
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(HEAD, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(CELL),
        ],
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )
    (folder / "book").mkdir()
    nbformat.write(book, folder / "book/short.ipynb")


def run_case(case: Case) -> tuple[bool, str, float]:
    """Run one case in a folder of its own: whether it passed, how it ended, and the seconds."""
    folder = Path(tempfile.mkdtemp(prefix="environments-"))
    mounted = folder / "disk"
    try:
        prepared(folder)
        place = case.set_up(folder) or {}
        command = [os.fsencode(part) for part in arguments(case, folder, place)]
        if case.unprivileged:
            rights = "-dac_override,-dac_read_search,-fowner"
            command = [b"setpriv", b"--bounding-set=" + rights.encode(), b"--inh-caps=" + rights.encode(), *command]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | place.get("env", {}) | case.env
        environment = {name: value for name, value in environment.items() if value is not None}

        def at_start() -> None:
            for what, limit in case.limits.items():
                resource.setrlimit(what, (limit, limit))
            if "umask" in place:
                os.umask(place["umask"])
            if "cwd_gone" in place:
                Path.cwd().rmdir()
            for handle in case.closed:
                os.close(handle)

        started, out = time.monotonic(), place.get("stdout", subprocess.PIPE)
        process = subprocess.Popen(
            command,
            cwd=place.get("cwd", ROOT),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.PIPE,
            preexec_fn=at_start,
        )
        if "reader_gone" in place:
            process.stdout.close()
            process.stdout = None
        if "signal" in place:
            time.sleep(1.0)
            process.send_signal(place["signal"])
        try:
            said, wrong = process.communicate(case.stdin, timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()  # its pipes may be held by a kernel that it left
            return False, "still there after 90 s", 90.0
        seconds, text = time.monotonic() - started, ((said or b"") + wrong).decode("utf-8", "replace")
        silent = 2 in case.closed or "reader_gone" in place  # there is nobody to tell
        wanted = case.code if isinstance(case.code, tuple) else (case.code,)
        problems = []
        if process.returncode not in wanted:
            problems.append(f"code {process.returncode} instead of {' or '.join(map(str, wanted))}")
        if "Traceback (most recent call last)" in text or "Exception ignored" in text:
            last = [line for line in text.splitlines() if line and not line.startswith(" ")]
            problems.append(f"traceback: {last[-1][:100] if last else ''}")
        elif process.returncode > 0 and not silent and len(CLEAR.findall(text)) != 1:
            problems.append(f"{len(CLEAR.findall(text))} clear errors: {text.strip()[-160:]!r}")
        if case.says and case.says not in text:
            problems.append(f"does not say {case.says!r}: {text.strip()[-160:]!r}")
        if found := case.after(folder):
            problems.append(found)
        told = next((line for line in text.splitlines() if line and CLEAR.search(text)), "") if not problems else ""
        told = told[-90:].replace(str(folder), "…")
        return not problems, "; ".join(problems) or f"code {process.returncode}{': ' * bool(told)}{told}", seconds
    finally:
        if mounted.is_mount():
            subprocess.run(["umount", mounted], check=True)
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


# What a case finds in its folder: each returns what of it is not as usual.


def full_disk(folder: Path, what: str, size: str = "64k") -> dict[str, Any]:
    """A file system with no room left where the persona, the run or the temporary files are."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    place = disk / what
    if what == "me":
        shutil.copytree(PERSONA, place)
    else:
        place.mkdir()
    with (disk / "filler").open("wb") as file:
        try:
            while True:
                file.write(bytes(512))
                file.flush()
        except OSError:
            pass
        with Path(os.devnull).open("wb") as nothing:  # what the file still holds back must not be written at its close
            os.dup2(nothing.fileno(), file.fileno())
    if what == "tmp":
        return {"env": {"TMPDIR": str(place)}}
    return {"run": place, "persona": place}


def at(folder: Path, key: str, name: str | bytes) -> dict[str, Any]:
    """The persona's, the run's or the chat's place under another name."""
    old = folder / {"persona": "me", "chat": "chat.txt", "run": "run"}[key]
    new = Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
    new.parent.mkdir(parents=True, exist_ok=True)
    if old.exists():
        old.rename(new)
    return {key: new}


def instead(folder: Path, name: str, content: Change) -> None:
    """A file with another content."""
    path = folder / name
    old = path.read_bytes() if path.exists() else b""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content(old) if callable(content) else content)


def loop(folder: Path, key: str) -> dict[str, Any]:
    """A link that leads to itself."""
    (folder / "loop").symlink_to(folder / "loop")
    return {key: folder / "loop" / "x"}


def read_only(folder: Path, name: str) -> dict[str, Any]:
    """A folder that may be read and not written."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name).chmod(0o500)
    return {"env": {"HOME": str(folder / name)}} if name == "home" else {}


def not_a_file(folder: Path, name: str, what: str) -> None:
    """A folder, a device, or a link to nothing in a file's place."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if what == "folder":
        path.mkdir()
    else:
        path.symlink_to(what if what.startswith("/") else folder / "nothing")


def elsewhere(folder: Path) -> dict[str, Any]:
    """A working folder of another project, with a data/ and notebooks/ of its own."""
    for name in ("other/data", "other/notebooks", "other/src"):
        (folder / name).mkdir(parents=True)
    return {"cwd": folder / "other"}


def gone(folder: Path) -> dict[str, Any]:
    """A working folder that is removed before the command starts."""
    (folder / "cwd").mkdir()
    return {"cwd": folder / "cwd", "cwd_gone": True}


def full_output(_: Path) -> dict[str, Any]:
    """A standard output that has no room."""
    return {"stdout": os.open("/dev/full", os.O_WRONLY)}


def modes(folder: Path, name: str) -> str:
    """What others than the owner may do with files that hold somebody's words; empty where nothing."""
    root = folder / name
    open_ = [path.name for path in [root, *root.rglob("*")] if path.stat().st_mode & 0o077]
    return f"others may read {', '.join(open_)}" if open_ else ""


LONG = "あ" * 80


def cases() -> Iterator[Case]:
    """All of them."""
    linux = sys.platform == "linux"
    can_mount, can_drop = linux and os.geteuid() == 0, linux and bool(shutil.which("setpriv"))
    ascii_only = {"LC_ALL": "POSIX", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in ("start", "new", "edit", "remove", "interview", "read", "import", "check"):
        yield Case("as it is", command)
    yield Case("no run there", "compare", code=1)
    yield Case("no cell is done", "grid", code=1)
    for command in ("start", "new", "edit", "interview", "import", "check"):
        yield Case("LC_ALL=POSIX, PYTHONUTF8=0, no coercion", command, env=ascii_only)
    yield Case("LC_ALL=POSIX, Japanese answers", "new", env=ascii_only, stdin="アン\n短く\n\nうん\n".encode())
    yield Case("LANG=C", "start", env={"LANG": "C", "LC_ALL": None})
    yield Case("LC_ALL=xx_YY.nonsense", "new", env={"LC_ALL": "xx_YY.nonsense"})
    yield Case("PYTHONIOENCODING=ascii", "new", env={"PYTHONIOENCODING": "ascii"})
    yield Case("PYTHONIOENCODING=ascii", "edit", env={"PYTHONIOENCODING": "ascii"})
    yield Case("answers that are no UTF-8", "new", stdin=b"\x83A\x83\x93\nshort\n\n\xff\xfe\n", code=(0, 1))
    for command in ("start", "new", "read"):
        yield Case("no HOME", command, env={"HOME": None})
        yield Case("HOME that is not there", command, env={"HOME": "/proc/nonexistent"})
    yield Case("~ and no HOME", "read", lambda f: {"persona": "~/me"}, env={"HOME": "/proc/nonexistent"}, code=1)
    yield Case("TMPDIR that is not there", "start", env={"TMPDIR": "/proc/nonexistent"})
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
        yield Case(f"{name} that cannot be", "start", env={name: "/proc/nonexistent"}, code=(0, 1))
    if can_mount:
        yield Case("disk full, run", "start", partial(full_disk, what="run"), code=1)
        yield Case("disk full, TMPDIR", "start", partial(full_disk, what="tmp"), code=(0, 1))
        yield Case("disk full, persona", "new", partial(full_disk, what="run"), code=1)
        yield Case("disk full, persona", "edit", partial(full_disk, what="me"), code=1)
        yield Case("disk full, run", "interview", partial(full_disk, what="run"), stdin=b"hi\nyo\n", code=1)
    for n in (64, 24, 8):
        yield Case(f"ulimit -n {n}", "start", limits={resource.RLIMIT_NOFILE: n}, code=0 if n == 64 else (0, 1))
        yield Case(f"ulimit -n {n}", "edit", limits={resource.RLIMIT_NOFILE: n}, code=0)
    for command, megabytes in (("start", 2000), ("edit", 300)):
        limits = {resource.RLIMIT_AS: megabytes * 2**20}
        yield Case(f"ulimit -v {megabytes} MB", command, limits=limits)
    yield Case("ulimit -f 0", "start", limits={resource.RLIMIT_FSIZE: 0}, code=1)
    yield Case("ulimit -f 0", "new", limits={resource.RLIMIT_FSIZE: 0}, code=1)
    yield Case("ulimit -f 0", "edit", limits={resource.RLIMIT_FSIZE: 0}, code=1)
    yield Case("ulimit -f 0", "interview", limits={resource.RLIMIT_FSIZE: 0}, stdin=b"hi\n", code=1)
    for handle, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        for command in ("start", "new", "edit", "interview", "check"):
            yield Case(f"{name} closed", command, closed=(handle,), code=(0, 1))
    for command in ("start", "new", "edit", "interview", "check"):
        yield Case("stdout's reader has gone", command, lambda f: {"reader_gone": True}, code=(0, 1, -signal.SIGPIPE))
        yield Case("stdout is a full device", command, full_output, code=1)
    for what, name in (("spaces", " a  b "), ("Japanese", "私の データ"), ("a line end", "a\nb"), ("very long", LONG)):
        yield Case(
            f"path with {what}" if what != "very long" else "very long name", "start", partial(at, key="run", name=name)
        )
        yield Case(
            f"path with {what}" if what != "very long" else "very long name",
            "edit",
            partial(at, key="persona", name=name),
        )
        yield Case(
            f"path with {what}" if what != "very long" else "very long name",
            "import",
            partial(at, key="chat", name=name),
        )
    yield Case("name of 300 bytes", "start", lambda f: {"run": f / ("x" * 300)}, code=1)
    yield Case("path of 5,000 bytes", "start", lambda f: {"run": f / "/".join(["x" * 200] * 25)}, code=1)
    yield Case("path of 5,000 bytes", "new", lambda f: {"persona": f / "/".join(["x" * 200] * 25)}, code=1)
    yield Case("path of 5,000 bytes", "import", lambda f: {"chat": f / "/".join(["x" * 200] * 25)}, code=1)
    yield Case("name that is no UTF-8", "start", partial(at, key="run", name=b"a\xff"), code=1)
    yield Case("name that is no UTF-8", "edit", partial(at, key="persona", name=b"a\xff"), code=1)
    yield Case("name with an escape", "edit", partial(at, key="persona", name="a\x1b[2Jb"))
    for command, key in (("start", "run"), ("edit", "persona"), ("new", "persona"), ("import", "chat")):
        yield Case("loop of links", command, partial(loop, key=key), code=1)
    yield Case("a file in the folder's place", "start", lambda f: {"run": f / "chat.txt"}, code=1)
    yield Case("a file in the folder's place", "new", lambda f: {"persona": f / "chat.txt"}, code=1)
    yield Case("a file in the folder's place", "edit", lambda f: {"persona": f / "chat.txt"}, code=1)
    for command in ("start", "edit", "read"):
        yield Case("another project's data/ and notebooks/", command, elsewhere)
        yield Case("working folder is gone", command, gone, code=(0, 1))
    if can_drop:
        rights = {"unprivileged": True}
        yield Case("HOME read-only", "start", partial(read_only, name="home"), **rights)
        yield Case("run folder read-only", "start", partial(read_only, name="run"), code=1, **rights)
        yield Case("run folder read-only", "interview", partial(read_only, name="run"), code=1, **rights)
        yield Case("persona's folder read-only", "edit", partial(read_only, name="me"), code=1, **rights)
        yield Case("persona's folder read-only", "check", partial(read_only, name="me"), **rights)
        yield Case("folder for the persona read-only", "new", partial(read_only, name="new"), code=1, **rights)
        yield Case("chat not readable", "import", lambda f: (f / "chat.txt").chmod(0), code=1, **rights)
        yield Case("persona.yaml not readable", "read", lambda f: (f / "me/persona.yaml").chmod(0), code=1, **rights)
        yield Case("train.jsonl not readable", "edit", lambda f: (f / "me/train.jsonl").chmod(0), code=1, **rights)
        yield Case("no root's rights", "start", **rights)
    for zone in ("", ":nonsense", "Pacific/Kiritimati", "XXX-99:99", "../../etc/passwd"):
        yield Case(f"TZ={zone!r}", "import", env={"TZ": zone})
    for mask in (0o000, 0o077, 0o777):
        ends = (0, 1) if mask == 0o777 else 0
        for command, folder in (("start", "run"), ("new", "new")):
            after = partial(modes, name=folder)
            yield Case(f"umask {mask:03o}", command, lambda f, m=mask: {"umask": m}, after=after, code=ends)
    for name, value in (
        ("COLUMNS", "1"),
        ("COLUMNS", "many"),
        ("LINES", "-1"),
        ("TERM", ""),
        ("NO_COLOR", "1"),
        ("FORCE_COLOR", "1"),
    ):
        yield Case(f"{name}={value}", "start", env={name: value})
    yield Case("COLUMNS=1", "check", env={"COLUMNS": "1"})
    yield Case("COLUMNS=1, --help", "edit", env={"COLUMNS": "1"}, given=["--help"])
    yield Case("PYTHONOPTIMIZE=2, --help", "new", env={"PYTHONOPTIMIZE": "2"}, given=["--help"])
    for command in ("start", "new", "edit", "import"):
        yield Case("PYTHONOPTIMIZE=2", command, env={"PYTHONOPTIMIZE": "2"})
        yield Case("PYTHONWARNINGS=error", command, env={"PYTHONWARNINGS": "error"})
        yield Case("PYTHONDEVMODE=1", command, env={"PYTHONDEVMODE": "1"})
        yield Case("PYTHONHASHSEED=12345", command, env={"PYTHONHASHSEED": "12345"})
    yield Case("PYTHONWARNINGS=error", "check", env={"PYTHONWARNINGS": "error"})
    yield Case("OMP_NUM_THREADS=many", "check", env={"OMP_NUM_THREADS": "many"})
    yield Case(
        "HF_HOME that cannot be, no network", "check", env={"HF_HOME": "/proc/x", "HTTPS_PROXY": "http://127.0.0.1:9"}
    )
    for value in ("-1", "18446744073709551616", "1e400", "many", "True", "[1]", "9" * 5000, "None", "nan"):
        yield Case(f"SEED={value[:20]}", "start", given=["-p", "SEED", value], code=1)
    yield Case("PERSONA with NUL", "start", given=["-p", "PERSONA", "'a\\0b'"], code=1)
    yield Case("PERSONA with half a character", "start", given=["-p", "PERSONA", "'a\\ud800b'"], code=1)
    yield Case("a parameter that is not there", "start", given=["-p", "EPOCHS", "1"], code=1)
    yield Case("--more of 5,000 digits", "new", given=["--more", "9" * 5000], code=2)
    yield Case("--more -5", "new", given=["--more", "-5"], code=(0, 1, 2, 3))
    yield Case("unknown language", "new", given=["--language", "xx"], code=2)
    for name, number in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM), ("SIGHUP", signal.SIGHUP)):
        wanted = (0, 130, 1) if number == signal.SIGINT else (-number, 130, 1, 0)
        yield Case(name, "start", lambda f, s=number: {"signal": s}, code=wanted)
    yield from file_cases()


def instead_of(name: str, content: Change) -> Callable[[Path], None]:
    """A set-up that changes one file."""
    return partial(instead, name=name, content=content)


def nul(old: bytes) -> bytes:
    """A NUL at the end of the first line."""
    return old.replace(b"\n", b"\0\n", 1)


DIGITS, BRACKETS = b"9" * 5000, b"[" * 100_000
# Lists of lists of lists by reference: 9 to the power of 8 items.
BOMB = b"a: &a [" + b"x, " * 8 + b"x]\n"
BOMB += b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(8))
HALF = b'{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "a"}]}\n'
# What happens to any text file: how, and how a reader of UTF-8 should end.
ANY: dict[str, tuple[Change, int]] = {
    "BOM": (lambda old: b"\xef\xbb\xbf" + old, 0),
    "CRLF": (lambda old: old.replace(b"\n", b"\r\n"), 0),
    "UTF-16": (lambda old: old.decode().encode("utf-16"), 1),
    "Shift_JIS": (lambda old: old.decode().encode("cp932", "replace"), 1),
    "NUL": (nul, 1),
    "empty": (b"", 1),
}
YAML_FILES: dict[str, tuple[Change, int]] = ANY | {
    "the 45th of a month": (lambda old: old + b"habits: [2024-13-45]\n", 1),
    "a number of 5,000 digits": (lambda old: old + b"habits: [" + DIGITS + b"]\n", 1),
    "tabs": (lambda old: old.replace(b"  - ", b"\t- "), 1),
    "2,000 brackets": (lambda old: old + b"habits: " + b"[" * 2000, 1),
    "aliases that multiply": (BOMB, 1),
    "a call": (b"name: !!python/object/apply:os.system [id]\n", 1),
    "a list": (b"- a\n", 1),
}
ROW_FILES: dict[str, tuple[Change, int]] = ANY | {
    "cut off": (lambda old: old[: len(old) * 2 // 3], 1),
    "half a character": (lambda old: old + HALF, 1),
    "a number of 5,000 digits": (lambda old: old + b'{"id": ' + DIGITS + b"}\n", 1),
    "100,000 brackets": (lambda old: old + BRACKETS + b"\n", 1),
    "100,000 brackets, no line end": (lambda old: old + BRACKETS, 1),
    "no line end": (lambda old: old.rstrip(b"\n"), 0),
    "blank lines": (lambda old: old.replace(b"\n", b"\n\n"), 0),
}
CHATS: dict[str, tuple[Change, int]] = ANY | {
    "UTF-16": (ANY["UTF-16"][0], 0),
    "Shift_JIS": (ANY["Shift_JIS"][0], 0),
    "NUL": (nul, 0),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(5000), 1),
    "a line of 2 million characters": (lambda old: old + b"x" * 2_000_000, 1),
}


def file_cases() -> Iterator[Case]:
    """Files as editors, other systems and accidents leave them."""
    draft, answers = b"language: en\nname: Ann\n", (PERSONA / "train.jsonl").read_bytes()
    for what, (content, code) in YAML_FILES.items():
        yield Case(f"persona.yaml: {what}", "read", instead_of("me/persona.yaml", content), code=code)
        yield Case(f"grid.yaml: {what}", "grid", instead_of("grid.yaml", content), code=1)
        written = content if isinstance(content, bytes) else content(draft)
        yield Case(f"persona-draft.yaml: {what}", "new", instead_of("new/persona-draft.yaml", written), code=(0, 1))
    for what, (content, code) in ROW_FILES.items():
        yield Case(f"train.jsonl: {what}", "read", instead_of("me/train.jsonl", content), code=code)
        yield Case(f"changes.jsonl: {what}", "edit", instead_of("changes.jsonl", content), code=(0, 1))
        written = content if isinstance(content, bytes) else content(answers)
        yield Case(f"interview.jsonl: {what}", "interview", instead_of("run/interview.jsonl", written), code=(0, 1))
    for what, (content, code) in CHATS.items():
        yield Case(f"chat: {what}", "import", instead_of("chat.txt", content), code=code)
    files = {"chat.txt": "import", "me/persona.yaml": "read", "me/train.jsonl": "read", "changes.jsonl": "edit"}
    files |= {"run/interview.jsonl": "interview", "new/persona-draft.yaml": "new"}
    for what in ("folder", "/dev/null", "a link to nothing"):
        for name, command in files.items():
            may_miss = what == "a link to nothing" and name.endswith("train.jsonl")  # a persona may have a test alone
            code = 1 if command in ("import", "read") and not may_miss else (0, 1)
            yield Case(f"{name}: {what} in its place", command, partial(not_a_file, name=name, what=what), code=code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases with this in their name or command")
    parser.add_argument("--wrong", action="store_true", help="print what does not pass, and no more")
    options = parser.parse_args()
    ended = []
    print("| environment | command | ends with | |\n|---|---|---|---|")
    for case in cases():
        if options.only not in f"{case.name} {case.command}":
            continue
        try:
            good, told, _ = run_case(case)
        except (OSError, subprocess.SubprocessError) as error:  # the case itself cannot be made here
            good, told = False, f"not run: {error}"
        ended.append(good)
        if not (good and options.wrong):
            name, told = (" ".join(text.split()).replace("|", "\\|") for text in (case.name, told))
            print(f"| {name} | {case.command} | {told} | {'' if good else '**wrong**'} |", flush=True)
    names = {case.name for case in cases() if options.only in f"{case.name} {case.command}"}
    print(f"{sum(ended)} of {len(ended)} cases in {len(names)} environments end as they should")
    sys.exit(not all(ended))


if __name__ == "__main__":
    main()
