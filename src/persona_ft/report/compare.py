"""Runs of one person on one page: python -m persona_ft.report.compare runs/a runs/b [--language ja]

A run's own rulers are learnt from its own training answers, so the reports of two runs differ by ruler as well. Here
the first run's style classifier and its threshold of sense score the tuned answers of all.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persona_ft.conversation import rows_in
from persona_ft.data.persona import read_persona
from persona_ft.errors import PersonaError, as_command
from persona_ft.evaluate.impostors import read_voices
from persona_ft.evaluate.schema import AFTER, HEADLINE, HEADLINES, SCORES, Answer, Comparison
from persona_ft.evaluate.statistics import word_for
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.evaluate.summary import phrases, score_differences, score_intervals
from persona_ft.gpt_oss.generate import AnswerStore
from persona_ft.io import write_text
from persona_ft.language import LANGUAGES
from persona_ft.paths import resolve, shown
from persona_ft.report.page import page_item, render_page
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import Rows, difference_text, markdown_table, rows_of, text_of

# Compared only where all runs have one base, which judges sense, and only where all stated the same facts.
ON_BASE, ON_FACTS = {"headline", "sense"}, {"facts_said", "not_invented"}


def style_of(run: Path) -> StyleClassifier:
    """A run's style classifier, made again from what notebook 04 made it from. PersonaError where that is gone."""
    persona, store = read_persona(run), AnswerStore(run / "answers", {})
    names = [f"{base} on training questions" for base in ("base", "base + prompt")]
    try:
        base = [completion.answer for name in names for completion in store.kept(name)[1] if completion.answer]
    except store.FAULTS as error:
        reason = "the base's answers to the training questions, which the style classifier is made from, are not there"
        raise PersonaError(reason, "run notebook 04_compare again, with the same RUN", shown(store.folder)) from error
    voices = read_voices(persona.profile.language, persona.train)
    return StyleClassifier([pair.answer for pair in persona.train], base, voices)


