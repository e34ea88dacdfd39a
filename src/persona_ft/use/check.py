"""What can be known of a persona before a model is loaded: marks, borrowed answers, sizes, memory, time and money.

    python -m persona_ft.use.check --persona data/me [--run runs/me] [--chat chat.txt --me NAME]

Tokens are counted with the tiny model's tokenizer, which stands in for gpt-oss-20b's: nothing is downloaded.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from persona_ft.chat.importing import Imported, import_chat, names_in
from persona_ft.chat.privacy import Privacy
from persona_ft.conversation import Conversation, read_jsonl, rows_in
from persona_ft.data.bank import words
from persona_ft.data.interview import ANSWERS
from persona_ft.data.persona import Profile, check_owner, read_profile, read_test
from persona_ft.data.split import allot, check_leakage, comparable
from persona_ft.errors import PersonaError, as_command
from persona_ft.evaluate.facts import mentioned
from persona_ft.paths import resolve, typed
from persona_ft.train.gpus import choose_recipe, read_cards
from persona_ft.train.memory import GIB, estimate_step, estimate_training, fits
from persona_ft.train.progress import duration
from persona_ft.train.rows import row_lengths
from persona_ft.use.answers import SHIPPED, own_folder, read_sides

# An answer this long, letter for letter that of the shipped persona, was not typed anew.
BORROWED = 8
# gpt-oss-20b in 4 bit; on Colab notebooks 03 and 04 each have a machine of their own. The rate is an assumption.
DOWNLOAD_GB, DOWNLOADS, MB_S = 14, 2, 50
CARDS = ("T4", "L4", "A100")
Rows = Sequence[Conversation]
Mark = Literal["✓", "!", "✗"]


class Finding(NamedTuple):
    """A line of the check: fine, worth knowing, or what would spoil a run."""

    mark: Mark
    text: str


class Findings(list[Finding]):
    """The lines of a check in the reader's language: the persona's; of the shipped one, which all read, English."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.language = "en" if folder == resolve(SHIPPED) else profile.language
        self.words = words(self.language)

    def add(self, mark: Mark, key: str, **what: Any) -> None:
        """Add a line of words.yaml, its {…} filled in."""
        self.append(Finding(mark, self.words[key].format(**what)))


def check_data(profile: Profile, folder: Path, train: Rows, test: Rows, **sizes: tuple[int, int]) -> list[Finding]:
    """Marks and facts, borrowed answers, leaks, and what the sizes allow, of the data of a persona's folder. ``sizes``:
    ``n_test`` and ``n_validation`` as (taken, asked for), where few pairs may have less of them."""
    found = Findings(profile, folder)
    facts = {fact.id: fact for fact in profile.facts}
    known = facts.keys() | {topic.id for topic in profile.unknown_topics}
    for file, rows in (("train.jsonl", train), ("test.jsonl", test)):
        for n, row in enumerate(rows, start=1):
            for mark in row.facts:
                what = {"where": f"{file}, {row.id or n}", "id": mark.id, "answer": row.answer[:30]}
                if mark.id not in known:
                    found.add("✗", "unknown_mark", **what)
                elif mark.id in facts and not mentioned(row.answer, facts[mark.id]):
                    found.add("!", "unsaid_mark", **what)
    if not found:
        found.add("✓", "marks_agree", facts=len(facts))
    if folder != resolve(SHIPPED):
        theirs = {comparable(row.answer) for rows in read_sides(resolve(SHIPPED)).values() for row in rows}
        borrowed = [p for p in (*train, *test) if len(text := comparable(p.answer)) >= BORROWED and text in theirs]
        if borrowed:
            spoils = borrowed[0].category != "chat"  # the made-up chat is まさき。's too, and there to be tried
            what = {"n": len(borrowed), "answer": borrowed[0].answer, "question": borrowed[0].question}
            found.add("✗" if spoils else "!", "borrowed", **what)
        else:
            found.add("✓", "own")
    try:
        check_leakage(train, test)
        found.add("✓", "no_leak")
    except PersonaError as error:
        found.append(Finding("✗", str(error)))
    found.append(Finding("✓" if len(test) >= 6 else "!", what_a_test_allows(len(test), found.language)))
    for what, (taken, asked) in sizes.items():
        if taken != asked:
            found.add("!", f"fewer_{what}", n=len(train) + len(test), taken=taken, asked=asked)
    return found


def what_a_test_allows(n: int, language: str) -> str:
    """What ``n`` test questions can show: wins for a two-sided sign test at 5 %, and the bound where none fails."""
    tails = [2 * sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n for wins in range(n + 1)]
    wins = next((wins for wins, p in enumerate(tails) if p < 0.05), None)
    if wins is None:
        return words(language)["allows_nothing"].format(n=n)
    return words(language)["allows"].format(n=n, wins=wins, miss=1 - 0.025 ** (1 / n))


def with_room_for_tests(import_with: Callable[[int], Imported], n_test: int) -> Imported:
    """A chat imported with ``n_test`` replies to test with, or with a quarter of them where there are fewer."""
    try:
        found = import_with(n_test)
        n_pairs = len(found.pairs) + len(found.test)
    except PersonaError:  # too few for so many, or something else, which is said again
        n_pairs = len(import_with(0).pairs)
    room = allot(n_pairs, n_test)[0]
    return found if room == n_test else import_with(room)


