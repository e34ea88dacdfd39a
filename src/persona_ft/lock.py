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


@contextmanager
def one_writer(folder: Path, wait: float = 3.0) -> Iterator[None]:
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

    # The system lets go of the lock when its process dies; the line on whose it was stays, and tells.
    lock, owner = FileLock(folder / ".lock", timeout=wait, mode=0o600), folder / ".writer"
    try:
        lock.acquire()
    except Timeout:
        who = owner.read_text(encoding="utf-8") if owner.exists() else "it has only just begun"
        remedy = "wait until it is done, end it, or use another folder"
        raise PersonaError(f"another process is writing to this folder ({who})", remedy, shown(folder)) from None
    try:
        if owner.exists():
            left = owner.read_text(encoding="utf-8")
            print(f"{shown(folder)}: a lock was left by {left}, which is gone; taken over")
        who = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
        owner.write_text(who, encoding="utf-8")
        yield
    finally:
        # Unlinked while it is still held: whoever waits for the old file notices, and starts over with a new one.
        owner.unlink(missing_ok=True)
        (folder / ".lock").unlink(missing_ok=True)
        lock.release()
