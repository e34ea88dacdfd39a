"""A persona's answers: written from the interview, corrected, added, taken back, and undone. ``interview.jsonl`` only
ever grows; train.jsonl and test.jsonl are kept in step with it, and what they replace stays in ``history/``.

    python -m persona_ft.use.answers --persona data/me --from changes.jsonl | --undo | --remove "question" | --who
"""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, model_validator

from persona_ft.conversation import Conversation, FactAnnotation, Line, Text, jsonl_line, rows_in, write_jsonl
from persona_ft.data.bank import is_test, read_bank, words
from persona_ft.data.interview import ANSWERS, REMOVED, Interview, latest
from persona_ft.data.persona import Profile, read_profile
from persona_ft.errors import PersonaError, as_command
from persona_ft.evaluate.facts import mentioned
from persona_ft.io import append_line, read_rows
from persona_ft.paths import resolve, shown, typed

SHIPPED = "data/masaki"
SIDES = ("train", "test")
ROWS = (*(f"{side}.jsonl" for side in SIDES), "validation.jsonl", ANSWERS)


class Change(BaseModel):
    """A question and its new answer; without one the answer is taken back. A conversation's row is taken too."""

    question: Text
    answer: Line = ""

    @model_validator(mode="before")
    @classmethod
    def _of_conversation(cls, values: object) -> object:
        if isinstance(values, dict) and "messages" in values:
            row = Conversation.model_validate(values)
            return {"question": row.question, "answer": row.answer}
        return values


def own_folder(persona: str, command: str) -> Path:
    """The persona's folder. PersonaError where PERSONA was forgotten or is the shipped one, nobody's own."""
    if not persona or resolve(persona) == resolve(SHIPPED):
        reason = f"{SHIPPED} is まさき。, the shipped persona" if persona else "PERSONA is missing"
        raise PersonaError(reason, f"name a folder of your own: make {command} PERSONA=data/me")
    return resolve(persona)


def read_sides(folder: Path) -> dict[str, list[Conversation]]:
    """The rows of a persona's train.jsonl and test.jsonl, as far as they are there."""
    return {side: rows_in(folder / f"{side}.jsonl") for side in SIDES}


def with_marks(pair: Conversation, profile: Profile) -> Conversation:
    """The pair with a mark for each fact whose aliases its answer writes."""
    facts = [FactAnnotation(id=fact.id) for fact in profile.facts if mentioned(pair.answer, fact)]
    return pair.model_copy(update={"facts": facts})


def settle(folder: Path) -> dict[str, list[Conversation]]:
    """Bring train.jsonl and test.jsonl in step with interview.jsonl; what stands in them and not there is kept. Answers
    get the marks of the facts whose aliases they write. What is replaced is copied to ``history/`` first."""
    profile = read_profile(folder / "persona.yaml")
    pairs = Interview([], folder / ANSWERS, profile.language).pairs()
    given = {pair.question: with_marks(pair, profile) for pair in pairs}
    log, before, after = latest(folder / ANSWERS), read_sides(folder), {}
    for side, rows in before.items():
        kept = [given.pop(row.question, None) if row.question in log else row for row in rows]
        after[side] = [row for row in kept if row]
    for pair in given.values():
        after["test" if is_test(pair) else "train"].append(pair)
    if after != before:
        if there := [path for side in SIDES if (path := folder / f"{side}.jsonl").exists()]:
            version = folder / f"history/{len(list(folder.glob('history/*'))) + 1:04d}"
            version.mkdir(parents=True, mode=0o700)
            for path in there:
                shutil.copy2(path, version)
        for side, rows in after.items():
            write_jsonl(folder / f"{side}.jsonl", rows)
    return after


