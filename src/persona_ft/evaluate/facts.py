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

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from persona_ft.data.persona import Fact
from persona_ft.evaluate.disclosure import says_ai

Verdict = Literal["supported", "contradicted", "absent"]
STATEMENT_END = re.compile(r"[。．.！!？?…\n]|(?<![a-z0-9])[w]+(?![a-z0-9])|、{2,}")
CLAUSE_END = re.compile(r"けれど|けど|だが|ですが|ますが|のに|から|ので|し、|より|\bbut\b|,|、|でも")
NEGATION = re.compile(
    r"(?:じゃ|では)?な[いくかし](?!と思う|でしょ)|なかった|ません|ないです|ぬ(?:$|。)"
    r"|嫌い|きらい|苦手|無理|むり|だめ|ダメ|やめ[たて]|卒業|飽き[たて]|引っ越[しさ]|違う|ちがう|誤解|嘘|うそ"
    r"|\b(?:not|never|no longer|hate|dislike|neither)\b|n't\b"
)
# What holds a ない and denies nothing: there is nothing else, it must be, without it nothing goes; or, right behind the
# alias, a guess (横浜じゃないかな).
AFFIRMED = re.compile(
    r"しか[^、。]{0,8}な[いく]|しか[^、。]{0,8}ません|に違いない|間違いない|まちがいない|かもしれない|たまらない|欠かせない|じゃない[？?]"
    r"|なくちゃ|なきゃ|なければ|(?:じゃ|では|で)ないと|なし(?:で|じゃ)|以外[^、。]{0,6}(?:な[いくし]|ある)|^(?:なん)?(?:じゃ|では)ないか[なも]"
)
CONTRAST = r"けれど|けど|だが|ですが|のに|より|から引っ越|\bbut\b"
# English denies before the word, and a condition states nothing.
DENIED_BEFORE = re.compile(r"(?:\b(?:not|never|no longer|hate|isn't)\b|n't\b)[^.,!?]{0,25}$")
CONDITION = re.compile(r"^(?:いっ|だっ|あっ|が?でき)?(?:たら|れば)|^なら(?!な)")
# What is said of everybody, or offered.
GENERAL = re.compile(r"多くの|人気があ|一般に|と言われ|と言え|一方で|いかがで|ご紹介|ご提案|場合は|について")
LIKED = re.compile(
    r"好き(?!じゃ|では|な人|とは)|平気|大丈夫|得意|食べられ(?:る|ます)|おいしい|美味しい|\blove\b|\blike\b"
)
OTHERS = re.compile(
    r"(?:友だち|友達|母|父|姉|兄|妹|弟|先輩|後輩|同僚|彼女?|君|きみ|あなた|おまえ|お前|そっち|猫|犬)[^。、]{0,4}[はがもって]+$"
    r"|(?:みんな|世間|他の人)[^。、]{0,5}$"
    r"|\b(?:my (?:friend|mother|father|sister|brother|boss)|you|he|she|they)\b[^.]{0,12}$"
)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one fact in one answer, the words that decided it, and whether they are an alias, a negated alias
    or another value; both are empty when the fact is absent."""

    verdict: Verdict
    evidence: str = ""
    by: Literal["", "alias", "negation", "value"] = ""


def normalised(text: str) -> str:
    """Full-width letters as half-width ones, in lower case."""
    return unicodedata.normalize("NFKC", text).lower()


def _occurrences(text: str, alias: str) -> list[re.Match[str]]:
    """Where an alias stands in a normalised text.

    One that begins or ends with an ASCII letter or digit must stand alone there: 11月 does not say 1月, nor Google Go.
    """
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
    found = []
    for place in _occurrences(text, alias):
        starts = [match.end() for match in STATEMENT_END.finditer(text) if match.end() <= place.start()]
        start = starts[-1] if starts else 0
        end = STATEMENT_END.search(text, place.end())
        stop = end.start() if end else len(text)
        rest = text[place.end() : stop]
        if OTHERS.search(text[start : place.start()]) or CONDITION.search(rest) or GENERAL.search(rest):
            continue
        if end and end.group()[0] in "?？":
            if not rest:  # an echo of the question: what comes next decides (散歩？しないよ)
                after = text[end.end() : end.end() + 8]
                if NEGATION.search(after) and not AFFIRMED.search(after):
                    found.append(_Place(place.start(), True, after, text[place.start() : end.end() + 8]))
                continue
            if not re.search(r"(?:じゃない|でしょ|よね|じゃん|以外ある|以外ない)$", rest):
                continue
            found.append(_Place(place.start(), False, rest, text[place.start() : stop]))
            continue
        clause_end = CLAUSE_END.search(rest)
        clause = rest[: clause_end.start()] if clause_end else rest
        liked_after = bool(clause_end) and bool(LIKED.search(rest[clause_end.end() :]))
        # An alias that is a denial itself (虫は無理) is denied by what follows it at once, not by a later ない.
        denial = (
            re.search(r"^(?:な|だ)?(?:わけ)?(?:じゃ|では)ない", clause)
            if NEGATION.search(normalised(alias))
            else NEGATION.search(clause)
        )
        denied = bool(denial) or bool(DENIED_BEFORE.search(text[start : place.start()]))
        negated = denied and not AFFIRMED.search(clause) and not liked_after
        contrast = bool(clause_end) and bool(re.match(CONTRAST, rest[clause_end.start() :]))
        words = text[place.start() : place.end() + len(clause)]
        found.append(_Place(place.start(), negated, clause, words, contrast))
    return found


def _is_denied(place: _Place, negative: bool) -> bool:
    """Whether what is said there denies the fact; a negative one (cannot eat coriander) is denied by liking it."""
    return bool(LIKED.search(place.said)) and not place.negated if negative else place.negated


def judge(answer: str, fact: Fact) -> Judgement:
    """Whether an answer supports a fact, contradicts it, or leaves it out, by the rules of this module."""
    if says_ai(answer):
        return Judgement("absent")
    text, description = normalised(answer), normalised(fact.ja)
    others = [
        place
        for value in fact.contradicted_by
        for place in _places(text, value)
        if not place.negated and (not place.said.startswith("は") or LIKED.search(place.said))
    ]
    denied = None
    for alias in fact.aliases:
        negative = any(place.negated for place in _places(description, alias))
        for place in _places(text, alias):
            instead = next((o for o in others if place.contrast and o.at > place.at), None)
            if instead:
                return Judgement("contradicted", instead.words, "value")
            if not _is_denied(place, negative):
                return Judgement("supported", place.words, "alias")
            denied = denied or place
    if denied:
        return Judgement("contradicted", denied.words, "negation")
    return Judgement("contradicted", others[0].words, "value") if others else Judgement("absent")
