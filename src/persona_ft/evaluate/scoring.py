"""Every condition's answers under the same scores."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from persona_ft.conversation import FactAnnotation
from persona_ft.data.persona import Fact, Persona
from persona_ft.errors import PersonaError
from persona_ft.evaluate.facts import judge, mentioned, says
from persona_ft.evaluate.schema import PERSON, PROBLEMS, Answer, ConditionResult, Question
from persona_ft.evaluate.sense import SenseScale, defect
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.evaluate.stylometry import copied
from persona_ft.gpt_oss.generate import Completion
from persona_ft.gpt_oss.harmony import HarmonyMessage


def known_facts(persona: Persona) -> dict[str, Fact]:
    """The facts that can be judged, by id: the persona's, and the unknown topics whose claims are listed."""
    topics = [fact for topic in persona.profile.unknown_topics if (fact := topic.as_fact())]
    return {fact.id: fact for fact in [*persona.profile.facts, *topics]}


def questions_of(persona: Persona) -> list[Question]:
    """The test questions; where a fact is stated is read from the texts, whatever the file's mark claims: some answers
    may have been set aside."""
    facts, profile = known_facts(persona), persona.profile
    unknown = {topic.id for topic in profile.unknown_topics}

    def stated(fact: Fact) -> str:
        if fact.id in unknown:
            return "never"
        if any(mentioned(pair.answer, fact) for pair in persona.train):
            return "train"
        return "prompt" if mentioned(profile.system_prompt, fact) else "never"

    where = {name: stated(fact) for name, fact in facts.items()}
    return [
        Question(
            id=item.id or "",
            category=item.category or "",
            question=item.question,
            reference=item.answer,
            facts=[FactAnnotation(id=mark.id, stated=where[mark.id]) for mark in item.facts if mark.id in facts],
            asks_for_ai=says("asks for AI", item.question),
        )
        for item in persona.test
    ]


def check_test(persona: Persona) -> None:
    """Stop at fact marks that mean nothing, and say when there are too few questions for any test. PersonaError names
    a test item whose fact or topic persona.yaml does not have."""
    known = {entry.id for entry in [*persona.profile.facts, *persona.profile.unknown_topics]}
    for item in persona.test:
        for mark in item.facts:
            if mark.id not in known:
                remedy = "add it to facts: or unknown_topics: in persona.yaml, or remove the mark"
                raise PersonaError(f"{item.id} names the fact {mark.id!r}, which nobody knows", remedy, "test.jsonl")
    if len(persona.test) < 6:
        print(f"note: with {len(persona.test)} questions no difference can be told from chance; 30 are a start")


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
        """Score one pass over the n test questions. ``likelihoods``: of the references under the condition, nats per
        token; ``sense``: of the answers, from :func:`~persona_ft.evaluate.sense.information`."""
        facts, training = known_facts(self.persona), [pair.answer for pair in self.persona.train]
        texts = [completion.answer or "" for completion in completions]
        sense = [np.nan] * len(texts) if sense is None else sense
        asked = zip(self.questions, completions, likelihoods, strict=True)
        seen = zip(texts, self.style.probabilities(texts), sense, strict=True)
        found = []
        for (question, completion, likelihood), (text, probability, shared) in zip(asked, seen, strict=True):
            found.append(
                Answer(
                    text=text,
                    problem=completion.problem or defect(text),
                    n_tokens=completion.n_tokens,
                    wanted_tokens=completion.wanted,
                    thinking=completion.thinking,
                    ran_on=completion.ran_on,
                    style=float(probability),
                    sense=float(shared),
                    fits=None if self.scale is None or np.isnan(shared) else bool(shared > self.scale.threshold),
                    log_likelihood=float(likelihood),
                    facts={mark.id: judge(text, facts[mark.id]) for mark in question.facts},
                    says_ai=says("says AI", text),
                    refuses=says("refuses", text),
                    **asdict(copied(text, training)),
                )
            )
        return found

    def person(self, sense: Sequence[float] | None = None) -> ConditionResult:
        """The person's own test answers as a condition; they have no tokens and no likelihood."""
        texts = [question.reference for question in self.questions]
        said = [Completion(text, (HarmonyMessage("assistant", "final", text, True),), 0, True) for text in texts]
        return self.condition(PERSON, "written by the person", [self.score(said, [np.nan] * len(said), sense)])

    def condition(
        self,
        name: str,
        description: str,
        passes: Sequence[Sequence[Answer]],
        final_channel: Sequence[float] | None = None,
    ) -> ConditionResult:
        """Put one or more passes of a condition together; scores are means over the passes that have them.
        ``final_channel``: log-probability of going straight to the final channel, one a question."""
        import pandas as pd

        values = [pd.DataFrame([a.values(q.facts) for a, q in zip(one, self.questions, strict=True)]) for one in passes]
        return ConditionResult(
            name=name,
            description=description,
            answers=list(passes[0]),
            samples=[[answer.text for answer in one] for one in passes[1:]],
            problems={kind: sum(a.problem == kind for one in passes for a in one) for kind in PROBLEMS},
            scores=pd.concat(values).groupby(level=0).mean().to_dict("list"),
            final_channel=None if final_channel is None else float(np.mean(final_channel)),
        )
