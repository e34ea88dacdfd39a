"""How each answer changed, in the article's terms, with the evidence."""

from __future__ import annotations

from collections.abc import Sequence

from persona_ft.data.persona import Persona
from persona_ft.evaluate.facts import says
from persona_ft.evaluate.schema import Answer, Change, ConditionResult, Question
from persona_ft.language import LAUGHTER


def classify_changes(
    questions: Sequence[Question], before: ConditionResult, after: ConditionResult, persona: Persona
) -> list[Change]:
    """The article's kinds of change, good and bad, with the evidence; strongest first. A question has one kind: the
    first whose rule on the scores fits, bad before good. Below 0, the base finds an answer likelier after other
    questions than after its own."""
    laughs = any(LAUGHTER.search(pair.answer) for pair in persona.train)
    found = []
    for question, b, a in zip(questions, before.answers, after.answers, strict=True):
        kind, good, evidence, strength = _change(question, b, a, laughs)
        if kind:
            found.append(Change(id=question.id, kind=kind, good=good, evidence=evidence, strength=strength))
    return sorted(found, key=lambda change: (-change.strength, change.id))


def _wrong_fact(question: Question, answer: Answer) -> tuple[str, str, bool] | None:
    """The first fact that an answer gets wrong, and whether nobody stated it; else it is another value, or denied."""
    for mark in question.facts:
        found, never = answer.facts[mark.id], mark.stated == "never"
        if found.verdict == "contradicted" or (never and found.verdict == "supported"):
            return f"{mark.id}: 「{found.evidence}」", found.by, never
    return None


def _change(q: Question, b: Answer, a: Answer, laughs: bool) -> tuple[str, bool, str, float]:
    after, before = (0.5 if answer.style is None or answer.problem else answer.style for answer in (a, b))
    shift, gain = f"style {before:.2f} → {after:.2f}", after - before
    if a.problem:
        return "no usable answer", False, a.problem, 4.0
    if a.says_ai and not q.asks_for_ai:
        return "AI disclosure", False, "says that it is an AI", 3.5
    if bad := _wrong_fact(q, a):
        words, by, never = bad
        if never:
            return "invented facts", False, f"nobody stated {words}", 3.0
        if by == "negation":
            return "altered preference", False, words, 2.9
        return ("wrong domain" if q.category in ("tech", "work") else "invented facts"), False, words, 2.8
    if a.sense is not None and a.sense < 0:
        return "answers another question", False, f"{a.sense:+.2f} nats per token after this one", 2.2 - a.sense
    if a.style is not None and a.style <= 0.5:
        return "style not learnt", False, shift, 2.0 - a.style
    if bad := _wrong_fact(q, b):
        return "avoided hallucination", True, f"the base said {bad[0]}", 3.0
    for fact, found in a.facts.items():
        if found.verdict == "supported" and b.facts[fact].verdict != "supported":
            return "fact recalled", True, f"{fact}: 「{found.evidence}」", 2.5 + gain / 2
    if says("refuses formally", b.text) and a.refuses and not says("refuses formally", a.text):
        return "refusal tone", True, shift, 2.0 + gain / 2
    aside = LAUGHTER.search(a.text) if laughs else None
    if aside and not LAUGHTER.search(b.text):
        return "humour", True, f"「{aside.group()}」, {shift}", 1.0 + gain / 2
    return ("tone", True, shift, gain) if gain > 0 and before <= 0.5 else ("", True, "", 0.0)
