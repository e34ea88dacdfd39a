"""Who states which fact: by the aliases in persona.yaml, a few rules on negation, and nothing that cannot be redone by
hand. ``benchmarks/judge_facts.py`` counts its errors on labelled answers.

The rules, in order, for one fact and one answer (width and letter case do not matter):

0. An answer that calls itself an AI states nothing about a person.
1. An alias counts where it stands in a statement: not in a question back, a condition, a general remark (…は人気があり
   ます), or said of somebody else (友だちは…). Another value as a topic (朝型は…) counts when it is liked.
2. It is *negated* when a negation (じゃない, しない, 嫌い, not, …) follows in its clause, unless that denies nothing
   (しかない). A fact that is a negative one (パクチーが食べられない) is denied by liking.
3. *supported*: some alias counts, is not negated, and no other value follows in contrast (横浜もいいけど、千葉).
   Else *contradicted*: some alias is negated, or a value of ``contradicted_by`` counts. Else *absent*.

Weakness: irony, paraphrase and values that nobody listed are absent for it.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

import yaml

from persona_ft.data.persona import Fact
from persona_ft.evaluate.schema import FactVerdict

PATTERNS = {
    name: re.compile("|".join(alternatives.split("\n")), re.IGNORECASE)
    for name, alternatives in yaml.safe_load(Path(__file__).with_name("patterns.yaml").read_text("utf-8")).items()
}
# Characters around an alias that may say what is meant by it: nobody's sentence is longer.
REACH = 300


def says(pattern: str, text: str) -> bool:
    """Whether a text holds one of the patterns of ``patterns.yaml``, such as ``"says AI"``."""
    return bool(PATTERNS[pattern].search(text))


def normalised(text: str) -> str:
    """Full-width letters as half-width ones, in lower case."""
    return unicodedata.normalize("NFKC", text).lower()


def _occurrences(text: str, alias: str) -> list[re.Match[str]]:
    """Where an alias stands in a normalised text. One that begins or ends with an ASCII letter or digit must stand
    alone there: 11月 does not say 1月, nor Google Go."""
    wanted = normalised(alias)
    before = r"(?<![a-z0-9])" if re.match("[a-z0-9]", wanted) else ""
    after = r"(?![a-z0-9])" if re.search("[a-z0-9]$", wanted) else ""
    return list(re.finditer(before + re.escape(wanted) + after, text))


def mentioned(answer: str, fact: Fact) -> bool:
    """Whether an answer writes one of the fact's aliases at all, negated or not."""
    text = normalised(answer)
    return any(_occurrences(text, alias) for alias in fact.aliases)


@dataclass(frozen=True)
class _Place:
    """An alias where it counts: where, whether it is negated, what is said of it, the words to show, and whether a
    contrast follows (…けど、…), so that another value behind it would be the one that is meant."""

    at: int
    negated: bool
    said: str
    words: str
    contrast: bool = False


def _places(text: str, alias: str) -> list[_Place]:
    """Each place where an alias counts, by rules 1 and 2."""
    found, places = [], _occurrences(text, alias)
    ends = list(PATTERNS["statement end"].finditer(text)) if places else []
    begins = [0, *(end.end() for end in ends)]
    for place in places:
        at, behind = place.span()
        before = text[max(begins[bisect_right(begins, at) - 1], at - REACH) : at]
        end = next(iter(ends[(n := bisect_left(ends, behind, key=re.Match.start)) : n + 1]), None)
        rest = text[behind : min(end.start() if end else len(text), behind + REACH)]
        if says("others", before) or says("not stated", rest):
            continue
        if end and end[0] in "?？":
            echoed = text[end.end() : end.end() + 8]
            if rest and says("rhetorical", rest):
                found.append(_Place(at, False, rest, text[at:behind] + rest))
            elif not rest and says("negation", echoed) and not says("affirmed", echoed):  # an echo: 散歩？しないよ
                found.append(_Place(at, True, echoed, text[at : end.end() + 8]))
            continue
        clause, *further = PATTERNS["clause end"].split(rest, maxsplit=1)
        denial = "denial denied" if says("negation", normalised(alias)) else "negation"
        denied = says(denial, clause) or says("denied before", before)
        negated = denied and not says("affirmed", clause) and not any(says("liked", text) for text in further)
        contrast = bool(PATTERNS["contrast"].match(rest[len(clause) :]))
        found.append(_Place(at, negated, clause, text[at : behind + len(clause)], contrast))
    return found


def judge(answer: str, fact: Fact) -> FactVerdict:
    """Whether an answer supports a fact, contradicts it, or leaves it out, by the rules of this module."""
    if says("says AI", answer):
        return FactVerdict()
    text, description = normalised(answer), normalised(fact.ja)
    others = [
        place
        for value in fact.contradicted_by
        for place in _places(text, value)
        if not place.negated and (not place.said.startswith("は") or says("liked", place.said))
    ]
    denials, last = [], max((other.at for other in others), default=0)
    for alias in fact.aliases:
        negative = any(place.negated for place in _places(description, alias))
        for place in _places(text, alias):
            if place.contrast and place.at < last:
                instead = next(other for other in others if other.at > place.at)
                return FactVerdict(verdict="contradicted", evidence=instead.words, by="value")
            if (not place.negated and says("liked", place.said)) if negative else place.negated:
                denials.append(place)
            else:
                return FactVerdict(verdict="supported", evidence=place.words, by="alias")
    if denials:
        return FactVerdict(verdict="contradicted", evidence=denials[0].words, by="negation")
    return FactVerdict(verdict="contradicted", evidence=others[0].words, by="value") if others else FactVerdict()
