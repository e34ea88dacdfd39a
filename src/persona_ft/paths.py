"""The repository's folder, the run's folder, and what they are called in an output."""

from __future__ import annotations

import os
from pathlib import Path

from persona_ft.errors import PersonaError, visible
from persona_ft.io import sweep

DRIVE = Path("/content/drive")


def repository_root() -> Path:
    """The folder that holds data/, notebooks/ and this package: the nearest above the working folder, else its own.

    Raises
    ------
    PersonaError
        There is none; notebooks opened alone need the repository beside them.
    """
    package = Path(__file__).resolve()
    for folder in [Path.cwd(), *Path.cwd().parents, *package.parents]:
        if all((folder / name).is_dir() for name in ("notebooks", "data", "src/persona_ft")):
            return folder
    raise PersonaError(
        "no folder with persona_ft's notebooks/ and data/ was found above the working folder",
        "clone the repository and start from inside it",
        Path.cwd(),
    )


def resolve(path: str | Path) -> Path:
    """A path as given when it is absolute, else relative to the repository, wherever a notebook was started.

    Raises
    ------
    PersonaError
        No file has such a name: it holds NUL, bytes that are not UTF-8, an unknown ~user, or more than 255 bytes.
    """
    try:
        found = Path(path).expanduser()
        possible = "\0" not in str(found) and all(len(part.encode("utf-8")) <= 255 for part in found.parts)
    except (RuntimeError, UnicodeEncodeError):  # no such user, bytes that are not UTF-8
        possible = False
    if not possible:
        reason = f"{str(path)[:60]!r} cannot be the name of a file or folder"
        raise PersonaError(reason, "choose a shorter name, in letters and digits")
    return found if found.is_absolute() else repository_root() / found


def on_drive(path: str | Path) -> Path:
    """The run's folder on Google Drive, which outlives a Colab session; the Drive is mounted, with one question.

    Raises
    ------
    PersonaError
        This is no Colab, or the Drive was not given.
    """
    try:
        from google.colab import drive  # type: ignore[import-not-found]
    except ImportError as error:
        raise PersonaError('PERSIST = "drive" needs Colab', 'set PERSIST = "": a folder here lasts anyway') from error
    if not (DRIVE / "MyDrive").is_dir():
        drive.mount(str(DRIVE))
    if not (DRIVE / "MyDrive").is_dir():
        raise PersonaError("Google Drive was not mounted", 'run the cell again and agree, or set PERSIST = ""')
    return DRIVE / "MyDrive/persona_ft" / str(path).lstrip("/")


def run_folder(path: str | Path, persist: str = "") -> Path:
    """The run's folder, made when missing, for its owner only; what a killed process left half written is removed.

    Parameters
    ----------
    persist : ``"drive"`` puts it on Google Drive; empty leaves it where ``path`` says.

    Raises
    ------
    PersonaError
        It cannot be made or written to, or it lies on a Google Drive that is not mounted: what were written there would
        be gone with the session.
    """
    if persist not in ("", "drive"):
        raise PersonaError(f"PERSIST = {persist!r} is not known", 'use "drive", or leave it empty')
    folder = on_drive(path) if persist else resolve(path)
    if folder.is_relative_to(DRIVE) and not (DRIVE / "MyDrive").is_dir():
        raise PersonaError(
            "Google Drive is not mounted",
            "run: from google.colab import drive; drive.mount('/content/drive'), or set RUN to another folder",
            folder,
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
        sweep(folder)
    except OSError as error:
        raise PersonaError(
            f"the run folder cannot be written to ({error.strerror})", "set RUN to a folder of your own", shown(folder)
        ) from error
    return folder


def shown(path: str | Path) -> str:
    """A path as notebooks print it: relative to the repository, so that nobody's home folder is in an output."""
    path, root = (Path(os.path.realpath(p)) for p in (path, repository_root()))  # pathlib's raises in a loop of links
    return visible(str(path.relative_to(root)) if path.is_relative_to(root) else path.name)


def typed(path: Path) -> str:
    """A path as one types it in a command: from the repository, or whole where it lies elsewhere."""
    return shown(path) if path.is_relative_to(repository_root()) else str(path)


def require(run: Path, name: str, notebook: str) -> Path:
    """A file or folder that an earlier notebook wrote into the run folder.

    Raises
    ------
    PersonaError
        It is missing; the message names the notebook that makes it.
    """
    path = run / name
    if not path.exists():
        raise PersonaError(
            "this file is not there yet", f"run notebook {notebook} with the same RUN first; it writes {name}", path
        )
    return path


def is_live() -> bool:
    """Whether someone sits at this notebook: papermill and nbclient run cells with the keyboard turned off."""
    try:
        from IPython import get_ipython

        return bool(getattr(get_ipython().kernel, "_allow_stdin", False))
    except (ImportError, AttributeError):
        return False
