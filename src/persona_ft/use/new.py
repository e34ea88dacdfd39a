"""A persona in ten minutes: a few questions about the person, then the interview, at a terminal or in a notebook.

    python -m persona_ft.use.new --persona data/me [--language en] [--more 20]

It can be stopped at any moment; the same command goes on where it stopped.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import yaml
from pydantic import RootModel

from persona_ft.conversation import Line
from persona_ft.data.bank import is_test, questions_for, words
from persona_ft.data.interview import ANSWERS, Interview, at_terminal
from persona_ft.data.persona import Fact, Profile, check_owner, read_profile
from persona_ft.data.split import allot
from persona_ft.errors import PersonaError, as_command, number, read_line
from persona_ft.gpt_oss.ask import Ask, endpoint, local_model
from persona_ft.gpt_oss.download import fetch_model
from persona_ft.gpt_oss.load import choose_model, load_model, this_machine
from persona_ft.io import move_aside, read_yaml, write_text
from persona_ft.paths import is_live, resolve, run_folder, shown, typed
from persona_ft.use.answers import SHIPPED, own_folder, settle

# Replies about the person, until there are enough for persona.yaml.
DRAFT = "persona-draft.yaml"
# What notebook 02b shows where no chat is given.
MADE_UP = "data/chats/line_phone.txt"
# Fewer answers to train on are refused.
LEAST = 8


def describe(folder: Path, language: str = "") -> Profile:
    """Ask who the person is, in plain words, and write persona.yaml. Each reply is kept before the next question.
    ``language`` is ``"ja"`` or ``"en"``; empty asks. In a notebook the questions have a field below the cell."""
    known = read_draft(folder, language)
    usual = "ja" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("ja") else "en"
    language = known.get("language", language)
    while language not in ("ja", "en"):
        language = read_line(f"日本語なら ja, English: en [{usual}]\n> ").lower() or usual
    known["language"], said = language, words(language)
    print(said["intro"].format(folder=typed(folder)))

    def reply(key: str, default: str | None = None, **values: object) -> str:
        """The reply to one question, from the draft where it was given already."""
        while key not in known or (default is None and not known[key]):
            text = read_line(f"{said[re.sub(r'_?[0-9]+$', '', key)].format(**values)}\n> ")
            if text or default is not None:
                known[key] = text or default
                write_text(folder / DRAFT, yaml.safe_dump(known, allow_unicode=True))
            else:
                print(said["needed"])
        return known[key]

    name, tone, me = reply("name"), reply("tone").rstrip("。."), said["first_person_default"]
    if language == "ja":
        me = reply("first_person", me)
    facts: list[Fact] = []
    while text := reply(f"fact_{len(facts) + 1}", "", n=len(facts) + 1).rstrip("。."):
        guess = likely_alias(text, language)
        aliases = re.split(r"\s*[,、，]\s*", reply(f"alias_{len(facts) + 1}", guess, guess=guess))
        fact = {"id": f"fact_{len(facts) + 1}", "stated": "prompt", language: text}
        facts.append(Fact.model_validate(fact | {"aliases": [alias for alias in aliases if alias] or [guess]}))
    listed = said["fact_separator"].join(getattr(fact, language) for fact in facts)
    about = said["about"].format(facts=listed) if facts else ""
    prompt = said["system_prompt"].format(name=name, tone=tone, first_person=me, facts=about).strip()
    profile = Profile(name=name, language=language, first_person=me, system_prompt=prompt, facts=facts)
    fields = profile.model_dump(exclude_defaults=True) | {"language": language}
    write_text(folder / "persona.yaml", yaml.safe_dump(fields, allow_unicode=True, sort_keys=False, width=1000))
    (folder / DRAFT).unlink(missing_ok=True)
    return profile


def read_draft(folder: Path, language: str) -> dict[str, str]:
    """The replies about the person so far, by question. A file that cannot be used is moved aside, and that is said."""
    draft = folder / DRAFT
    try:
        return read_yaml(draft, RootModel[dict[str, Line]], "").root if draft.exists() else {}
    except PersonaError as error:
        print(words(language)["broken_draft"].format(reason=error.reason, path=typed(move_aside(draft, "broken"))))
        return {}


def likely_alias(fact: str, language: str) -> str:
    """The word by which an answer would be known to say the fact: its longest name or word, in Japanese its first."""
    if language == "ja":
        return re.split("[をにがはのでとへも]", fact)[0] or fact
    return max(re.findall(r"(?<=\s)[A-Z]\w+", fact) or re.findall(r"\w+", fact) or [fact], key=len)


def interview(folder: Path, more: int = 0) -> bool:
    """Ask what has no answer yet, or so many ``more`` questions to train on; whether it came to its end."""
    profile = read_profile(folder / "persona.yaml")
    said = words(profile.language)
    talk = Interview(questions_for("bank", profile.language, with_test=True), folder / ANSWERS, profile.language)
    answered = {pair.question for pair in talk.pairs()}
    greeting = {"name": profile.name, "n": len(answered), "all": len(talk.questions), "folder": typed(folder)}
    print(said["welcome_back" if answered else "interview_intro"].format(**greeting))
    if more:  # the test stays as it is, so that both runs are asked the same
        keeps_test = (folder / "test.jsonl").exists()
        still = [q for q in talk.questions if q.question not in answered and not (keeps_test and is_test(q))]
        talk.questions = still[:more]
    return at_terminal(talk)


def new_persona(folder: Path, language: str = "", more: int = 0) -> bool:
    """Describe the person unless persona.yaml is there, interview, and write train.jsonl and test.jsonl. ``more`` asks
    that many questions to train on and no more. Returns whether the interview came to its end."""
    run_folder(folder, called="persona")
    there, finished, command = folder / "persona.yaml", False, f"make new PERSONA={typed(folder)}"
    try:
        if not there.exists():
            said = words(describe(folder, language).language)
            print(f"\n{said['written'].format(path=typed(there))}\n")
        finished = interview(folder, more)
    except (KeyboardInterrupt, EOFError):
        print()
    if not there.exists():
        print(words(read_draft(folder, language).get("language", language))["stopped"].format(n=0, command=command))
        return False
    said, sides = words(read_profile(there).language), settle(folder)
    n_train, n_test = len(sides["train"]), len(sides["test"])
    n, watched = n_train + n_test, allot(n_train, 0)[1]
    if not finished:
        print(said["stopped"].format(n=n, command=command))
    if n_train < LEAST or not n_test:
        print(said["too_few"].format(least=LEAST))
        return False
    print(said["sizes"].format(n=n, train=n_train, validation=watched, test=n_test))
    print(said["next_check"].format(command=f"make check PERSONA={typed(folder)}"))
    print(said["next_run"].format(command=f"make run RUN=runs/{folder.name} PERSONA={typed(folder)}"))
    return finished


def profile_file(folder: Path, run: Path, interactive: bool = False) -> Path:
    """The persona.yaml that a notebook works with: the folder's, else the run's, which is written by asking.
    PersonaError where nobody is there to ask, or the run folder is somebody else's."""
    if interactive and not is_live():
        raise PersonaError("INTERACTIVE = True needs someone at the keyboard", "open the notebook, or set it to False")
    theirs, kept = folder / "persona.yaml", run / "persona.yaml"
    if theirs.exists() or not (interactive or kept.exists()):
        check_owner(run, folder)
        return theirs
    if not kept.exists():
        describe(run)
    return kept


