"""One writer to a run folder: two at once would mix their checkpoints, answers and notebooks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from persona_ft.errors import PersonaError
from persona_ft.paths import shown

# The lock itself, which the system lets go of when its process dies, and a line on whose it is, which then stays.
LOCK, OWNER = ".lock", ".writer"
WAIT_SECONDS = 3.0


@contextmanager
def one_writer(folder: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold a folder's lock. One left behind by a process that died is taken over, and that is printed.

    Parameters
    ----------
    wait : seconds to wait for another process; one that is just being killed needs a moment.

    Raises
    ------
    PersonaError
        Another process holds it; the message says which one, on which machine, since when.
    """
    from filelock import FileLock, Timeout

    owner = folder / OWNER
    lock = FileLock(folder / LOCK, timeout=wait, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise PersonaError(
            f"another process is writing to this folder ({_read(owner) or 'it has only just begun'})",
            "wait until it is done, end it, or use another folder",
            shown(folder),
        ) from None
    try:
        if left := _read(owner):
            print(f"{shown(folder)}: a lock was left by {left}, which is gone; taken over")
        who = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
        owner.write_text(who, encoding="utf-8")
        yield
    finally:
        # Unlinked while it is still held: whoever waits for the old file notices, and starts over with a new one.
        for path in (owner, folder / LOCK):
            path.unlink(missing_ok=True)
        lock.release()


def _read(owner: Path) -> str:
    try:
        return owner.read_text(encoding="utf-8")
    except OSError:
        return ""
