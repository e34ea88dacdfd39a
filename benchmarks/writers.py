"""Two, three and five writers at one run folder: one goes on, the others refuse; also with kills.

    python benchmarks/writers.py                # a table; two minutes on 2 cores

First whole commands (the batch command with a notebook that takes seven seconds, started at the same moment), which
must refuse in a sentence; then the lock alone: writers that take it in turn, each noting when it is inside, some killed
there. No two may be inside at once.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

CELL = (
    "import os, time\n"
    "note = lambda word: open(f'{RUN}/inside', 'a').write(f'{word} {os.getppid()}\\n')\n"
    "note('in'), time.sleep(7), note('out')"
)
LOCK = """
import os, sys, time
from pathlib import Path
from persona_ft.errors import PersonaError
from persona_ft.paths import one_writer
run, turns, held = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
log = os.open(run / "inside", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for _ in range(turns):
    try:
        with one_writer(run, wait=0.2):
            os.write(log, f"in {os.getpid()}\\n".encode())
            time.sleep(held)
            os.write(log, f"out {os.getpid()}\\n".encode())
    except PersonaError:
        time.sleep(held)
"""


def commands(folder: Path, n: int) -> tuple[int, int, list[str]]:
    """Start ``n`` commands at once: how many ended well, how many refused in a sentence, and what the others said."""
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('RUN = ""', metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(CELL),
        ],
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )
    nbformat.write(book, folder / "short.ipynb")
    command = [sys.executable, "-m", "persona_ft.notebook.run", "--run", str(folder / "run")]
    command += ["--notebooks", str(folder), "--only", "short"]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen(command, **how) for _ in range(n)]
    ended = [(process.communicate()[0], process.returncode) for process in processes]
    went_on = sum(code == 0 for _, code in ended)
    refused = [code == 1 and "another process is writing to this folder" in said for said, code in ended]
    odd = [
        said for (said, code), told in zip(ended, refused, strict=True) if code and (not told or "Traceback" in said)
    ]
    return went_on, sum(refused), odd


def lock_alone(folder: Path, n: int, turns: int, kills: int, seed: int) -> tuple[int, int]:
    """``n`` writers that take the lock by turns, some killed: how often one was inside, and how often two at once."""
    draw, run = random.Random(seed), folder / "run"
    run.mkdir()
    command = [sys.executable, "-c", LOCK, str(run), str(turns), "0.01"]

    def start() -> subprocess.Popen:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    processes, dead = [start() for _ in range(n)], set()
    for _ in range(kills):
        time.sleep(draw.uniform(0.3, 0.8))
        victim = draw.randrange(n)
        processes[victim].kill()
        processes[victim].wait()
        dead.add(processes[victim].pid)
        processes[victim] = start()
    wrong = [process.communicate()[1] for process in processes]
    assert not any("Traceback" in said for said in wrong), wrong
    inside, entered, together = None, 0, 0
    for line in (run / "inside").read_text().splitlines():
        word, who = line.split()
        if word == "in":
            entered += 1
            together += inside is not None and int(inside) not in dead
            inside = who
        else:
            together += inside != who
            inside = None
    return entered, together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    failures = 0
    print("| writers | go on | refuse in a sentence | lock alone: times inside, killed | two at once |")
    print("|---|---|---|---|---|")
    for n in (2, 3, 5):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            went_on, refused, odd = commands(Path(one), n)
            entered, together = lock_alone(Path(other), n, options.turns, options.kills, seed=n)
        failures += (went_on, refused, together) != (1, n - 1, 0) or bool(odd)
        print(f"| {n} | {went_on} | {refused} | {entered}, {options.kills} | {together} |", flush=True)
        print(*odd, sep="\n", end="\n" * bool(odd), file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