def check_costs(profile: Profile, folder: Path, train: Rows) -> list[Finding]:
    """Tokens of the rows; memory, time and money of training gpt-oss-20b on some cards, downloads counted."""
    from transformers import AutoTokenizer, GptOssConfig

    found, cards = Findings(profile, folder), read_cards()
    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    tokenizer = AutoTokenizer.from_pretrained(resolve("data/tiny-gpt-oss"))
    n_train = len(train) - allot(len(train), 0)[1]
    loading = DOWNLOADS * DOWNLOAD_GB * 1000 / MB_S
    for card in map(cards.named, CARDS):
        recipe, _ = choose_recipe("auto", card)
        try:
            lengths, graded = row_lengths(train, recipe, profile.system_prompt, tokenizer)
        except PersonaError as error:
            return [Finding("✗", str(error))]
        if not found:
            found.add("✓", "tokens", longest=max(lengths), graded=sum(graded), all=sum(lengths))
        memory = estimate_training(config, recipe, max(lengths), max(graded), card.bfloat16)
        step = estimate_step(config, recipe, max(lengths), card)
        training = step.total * recipe.steps(n_train) if step else 0.0
        units, usd = cards.cost(card, training + loading) or (math.nan, math.nan)
        what = {"card": card.name, "needs": memory.total / GIB, "has": card.memory_gib, "units": units, "usd": usd}
        what |= {"training": duration(training), "loading": duration(loading)}
        found.add(*(("✓", "cost") if fits(memory, card) else ("!", "no_fit")), **what)
    found.add("!", "cost_note", checked=cards.checked, gb=DOWNLOAD_GB, rate=MB_S)
    return found


def check_persona(folder: Path, run: Path | None = None, costs: bool = True) -> list[Finding]:
    """Check a persona's folder, and that a run is this person's and was made from the answers of today. PersonaError
    where a file is missing or cannot be used, or the run is somebody else's."""
    profile = read_profile(folder / "persona.yaml")
    found, where = Findings(profile, folder), {"folder": typed(folder), "run": typed(run) if run else "runs/…"}
    if run:
        check_owner(run, folder)
    for file in ("train.jsonl", "test.jsonl"):
        if not (folder / file).exists():
            reason = found.words["no_answers"].format(file=file, **where)
            raise PersonaError(reason, found.words["no_answers_remedy"].format(**where))
    train, test = read_jsonl(folder / "train.jsonl"), read_test(folder / "test.jsonl")
    watched = allot(len(train), 0)[1]
    found.add("✓", "sizes", n=len(train) + len(test), train=len(train), validation=watched, test=len(test))
    found += check_data(profile, folder, train, test)
    if run and (run / "train.jsonl").exists():
        used = {(p.question, p.answer) for f in ("train.jsonl", "validation.jsonl") for p in rows_in(run / f)}
        if changed := used ^ {(p.question, p.answer) for p in train}:
            found.add("!", "run_differs", n=len(changed), **where)
    return found + (check_costs(profile, folder, train) if costs else [])


def check_chat(chat: Path, me: str, folder: Path, names: str = "") -> list[Finding]:
    """Import a chat without writing anything, and check what would come of it. ``names``: as in notebook 02b."""
    found, listed = Findings(profile := read_profile(folder / "persona.yaml"), folder), names_in(names)
    imported = with_room_for_tests(lambda n: import_chat(chat, me, privacy=Privacy(listed), n_test=n), 30)
    pairs, test = imported.pairs, imported.test
    n, watched = len(pairs) + len(test), allot(len(pairs), 0)[1]
    found.add("✓", "chat", read=imported.funnel.read, n=n)
    found.add("✓", "sizes", n=n, train=len(pairs), validation=watched, test=len(test))
    if likely := [seen.text for seen in imported.review.seen if seen.kind == "likely name"]:
        found.add("!", "likely", n=len(likely), names=", ".join(likely[:5]))
    sizes = {"n_test": (len(test), 30), "n_validation": (watched, 8)}
    return found + check_data(profile, folder, pairs, test, **sizes) + check_costs(profile, folder, pairs)


def check_first(notebooks: Sequence[str], run: Path, given: dict[str, Any]) -> None:
    """What ``make run`` looks at before its first notebook: minutes and a download come before notebook 02 does.
    PersonaError where the data would spoil the run, or the run folder is somebody else's."""
    folder = resolve(given.get("PERSONA", SHIPPED))
    if any(name.startswith("02_") for name in notebooks):
        check_owner(run, folder)
        if (folder / "train.jsonl").exists() and not given.get("QUESTIONS"):
            stop_on_problems(check_persona(folder, costs=False))
        elif not (run / ANSWERS).exists() and not given.get("INTERACTIVE"):
            check_persona(folder, run, costs=False)  # says what is missing
    elif any(name.startswith("02b_") for name in notebooks) and given.get("CHAT"):
        check_owner(run, own_folder(str(given.get("PERSONA", "")), "new"))


def stop_on_problems(found: Sequence[Finding]) -> None:
    """Raise a PersonaError that names all that would spoil a run, where the check found such."""
    if problems := [finding.text for finding in found if finding.mark == "✗"]:
        raise PersonaError("; ".join(problems), "mend these before anything is trained: nothing was written")


@as_command()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persona", default=SHIPPED)
    for name in ("--run", "--chat", "--me", "--names"):
        parser.add_argument(name, default="")
    options = parser.parse_args(arguments)
    folder, run = resolve(options.persona), resolve(options.run) if options.run else None
    chat = options.chat and resolve(options.chat)
    found = check_chat(chat, options.me, folder, options.names) if chat else check_persona(folder, run)
    print(f"{read_profile(folder / 'persona.yaml').name} ({typed(folder)})")
    for finding in found:
        print(finding.mark, finding.text)
    sys.exit(any(finding.mark == "✗" for finding in found))


if __name__ == "__main__":
    main()
