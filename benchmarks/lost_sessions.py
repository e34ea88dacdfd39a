"""Lose the session after each notebook and in the middle of 02, 03 and 04; go on elsewhere; compare the ends.

    python benchmarks/lost_sessions.py

Each session is a fresh folder with the notebook in it and nothing else; what one leaves to the next is the run folder
alone, as on Google Drive. A session is lost by SIGKILL for the kernel and all around it. However it went,
comparison.json must be the one of a run that nothing happened to, number for number. An interview of 60 answers is
given through the terminal, so that there is something to lose before there is a data set. About 90 s a line on 2 cores.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kill_and_resume import kill

from persona_ft.conversation import read_jsonl
from persona_ft.notebook.run import NOTEBOOKS
from persona_ft.paths import repository_root

ROOT = repository_root()
GIVEN = {
    "02_build_dataset": {"MODEL": "tiny", "QUESTIONS": "bank"},
    "03_train_qlora": {"MODEL": "tiny"},
    "04_compare": {},
}
ANSWERS = [pair.answer for pair in read_jsonl(ROOT / "data/masaki/train.jsonl")]


def interview(run: Path, n: int, lost: bool) -> None:
    """Answer until ``n`` answers are given in all, then stop for today, or lose the session instead."""
    command = [sys.executable, "-u", "-m", "persona_ft.data.interview", "--run", str(run)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    said = b""
    while byte := process.stdout.read(1):
        said += byte
        if not said.endswith(b") > "):
            continue
        question, said = said.split(b"]\n")[-1].split(b"\n")[0], b""
        file = run / "interview.jsonl"
        if file.exists() and len(file.read_bytes().splitlines()) >= n:
            if lost:
                return kill(process)
            process.stdin.write(b"q\n")
        else:  # the same answer to the same question, whoever asks and when
            pick = int(hashlib.sha256(question).hexdigest(), 16) % len(ANSWERS)
            process.stdin.write(f"{ANSWERS[pick]}\n".encode())
        process.stdin.flush()
    process.wait()


def session(run: Path, name: str, lost_when: Callable[[Path], bool] | None = None) -> bool:
    """One notebook in an empty folder. Returns whether it was lost on the way."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / f"notebooks/{name}.ipynb", folder)
        command = [sys.executable, "-m", "papermill", f"{name}.ipynb", "out.ipynb", "--no-progress-bar"]
        for parameter, value in ({"RUN": str(run)} | GIVEN[name]).items():
            command += ["-p", parameter, value]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while lost_when and process.poll() is None:
            if lost_when(run):
                kill(process)
                return True
            time.sleep(0.001)
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{name}: {errors[-3000:]}")
        return False


# After: the kernel and its machine are gone, the run folder is moved. In the middle: something is there and not all.
MIDDLE = {
    "02_build_dataset": ("the training pairs are written, the test is not", lambda run: (run / "train.jsonl").exists()),
    "03_train_qlora": ("a checkpoint is there", lambda run: any(run.glob("checkpoints/checkpoint-*"))),
    "04_compare": ("two conditions have answered", lambda run: len(list(run.glob("answers/*"))) >= 2),
}


def whole_run(drive: Path, lost: str = "", where: str = "") -> tuple[dict, str]:
    """A run from the interview to the comparison, with one loss. Returns comparison.json, and what was there then."""
    run, left = drive / "run", ""
    run.mkdir(parents=True)
    interview(run, 30 if lost == "the interview" else 60, lost=lost == "the interview")
    if lost == "the interview":
        left = f"{len((run / 'interview.jsonl').read_bytes().splitlines())} answers"
        interview(run, 60, lost=False)
    for name in GIVEN:
        if lost == name and where == "in the middle of":
            if not session(run, name, MIDDLE[name][1]):
                sys.exit(f"{name} ended before it could be lost")
            left = MIDDLE[name][0]
            if name == "03_train_qlora":
                left = ", ".join(sorted(path.name for path in run.glob("checkpoints/checkpoint-*")))
        session(run, name)
        if lost == name and where == "after":
            run = run.rename(drive / "the same run elsewhere")
            left = f"{len(list(run.iterdir()))} files and folders"
    return json.loads((run / "comparison.json").read_text(encoding="utf-8")), left


def main() -> None:
    losses = [("the interview", "in the middle of")]
    losses += [(name, where) for name in NOTEBOOKS[1:] for where in ("in the middle of", "after")]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        wanted, _ = whole_run(Path(folder, "alone"))
        print(f"nothing lost: {len(wanted['questions'])} questions, {len(wanted['conditions'])} conditions", flush=True)
        for n, (lost, where) in enumerate(losses):
            found, left = whole_run(Path(folder, str(n)), lost, where)
            failures += found != wanted
            verdict = "the same comparison" if found == wanted else "ANOTHER COMPARISON"
            print(f"lost {where} {lost} ({left}): {verdict}", flush=True)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