def change(folder: Path, changes: Iterable[Change]) -> dict[str, int]:
    """Correct, add or take back answers: how many of each. What changes nothing is passed over. PersonaError where an
    answer is to be taken back to a question that has none."""
    language = read_profile(folder / "persona.yaml").language
    there = {row.question: row for rows in read_sides(folder).values() for row in rows}
    bank = {question.question: question for question in read_bank(language)}
    counts, lines = {"corrected": 0, "added": 0, "removed": 0}, []
    for one in changes:
        old, answer = there.get(one.question), one.answer.strip()
        if old is None and not answer:
            reason = words(language)["no_answer"].format(question=one.question)
            raise PersonaError(reason, words(language)["no_answer_remedy"], folder / "train.jsonl")
        if old and old.answer == answer:
            continue
        counts["removed" if not answer else "corrected" if old else "added"] += 1
        known = old or bank.get(one.question) or Conversation.pair(one.question, "…")
        category = known.category if answer else REMOVED
        lines.append(jsonl_line(Conversation.pair(one.question, answer or "…", category=category, id=known.id)))
    settle(folder)  # an earlier interview's answers first, so that history holds the state before this change
    for line in lines:
        append_line(folder / ANSWERS, line)
    settle(folder)
    return counts


def undo(folder: Path) -> dict[str, int]:
    """Bring back the last state in history/, and once more what was undone. PersonaError where nothing was changed."""
    versions = sorted(folder.glob("history/*"))
    if not versions:
        raise PersonaError("nothing was changed yet", "undo follows a change of the answers", folder)
    now, was = (
        {row.question: row.answer for rows in read_sides(place).values() for row in rows}
        for place in (folder, versions[-1])
    )
    wanted = dict.fromkeys(now, "") | was  # what was not there is taken back
    return change(folder, [Change(question=question, answer=answer) for question, answer in wanted.items()])


def holders(folder: Path, question: str = "") -> list[str]:
    """Where a person's answer is kept, or without a question anything of theirs: run folders and what they made of it.
    Files are searched for the question, or persona.yaml for the name. Copies elsewhere are not known."""

    def holds(path: Path) -> bool:
        return any(question in (row.question, "") for row in rows_in(path))

    from markupsafe import escape

    name, found = read_profile(folder / "persona.yaml").name, []
    for run in sorted(p for p in resolve("runs").glob("*") if p.is_dir()):
        theirs = run / "persona.yaml"
        if not question and not (theirs.exists() and read_profile(theirs).name == name):
            continue
        files = [file for file in ROWS if holds(run / file)]
        page = run / "compare.html"  # it shows pairs of the other runs too
        if page.exists() and str(escape(question)) in page.read_text(encoding="utf-8"):
            files.append(page.name)
        if files:
            made = [n for n in ("adapter", "answers", "comparison.json", "report.html") if (run / n).exists()]
            found.append(f"{shown(run)}: {', '.join([*files, *made])}")
    return found + [typed(folder / "history")] * any(map(holds, folder.glob("history/*/*.jsonl")))


@as_command()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persona", required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--from", dest="file", help="JSONL of questions with their new answers; an empty one takes back")
    what.add_argument("--undo", action="store_true", help="bring back what was there before the last change")
    what.add_argument("--remove", metavar="QUESTION", help="take this answer back, and say which runs hold it")
    what.add_argument("--who", action="store_true", help="say which runs hold this person's words")
    options = parser.parse_args(arguments)
    folder = own_folder(options.persona, "undo" if options.undo else "edit" if options.file else "remove")
    said = words(read_profile(folder / "persona.yaml").language)
    if not options.who:
        if options.undo:
            counts = undo(folder)
        elif options.remove:
            counts = change(folder, [Change(question=options.remove)])
        else:
            how = 'write {"question": "…", "answer": "…"} on each line'
            counts = change(folder, read_rows(options.file or "", Change, how).values())
        print(said["changed"].format(**counts, folder=typed(folder)))
    if options.who or options.remove:
        places = holders(folder, options.remove or "")
        print(said["held" if places else "held_nowhere"], *places, sep="\n  ")
        if places:
            print(said["held_remedy"].format(folder=typed(folder)))


if __name__ == "__main__":
    main()
