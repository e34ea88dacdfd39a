"""Kernels with Unsloth imported, each forked from a process that has done it once, which saves ten seconds a kernel.

Jupyter starts `warm.py kernel …` as it would start Python's own kernel. The demo, and the run that is killed, have
kernels that start from nothing, as a reader's do.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path


def write_kernelspec(folder: Path, address: Path) -> None:
    """What makes a kernel called python3 one of these, for a JUPYTER_PATH that begins with ``folder``."""
    command = [sys.executable, "-S", "-E", __file__, "kernel", str(address), "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (folder / "kernels/python3").mkdir(parents=True)
    (folder / "kernels/python3/kernel.json").write_text(json.dumps(spec))


def serve(address: str) -> None:
    """Import, then fork a kernel for each caller, until the standard input is closed."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # read when matplotlib is imported
    from persona_ft.gpt_oss.load import prepare_environment

    prepare_environment()
    import ipykernel.kernelapp
    import unsloth  # noqa: F401

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a kernel
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        caller, _ = listener.accept()
        if not os.fork():
            listener.close()
            ipykernel.kernelapp.launch_new_instance(argv=taken_over(caller))
            os._exit(0)
        caller.close()


def taken_over(caller: socket.socket) -> list[str]:
    """Take the caller's place: its folder, environment and streams; and end with it. Returns the kernel's arguments."""
    message, streams, *_ = socket.recv_fds(caller, 2**20, 3)
    asked = json.loads(message)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    caller.sendall(str(os.getpid()).encode())
    threading.Thread(target=lambda: caller.recv(1) or os._exit(1), daemon=True).start()
    return asked["arguments"]


def be_kernel(address: str, arguments: list[str]) -> None:
    """Have a kernel forked, and stand for it: pass signals on, and end when it ends."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    environment = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}  # the server is that
    asked = {"folder": os.getcwd(), "environment": environment, "arguments": arguments}  # noqa: PTH109
    socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
    pid = int(server.recv(20))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: os.kill(pid, got))
    server.recv(1)


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "serve" else be_kernel(sys.argv[2], sys.argv[3:])
