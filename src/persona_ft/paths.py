"""The repository's folder, the run's folder and its one writer, and what they are called in an output."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from persona_ft.errors import PersonaError, visible
from persona_ft.io import sweep

DRIVE = Path("/content/drive")


def repository_root() -> Path:
    """The folder that holds data/, notebooks/ and this package: the nearest above the working folder, else its own."""
    for folder in [Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents]:
        if all((folder / name).is_dir() for name in ("notebooks", "data", "src/persona_ft")):
            return folder
    reason = "no folder with persona_ft's notebooks/ and data/ was found above the working folder"
    raise PersonaError(reason, "clone the repository and start from inside it", Path.cwd())


def resolve(path: str | Path) -> Path:
    """A path as given when it is absolute, else relative to the repository, wherever a notebook was started. Refused is
    what no file is called: NUL, bytes that are not UTF-8, an unknown ~user, over 255 bytes or, with folders, 4,000."""
    try:
        found = Path(path).expanduser()
        if "\0" in str(found) or len(str(found).encode()) > 4000 or any(len(p.encode()) > 255 for p in found.parts):
            raise RuntimeError("too long, or NUL")
    except (RuntimeError, UnicodeEncodeError) as error:  # no such user either, and bytes that are not UTF-8
        reason = f"{str(path)[:60]!r} cannot be the name of a file or folder"
        raise PersonaError(reason, "choose a shorter name, in letters and digits") from error
    return found if found.is_absolute() else repository_root() / found


def run_folder(path: str | Path, persist: str = "", called: str = "run") -> Path:
    """The run's folder (or another's that is ``called`` so), made when missing, for its owner only; what a killed
    process left half written is removed. ``persist`` is ``"drive"`` for Google Drive, which outlives a Colab session
    and is mounted with one question. While it is not mounted nothing is written there: that would be gone with the
    session."""
    if persist not in ("", "drive"):
        raise PersonaError(f"PERSIST = {persist!r} is not known", 'use "drive", or leave it empty')
    mounted = DRIVE / "MyDrive"
    folder = mounted / "persona_ft" / str(path).lstrip("/") if persist else resolve(path)
    if persist and not mounted.is_dir():
        try:
            from google.colab import drive  # type: ignore[import-not-found]
        except ImportError as error:
            how = 'set PERSIST = "": a folder here lasts anyway'
            raise PersonaError('PERSIST = "drive" needs Colab', how) from error
        drive.mount(str(DRIVE))
    if folder.is_relative_to(DRIVE) and not mounted.is_dir():
        how = "run: from google.colab import drive; drive.mount('/content/drive') and agree, or choose another folder"
        raise PersonaError("Google Drive was not mounted", how, folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
        sweep(folder)
    except OSError as error:
        reason = f"the {called} folder cannot be written to ({error.strerror})"
        raise PersonaError(reason, f"set {called.upper()} to a folder of your own", shown(folder)) from error
    return folder


@contextmanager
def one_writer(folder: Path, wait: float = 3.0) -> Iterator[None]:
    """Hold a run folder's lock: two writers would mix their checkpoints, answers and notebooks. One left behind by a
    process that died is taken over, and that is printed; one that is just being killed has ``wait`` seconds to go.
    PersonaError names the process that holds it."""
    from filelock import FileLock, Timeout

    # The system lets go of the lock when its process dies; the line on whose it was stays, and tells.
    lock, owner = FileLock(folder / ".lock", timeout=wait, mode=0o600), folder / ".writer"
    try:
        lock.acquire()
    except Timeout:
        who = owner.read_text("utf-8") if owner.exists() else "it has only just begun"
        remedy = "wait until it is done, end it, or use another folder"
        raise PersonaError(f"another process is writing to this folder ({who})", remedy, shown(folder)) from None
    try:
        if owner.exists():
            print(f"{shown(folder)}: a lock was left by {owner.read_text('utf-8')}, which is gone; taken over")
        who = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
        owner.write_text(who, encoding="utf-8")
        yield
    finally:
        # Unlinked while it is still held: whoever waits for the old file notices, and starts over with a new one.
        owner.unlink(missing_ok=True)
        (folder / ".lock").unlink(missing_ok=True)
        lock.release()


def shown(path: str | Path) -> str:
    """A path as notebooks print it: relative to the repository, so that nobody's home folder is in an output."""
    path, root = (Path(os.path.realpath(p)) for p in (path, repository_root()))  # pathlib's raises in a loop of links
    return visible(str(path.relative_to(root)) if path.is_relative_to(root) else path.name)


def typed(path: Path) -> str:
    """A path as one types it in a command: from the repository, or whole where it lies elsewhere."""
    return shown(path) if path.is_relative_to(repository_root()) else str(path)


def require(run: Path, name: str, notebook: str) -> Path:
    """A file or folder of the run folder; where it is missing, PersonaError names the notebook that writes it."""
    if not (run / name).exists():
        remedy = f"run notebook {notebook} with the same RUN first; it writes {name}"
        raise PersonaError("this file is not there yet", remedy, run / name)
    return run / name


def is_live() -> bool:
    """Whether someone sits at this notebook: papermill and nbclient run cells with the keyboard turned off."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))
