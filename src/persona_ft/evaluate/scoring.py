"""Every condition's answers under the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from persona_ft.data.persona import Fact, Persona
from persona_ft.errors import PersonaError
from persona_ft.evaluate.copying import copied
from persona_ft.evaluate.disclosure import asked_for_ai, refuses, says_ai
from persona_ft.evaluate.facts import judge, mentioned
from persona_ft.evaluate.schema import (
    HEADLINES,
    PROBLEMS,
    Answer,
    ConditionResult,
    FactAnnotation,
    FactVerdict,
    Question,
    Score,
    Stated,
)
from persona_ft.evaluate.sense import SenseScale, defect
from persona_ft.evaluate.statistics import Interval, mean_interval, share
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.gpt_oss.generate import Completion


def questions_of(persona: Persona) -> list[Question]:
    """The test questions; where a fact is stated is read from the texts, whatever the file's mark claims: some answers
    may have been set aside."""
    facts = known_facts(persona)
    stated: dict[str, Stated] = {}
    for fact_id, fact in facts.items():
        in_training = any(mentioned(pair.answer, fact) for pair in persona.train)
        topic = fact_id in {topic.id for topic in persona.profile.unknown_topics}
        in_prompt = mentioned(persona.profile.system_prompt, fact)
        stated[fact_id] = "never" if topic else "train" if in_training else "prompt" if in_prompt else "never"
    return [
        Question(
            id=item.id or "",
            category=item.category or "",
            question=item.question,
            reference=item.answer,
            facts=[FactAnnotation(id=m.id, stated=stated[m.id]) for m in item.facts if m.id in facts],
            asks_for_ai=asked_for_ai(item.question),
        )
        for item in persona.test
    ]


def check_test(persona: Persona) -> None:
    """Stop at fact marks that mean nothing, and say when there are too few questions for any test.

    Raises
    ------
    PersonaError
        A test item names a fact or topic that persona.yaml does not have.
    """
    profile = persona.profile
    known = {fact.id for fact in profile.facts} | {topic.id for topic in profile.unknown_topics}
    for item in persona.test:
        for mark in item.facts:
            if mark.id not in known:
                remedy = "add it to facts: or unknown_topics: in persona.yaml, or remove the mark"
                raise PersonaError(f"{item.id} names the fact {mark.id!r}, which nobody knows", remedy, "test.jsonl")
    if len(persona.test) < 6:
        print(f"note: with {len(persona.test)} questions no difference can be told from chance; 30 are a start")


def known_facts(persona: Persona) -> dict[str, Fact]:
    """The facts that can be judged, by id: the persona's, and the unknown topics whose claims are listed."""
    topics = [fact for topic in persona.profile.unknown_topics if (fact := topic.as_fact())]
    return {fact.id: fact for fact in [*persona.profile.facts, *topics]}


@dataclass
class Scorer:
    """What all conditions are scored with: the persona, what tells its style, the questions, and where an answer fits
    its question; without a scale of sense no answer has any."""

    persona: Persona
    style: StyleClassifier
    questions: list[Question]
    scale: SenseScale | None = None

    def score(
        self, completions: Sequence[Completion], likelihoods: Sequence[float], sense: Sequence[float] | None = None
    ) -> list[Answer]:
        """Score one pass over the n test questions.

        Parameters
        ----------
        completions : one a question; one without a final channel, or an empty one, has no style and no fact.
        likelihoods : of the reference under the condition, nats per token.
        sense : of the answers, from :func:`~persona_ft.evaluate.sense.information`.
        """
        texts = [completion.answer or "" for completion in completions]
        facts, training = known_facts(self.persona), [pair.answer for pair in self.persona.train]
        probabilities = self.style.probabilities(texts)
        shared = [float("nan")] * len(texts) if sense is None else sense
        found = []
        for i, (question, completion, text) in enumerate(zip(self.questions, completions, texts, strict=True)):
            span = copied(text, training)
            found.append(
                Answer(
                    text=text,
                    problem=completion.problem or defect(text),
                    n_tokens=completion.n_tokens,
                    wanted_tokens=completion.wanted,
                    thinking=completion.thinking,
                    ran_on=completion.ran_on,
                    style=None if np.isnan(probabilities[i]) else float(probabilities[i]),
                    log_likelihood=float(likelihoods[i]),
                    sense=None if np.isnan(shared[i]) else float(shared[i]),
                    fits=self.fits(shared[i]),
                    facts={m.id: FactVerdict(**asdict(judge(text, facts[m.id]))) for m in question.facts},
                    says_ai=says_ai(text),
                    refuses=refuses(text),
                    copied=span.span,
                    nearest=span.nearest,
                    near_duplicate=span.near_duplicate,
                )
            )
        return found

    def condition(
        self,
        name: str,
        description: str,
        passes: Sequence[Sequence[Answer]],
        final_channel: Sequence[float] | None = None,
    ) -> ConditionResult:
        """Put one or more passes of a condition together; scores are means over the passes that have them.

        ``final_channel``: for each question the log-probability of going straight to the final channel.
        """
        values = [[answer.values(q.facts) for answer, q in zip(one, self.questions, strict=True)] for one in passes]
        scores = {score.key: mean_known([[v[score.key] for v in one] for one in values]) for score in HEADLINES}
        return ConditionResult(
            name=name,
            description=description,
            answers=list(passes[0]),
            samples=[[answer.text for answer in one] for one in passes[1:]],
            problems={kind: sum(a.problem == kind for one in passes for a in one) for kind in PROBLEMS},
            scores={key: [None if np.isnan(v) else v for v in row] for key, row in scores.items()},
            final_channel=None if final_channel is None else float(np.mean(final_channel)),
        )

    def fits(self, sense: float) -> bool | None:
        """Whether an answer fits its question; None where nobody measured it."""
        return None if self.scale is None or np.isnan(sense) else bool(sense > self.scale.threshold)

    def person(self, sense: Sequence[float] | None = None) -> dict[str, Interval]:
        """The person's own test answers: style, sense and both together, facts as judged."""
        texts = [question.reference for question in self.questions]
        facts = known_facts(self.persona)
        said = [
            [judge(q.reference, facts[m.id]).verdict == "supported" for m in q.facts if m.stated != "never"]
            for q in self.questions
        ]
        found = {"style": style_share(self.style, texts)}
        if sense is not None and self.style.trained:
            fits, sounds = [bool(self.fits(one)) for one in sense], self.style.probabilities(texts) > 0.5
            found = {"headline": share(int((sounds & fits).sum()), len(texts)), **found}
            found["sense"] = share(sum(fits), len(fits))
        return found | {"facts_said": mean_interval([float(np.mean(one)) for one in said if one], bounded=True)}


def mean_known(passes: Sequence[Sequence[float]]) -> list[float]:
    """Mean over passes, question by question; NaN where no pass has the score."""
    rows = np.asarray(passes, float)
    known = ~np.isnan(rows)
    return (np.where(known, rows, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)).tolist()


def style_share(style: StyleClassifier, texts: Sequence[str]) -> Interval:
    """Share of texts in the person's style, with its exact interval; NaN where the classifier knows nothing."""
    likely = style.probabilities(texts)
    return share(int((likely > 0.5).sum()), int((~np.isnan(likely)).sum()))


def interval_of(condition: ConditionResult, score: Score) -> Interval:
    """A condition's score with its interval: exact for a share of answers asked once, else bootstrap."""
    values = condition.values(score.key)
    values = values[~np.isnan(values)]
    if score.is_share and set(values) <= {0.0, 1.0}:
        return share(int(values.sum()), len(values))
    return mean_interval(values, bounded=score.bounded)