class SideBySide:
    """Runs by name, and what the first one's rulers make of their tuned answers: ``answers``, ``scores`` and, minus the
    first, ``differences``. ``style``: the first run's classifier. PersonaError where not all were asked the same."""

    def __init__(self, runs: dict[str, Comparison], style: StyleClassifier) -> None:
        (self.start, *others), self.runs, self.answers, self.scores = runs, runs, {}, {}
        asked = {name: [(q.id, q.question, q.reference) for q in run.questions] for name, run in runs.items()}
        if other := next((name for name in others if asked[name] != asked[self.start]), None):
            reason = f"{other} and {self.start} were not asked the same questions"
            raise PersonaError(reason, "compare runs of one persona and test set")
        self.one_base = len({run.setup.get("model") for run in runs.values()}) == 1
        for name, run in runs.items():
            self.answers[name] = self._scored(run.condition(AFTER).answers, style)
            pairs = zip(self.answers[name], run.questions, strict=True)
            values = [answer.values(question.facts) for answer, question in pairs]
            self.scores[name] = {key: [value[key] for value in values] for key in SCORES}
        facts = [[question.facts for question in run.questions] for run in runs.values()]
        self.same_facts = all(found == facts[0] for found in facts)
        left_out = (set() if self.one_base else ON_BASE) | (set() if self.same_facts else ON_FACTS)
        kept = {name: {key: of[key] for key in SCORES if key not in left_out} for name, of in self.scores.items()}
        self.differences = score_differences({name: (kept[name], kept[self.start]) for name in others})
        self.passes = {name: np.array(of["headline"]) == 1 for name, of in self.scores.items()}

    def _scored(self, answers: Sequence[Answer], style: StyleClassifier) -> list[Answer]:
        threshold, found = self.runs[self.start].scales.get("sense threshold") if self.one_base else None, []
        for answer, probability in zip(answers, style.probabilities([a.text for a in answers]), strict=True):
            fits = answer.fits if threshold is None or answer.sense is None else answer.sense > threshold
            found.append(Answer.model_validate(answer.model_dump() | {"style": probability, "fits": fits}))
        return found

    def tables(self) -> tuple[Rows, Rows, Rows]:
        """Rows of text: the scores by run, each run minus the first, and what was set differently."""
        tuned, changes, setup = {}, {}, {}
        for name, run in self.runs.items():
            found = score_intervals(self.scores[name])
            tuned[name] = {score.label: text_of(found[score.key], score) for score in HEADLINES}
            setup[name] = {key: str(value) for key, value in run.setup.items()}
        for (name, key), difference in self.differences.items():
            changes.setdefault(f"{name} minus {self.start}", {})[SCORES[key].label] = difference_text(difference)
        settings = [row for row in rows_of("setting", setup) if len(set(list(row.values())[1:])) > 1]
        return rows_of("score", tuned), rows_of("score", changes), settings

    def said(self, say: dict[str, str]) -> list[str]:
        """On each run's headline and how it differs from the first run's, on the rulers, and on what is left out."""
        sentences, first, before = [], self.runs[self.start], self.passes[self.start]
        for name, passes in self.passes.items():
            share = text_of(score_intervals(self.scores[name])["headline"], HEADLINE)
            count = {"passed": passes.sum(), "n": len(passes), "share": share}
            sentences.append(say["run headline"].format(run=name, name=first.persona, **count))
            if d := self.differences.get((name, "headline")):
                points = dict(zip(("mean", "low", "high"), np.array([d.mean, d.low, d.high]) * 100, strict=True))
                points |= {"now": (passes & ~before).sum(), "lost": (before & ~passes).sum()}
                sentences[-1] += say["run against"].format(claim=say[word_for(d)].format(other=self.start), **points)
        own = text_of(first.person["headline"], HEADLINE) if "headline" in first.person else "–"
        rulers = say["same rulers" if self.one_base else "own bases"]
        left_out = [] if self.same_facts else [say["own facts"]]
        return [*sentences, rulers.format(start=self.start, name=first.persona, own=own), *left_out]

    def items(self, say: dict[str, str], asked: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
        """The questions with all runs' answers. ``asked``: for each run its training answers -> their questions."""
        start, last, items = self.start, next(reversed(self.runs)), []
        for i, question in enumerate(self.runs[start].questions):
            answers = {name: found[i] for name, found in self.answers.items()}
            kind = "same answer" if answers[start].text == answers[last].text else "other words"
            if kind != "same answer" and self.passes[start][i] != self.passes[last][i]:
                kind = "passes now" if self.passes[last][i] else "passes no longer"
            pairs = {name: (asked[name].get(answer.nearest), answer.nearest) for name, answer in answers.items()}
            beside = [(name, answer, " → ".join(filter(None, pairs[name]))) for name, answer in answers.items()]
            items.append(page_item(question, beside, answers[start], answers[last], {"kind": say[kind]}))
        return items

    def page(self, asked: dict[str, dict[str, str]], language: str = "en") -> str:
        """All of it as one page, in ``"en"`` or ``"ja"``. ``asked``: as :meth:`items` takes it."""
        say, first = phrases(language), self.runs[self.start]
        titles = (say["scores"], say["run differences"], say["setup"])
        given = {"title": say["run title"].format(name=first.persona, runs=" / ".join(self.runs)), "say": say}
        given |= {"said": self.said(say), "tables": list(zip(titles, self.tables(), strict=True))}
        given |= {"items": self.items(say, asked), "marked": say["run marked"], "note": say["run note"]}
        return render_page("compare", "report", comparison=first, language=language, **given)


@as_command()
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run folders in which notebook 04 was run")
    parser.add_argument("--language", default="en", choices=LANGUAGES, help="of the page")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        raise PersonaError("one run has nothing to be compared with", 'name two: make compare RUNS="runs/a runs/b"')
    folders = [resolve(run) for run in options.runs]
    if len(set(map(os.path.realpath, folders))) < len(folders):
        raise PersonaError("a run is named twice", "name different run folders")
    names = [Path(run).name for run in options.runs]
    named = dict(zip(names if len(set(names)) == len(names) else options.runs, folders, strict=True))
    runs = {name: read_comparison(folder / "comparison.json") for name, folder in named.items()}
    found = SideBySide(runs, style_of(folders[0]))
    asked = {n: {pair.answer: pair.question for pair in rows_in(f / "train.jsonl")} for n, f in named.items()}
    tables = filter(None, map(markdown_table, found.tables()))
    print("\n\n".join([*found.said(phrases(options.language)), *tables]))
    print(shown(write_text(folders[-1] / "compare.html", found.page(asked, options.language))))


if __name__ == "__main__":
    main()
