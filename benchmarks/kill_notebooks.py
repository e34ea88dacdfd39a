"""Kill each notebook with SIGKILL at random moments, give the same command again, and compare with runs left alone.

    python benchmarks/kill_notebooks.py                     # 30 kills over eight notebooks, 30 minutes on 2 cores
    python benchmarks/kill_notebooks.py --kills 4 --only 03_train_qlora 04_compare

Each notebook runs twice undisturbed from the same start; the files that are equal in both, to the byte, must be equal
after a kill and the same command again. Every second kill takes the command alone: its kernel must notice and end, and
must not write beside the command's second start. The persona is small (16 pairs, 6 questions) and the settings are the
least that still save something on the way. ``kill_and_resume.py`` has the long trainings, ``lost_sessions.py`` the way
from one machine to another.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill_and_resume import kill, start

from persona_ft.io import file_digest

PERSONA = "tests/personas/hana"
# Notebook -> the notebook whose end is its start, and what it is given.
NOTEBOOKS: dict[str, tuple[str, dict[str, object]]] = {
    "00_one_sitting": ("", {"MODEL": "tiny", "PERSONA": PERSONA, "NUM_EPOCHS": 1}),
    "01_inference": ("", {"MODEL": "tiny", "PERSONA": PERSONA, "MAX_NEW_TOKENS": 16}),
    "02_build_dataset": ("", {"MODEL": "tiny", "PERSONA": PERSONA, "N_VALIDATION": 2}),
    "02b_from_chats": (
        "",
        {"MODEL": "tiny", "PERSONA": PERSONA, "CHAT": "data/chats/line_phone.txt", "ME": "まさき", "N_TEST": 6},
    ),
    "03_train_qlora": ("02_build_dataset", {"MODEL": "tiny", "NUM_EPOCHS": 2, "BATCH_SIZE": 4}),
    "04_compare": ("03_train_qlora", {"MAX_NEW_TOKENS": 16}),
    "05_experiments": (
        "03_train_qlora",
        {"MAX_NEW_TOKENS": 16, "PAIRS": [5], "RANKS": [1], "RATE_FACTORS": [1], "STEPS": 2, "PASSES": 1},
    ),
    "06_talk": ("03_train_qlora", {}),
}


def to_the_end(run: Path, name: str) -> tuple[float, int, str]:
    """Seconds, exit code and words of a whole run."""
    started, process = time.monotonic(), start(run, name, NOTEBOOKS[name][1])
    said, _ = process.communicate()
    return time.monotonic() - started, process.returncode, said


def files_of(run: Path) -> dict[str, str]:
    """Digest of each file of a run folder; a talk is called by the minute, so its name does not count."""
    files = sorted(path for path in run.rglob("*") if path.is_file())
    names = (str(path.relative_to(run)) for path in files)
    return {
        (f"talks/{n}" if name.startswith("talks/") else name): file_digest(path)
        for n, (name, path) in enumerate(zip(names, files, strict=True))
    }


def same_in(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """The files that are equal in both."""
    return dict(one.items() & other.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="in all; the notebooks take turns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=NOTEBOOKS, default=list(NOTEBOOKS), metavar="NOTEBOOK")
    parser.add_argument("--work", type=Path, help="an empty folder to keep the runs in; else they are removed")
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = Kills(options, options.work or Path(folder)).all()
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    good = sum(row["ends"] and row["equal"] for row in rows)
    print(f"{good} of {len(rows)} ended, equal to a run that was left alone in every file that two such runs share")
    sys.exit(good < len(rows))


class Kills:
    """The runs left alone, made when they are first needed, and the kills."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.alone: dict[str, tuple[float, dict[str, str], set[str]]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def fresh(self, name: str, to: str) -> Path:
        """A copy of the notebook's start."""
        before, run = NOTEBOOKS[name][0], self.folder / to
        if before:
            self.left_alone(before)
            shutil.copytree(self.folder / f"{before}-alone-1", run)
        else:
            run.mkdir()
        return run

    def left_alone(self, name: str) -> tuple[float, dict[str, str], set[str]]:
        """Seconds of an undisturbed run, the files that two of them share, and the names of all its files."""
        if name not in self.alone:
            found = []
            for n in (1, 2):
                run = self.fresh(name, f"{name}-alone-{n}")
                seconds, code, said = to_the_end(run, name)
                if code:
                    sys.exit(f"{name}, left alone, ended with code {code}:\n{said[-3000:]}")
                found.append(files_of(run))
            self.alone[name] = seconds, same_in(*found), set(found[0]) | set(found[1])
            equal, all_of_them = len(self.alone[name][1]), len(found[0])
            print(f"{name}, left alone: {seconds:.0f} s, {equal} of {all_of_them} files equal in two runs", flush=True)
        return self.alone[name]

    def all(self) -> list[dict]:
        """Kill, start again and compare, as often as asked."""
        draw, rows = random.Random(self.options.seed), []
        for n in range(self.options.kills):
            name = self.options.only[n % len(self.options.only)]
            lasts, wanted, names = self.left_alone(name)
            moment, whole_family = draw.uniform(0.5, lasts), n // len(NOTEBOOKS) % 2 == 0
            while True:
                run = self.fresh(name, f"kill-{n}")
                process = start(run, name, NOTEBOOKS[name][1])
                time.sleep(moment)
                if process.poll() is None:
                    break
                process.communicate()  # it was faster this time: nothing was killed
                shutil.rmtree(run)
                moment = draw.uniform(0.5, moment)
            if whole_family:
                kill(process)
            else:
                process.kill()
                process.wait()
            seconds, code, said = to_the_end(run, name)
            found = files_of(run)
            missing = sorted(path for path in wanted if found.get(path) != wanted[path])
            row = {"notebook": name, "after_s": round(moment, 1), "of_s": round(lasts, 1)}
            row |= {"killed": "all" if whole_family else "the command alone", "ends": code == 0, "equal": not missing}
            row |= {"differ": missing, "more": sorted(found.keys() - names), "again_s": round(seconds, 1)}
            rows.append(row)
            print(
                f"kill {n + 1}, {name}, {row['killed']}, after {moment:.1f} of {lasts:.1f} s: "
                f"{'ends' if row['ends'] else f'ENDS WITH CODE {code}'}, "
                f"{'equal' if row['equal'] else f'OTHER: {missing}'}"
                f"{', also there: ' + str(row['more']) if row['more'] else ''}, {seconds:.0f} s",
                flush=True,
            )
            if code:
                print(said[-2000:], flush=True)
            if not self.options.work:
                shutil.rmtree(run)
        print(Counter(row["notebook"] for row in rows if row["ends"] and row["equal"]))
        return rows


if __name__ == "__main__":
    main()
