"""Do the tiny model's answers make sense, and does its base read facts from its prompt?

    python benchmarks/sense.py sheet runs/demo sheet.csv   # 90 rows to mark blind, and sheet.key.json beside it
    python benchmarks/sense.py count sheet.csv             # counts the marks: fill the last column with y or n
    python benchmarks/sense.py facts                       # まさき。's stated facts in the developer message
    python benchmarks/sense.py reading                     # and a made-up person's, worded as in the model's own corpus

The sheet has, in one shuffled list, the tuned model's answers to the test questions, the person's own, and the person's
own answers to other questions. Whoever marks them sees a question and an answer and says whether it answers that
question: y or n. A figure for the tuned model is worth what the same reader makes of the other two.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError
from persona_ft.evaluate.schema import AFTER
from persona_ft.evaluate.scoring import known_facts, questions_of
from persona_ft.evaluate.facts import judge
from persona_ft.evaluate.statistics import share
from persona_ft.data.persona import read_persona
from persona_ft.report.store import read_comparison
from persona_ft.gpt_oss.load import load_model
from persona_ft.paths import resolve

DATE = "2025-12-04"


def write_sheet(run: Path, sheet: Path, seed: int = 0) -> None:
    """The blind sheet, and the key that says which row is what."""
    comparison = read_comparison(run / "comparison.json")
    questions, draw = comparison.questions, random.Random(seed)
    n = len(questions)
    order = draw.sample(range(n), n)
    other = {i: order[(place + 1) % n] for place, i in enumerate(order)}  # nobody has their own answer
    tuned = [answer.text for answer in comparison.condition(AFTER).answers]
    own = [question.reference for question in questions]
    rows = [("tuned", q.question, tuned[i]) for i, q in enumerate(questions)]
    rows += [("own", q.question, own[i]) for i, q in enumerate(questions)]
    rows += [("random", q.question, own[other[i]]) for i, q in enumerate(questions)]
    draw.shuffle(rows)
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "question", "answer", "answers this question? (y/n)"])
        writer.writerows([i, question, answer, ""] for i, (_, question, answer) in enumerate(rows, start=1))
    key = {str(i): kind for i, (kind, _, _) in enumerate(rows, start=1)}
    sheet.with_suffix(".key.json").write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} rows in {sheet}; the key is beside it")


def count(sheet: Path) -> None:
    """How many of each kind were marked y."""
    key = json.loads(sheet.with_suffix(".key.json").read_text(encoding="utf-8"))
    with sheet.open(encoding="utf-8", newline="") as file:
        marks = {row[0]: row[3].strip().lower()[:1] for row in list(csv.reader(file))[1:]}
    if unmarked := [row for row, mark in marks.items() if mark not in ("y", "n")]:
        raise PersonaError(f"rows {', '.join(unmarked[:5])} have no mark", "write y or n into the last column", sheet)
    for kind in ("tuned", "own", "random"):
        rows = [row for row in key if key[row] == kind]
        print(f"{kind:7s} {sum(marks[row] == 'y' for row in rows)} of {len(rows)} answer their question")


def tiny_model(path: str = "data/tiny-gpt-oss") -> tuple[Any, Any]:
    """The tiny model, or another, and its tokenizer, its date frozen."""
    from persona_ft.gpt_oss.harmony import freeze_date

    model, tokenizer = load_model(resolve(path))
    tokenizer.chat_template = freeze_date(tokenizer.chat_template, DATE)
    return model, tokenizer


def reading(n_people: int = 40, seed: int = 99) -> None:
    """State a made-up person's facts, some of them made-up words, ask for one, and look for it in the answer."""
    from persona_ft.gpt_oss.harmony import render_prompt
    from persona_ft.gpt_oss.generate import ANSWER_TOKENS, generate_completions

    sys.path.insert(0, str(resolve("scripts/tiny_gpt_oss")))
    from corpus import Corpus

    model, tokenizer = tiny_model()
    corpus, draw = Corpus([], seed), random.Random(seed)
    for n_facts in (1, 4, 12, 30):
        prompts, wanted = [], []
        for _ in range(n_people):
            known = draw.sample(corpus.attributes["ja"], n_facts)
            values = {attribute["id"]: [corpus.value(attribute)] for attribute in known}
            asked = draw.choice(known)
            prompt = "あなたは料理人の「ハナ」です。短く、気さくに答えてください。" + corpus.stated(values, "ja")
            messages = [
                {"role": "developer", "content": prompt},
                {"role": "user", "content": draw.choice(asked["user"])},
            ]
            prompts.append(render_prompt(tokenizer, messages, "low", think=False))
            wanted.append(values[asked["id"]][0])
        answers = generate_completions(model, tokenizer, prompts, ANSWER_TOKENS)
        said = sum(value in (c.answer or "") for value, c in zip(wanted, answers, strict=True))
        print(f"{n_facts:2d} facts in the prompt: {said} of {n_people} times the one that was asked for is said")


def facts(persona_folder: str) -> None:
    """Ask the base, with the stated facts in the developer message, each question that asks for one."""
    from persona_ft.conversation import persona_messages
    from persona_ft.gpt_oss.harmony import render_prompt
    from persona_ft.gpt_oss.generate import ANSWER_TOKENS, generate_completions

    persona = read_persona(resolve(persona_folder))
    model, tokenizer = tiny_model()
    stated = [fact for fact in persona.profile.facts if fact.stated != "never"]
    notes = "\n".join(f"- {fact.ja or fact.en}" for fact in stated)
    known, questions = known_facts(persona), questions_of(persona)
    for name, prompt in (
        ("persona prompt", persona.profile.system_prompt),
        ("persona prompt and facts", f"{persona.profile.system_prompt}\n{notes}"),
    ):
        prompts = [render_prompt(tokenizer, persona_messages(i, prompt), "low", think=False) for i in persona.test]
        answers = [c.answer or "" for c in generate_completions(model, tokenizer, prompts, ANSWER_TOKENS)]
        found: Counter[str] = Counter()
        for question, answer in zip(questions, answers, strict=True):
            verdicts = {m.id: judge(answer, known[m.id]).verdict for m in question.facts if m.stated != "never"}
            found.update(verdicts.values())
            if verdicts:
                print(f"  {question.id} {question.question} → {answer}  {verdicts}")
        n = sum(found.values())
        print(f"{name}: {share(found['supported'], n)} of {n} facts asked for are said, {dict(found)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="what", required=True)
    sheet = kinds.add_parser("sheet")
    sheet.add_argument("run", type=Path)
    sheet.add_argument("sheet", type=Path)
    kinds.add_parser("count").add_argument("sheet", type=Path)
    kinds.add_parser("reading")
    kinds.add_parser("facts").add_argument("--persona", default="data/masaki")
    args = parser.parse_args()
    try:
        if args.what == "sheet":
            write_sheet(args.run, args.sheet)
        elif args.what == "count":
            count(args.sheet)
        elif args.what == "reading":
            reading()
        else:
            facts(args.persona)
    except PersonaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