def asker(ask_back: str, ask_model: str, model: str) -> Ask | None:
    """Who asks back after a short answer: nobody but set phrases, gpt-oss itself, or the model at an address."""
    if ask_back == "rules":
        return None
    if ask_back != "model":
        return endpoint(ask_back, ask_model)
    choice = choose_model(model, this_machine())
    return local_model(*load_model(fetch_model(choice.source), choice.weights))


def chat_to_read(chat: str, me: str, persona: str, run: Path) -> tuple[Path, str, Path, Path]:
    """The export, who is you in it, the persona's folder, and where to write; without ``chat`` a made-up one.
    PersonaError where the persona is the shipped one, or the run folder somebody else's."""
    if chat:
        folder = own_folder(persona, "new")
        print(f"{read_profile(profile_file(folder, run)).name}: {resolve(chat).name}, into {shown(run)}")
        return resolve(chat), me, folder, run
    out = run / "made-up-chat"
    out.mkdir(exist_ok=True)
    export = resolve(MADE_UP)
    print(f"no CHAT: {MADE_UP}, made up, as LINE exports it", *export.read_text("utf-8").splitlines()[:7], sep="\n")
    return export, "まさき", resolve(SHIPPED), out


@as_command()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persona", default="", help="the new folder, such as data/me")
    parser.add_argument("--language", choices=("", "ja", "en"), default="", help="empty: the persona's, else yours")
    how_many = {"type": number(int, 0, 1000), "default": 0}
    parser.add_argument("--more", **how_many, help="ask this many questions today and no more")
    options = parser.parse_args(arguments)
    finished = new_persona(own_folder(options.persona, "new"), options.language, options.more)
    sys.exit(0 if finished or not options.more else 3)


if __name__ == "__main__":
    main()
