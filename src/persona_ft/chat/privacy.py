"""Find what is private in a text and put a stand-in in its place, the same one each time.

What each kind looks like is in :mod:`persona_ft.chat.detectors`. Names are those that the user lists and the speakers
of the chat; one that nobody listed is offered if it looks like one (:mod:`persona_ft.chat.likely`).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from persona_ft.chat import detectors, likely
from persona_ft.chat.patterns import read_yaml
from persona_ft.errors import PersonaError

Decision = Literal["keep", "replace", "drop"]
HONORIFICS = "さん|ちゃん|くん|君|さま|様|先生|先輩|部長|課長|社長|店長|氏|っち|たん"
# A display name's words: 山田 太郎🐱 is also called 山田 and 太郎.
NAME_PARTS = re.compile(r"[A-Za-zÀ-ÿ]{2,}|[一-龥々]+|[ぁ-んー]{2,}|[ァ-ヶー]{2,}")
REGIONS = ("JP", "US", "GB")
LETTERS = "use two letters, such as JP or US"
# The same number is the same, with spaces or hyphens or without.
WRITTEN_IN_MANY_WAYS = ("phone", "card", "bank account", "My Number", "postal code")


@dataclass(frozen=True)
class Finding:
    """Something private: what kind, where in the text (start, end), and the words."""

    kind: str
    start: int
    end: int
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What is chosen for it holds for the same words of the same kind, in any case."""
        return self.kind, self.text.casefold()


@dataclass
class Privacy:
    """Finds and replaces. One object for a whole data set, so that a person has one stand-in throughout.

    ``names``: to take out, as they are written. ``regions``: countries of telephone numbers written without one, the
    user's own first.
    """

    names: Iterable[str] = ()
    regions: Iterable[str] = REGIONS
    counts: Counter[str] = field(default_factory=Counter)
    # What was chosen for single findings, by kind and words: what is not in here is replaced.
    decisions: dict[tuple[str, str], Decision] = field(default_factory=dict)
    stand_ins: dict[str, dict[str, str]] = field(default_factory=dict)  # by kind

    def __post_init__(self) -> None:
        from phonenumbers import SUPPORTED_REGIONS

        self.regions = tuple(region.upper() for region in self.regions)
        if not self.regions:
            raise PersonaError("REGIONS is empty: no telephone number would be found", LETTERS)
        for region in sorted(set(self.regions) - SUPPORTED_REGIONS):
            raise PersonaError(f"{region!r} is no country of telephone numbers", LETTERS)
        self.add_names(())

    def add_names(self, names: Iterable[str]) -> None:
        """Take further names out."""
        self.names = [name.strip() for name in (*self.names, *names) if name.strip()]
        written = {name: {name, "".join(name.split()), *NAME_PARTS.findall(name)} for name in self.names}
        owned = [(part, name) for name, parts in written.items() for part in parts]
        # 山田 and 太郎 are 山田 太郎, unless somebody else is called so too.
        owners = Counter(part.casefold() for part, _ in owned)
        self._person = {p.casefold(): name.casefold() for p, name in owned if owners[p.casefold()] == 1}
        longest_first = sorted({part for part, _ in owned}, key=len, reverse=True)
        self._names = re.compile("|".join(map(name_pattern, longest_first)) or "(?!)")

    def find(self, text: str, offered: bool = False) -> list[Finding]:
        """What is private in a text, in order, without overlaps; of two that overlap the first kind looked for wins.
        ``offered``: likely names that nobody listed are among them, which are kept unless the user says otherwise."""
        found, taken = [], bytearray(len(text))
        names = (("name", match.span()) for match in self._names.finditer(text))
        unlisted = ((likely.KIND, span) for span in likely.likely_names(text)) if offered else ()
        for kind, (start, end) in chain(detectors.findings(text, self.regions), names, unlisted):
            # What stands in something found before is left to it, and what goes on into it ends there.
            if (inside := taken.find(1, start, end)) >= 0:
                end = start if kind == likely.KIND else start + len(text[start:inside].rstrip(" ,\n"))
            if any(c.isalnum() for c in text[start:end]):
                taken[start:end] = b"\x01" * (end - start)
                found.append(Finding(kind, start, end, text[start:end]))
        return sorted(found, key=lambda finding: finding.start)

    def decision(self, finding: Finding) -> Decision:
        """What becomes of a finding; drop leaves its pair out."""
        return self.decisions.get(finding.key, "keep" if finding.kind == likely.KIND else "replace")

    def stand_in(self, finding: Finding) -> str:
        """What stands in a finding's place: made up, plainly so, and the same for the same words."""
        kind, words = finding.key
        kind = "name" if kind == likely.KIND else kind
        if kind == "name":
            words = self._person.get(words, words)
        elif kind in WRITTEN_IN_MANY_WAYS:
            words = "".join(c for c in detectors.plain(words) if c.isalnum())
        known = self.stand_ins.setdefault(kind, {})
        if words not in known:
            known[words] = read_yaml("stand_ins")[kind].format(n=len(known) + 1, letters=_letters(len(known) + 1))
        return known[words]

    def clean(self, text: str, keep: Iterable[str] = (), counted: bool = True) -> str:
        """The text with stand-ins. ``keep``: kinds that are left as they are; ``counted``: count what is replaced."""
        kept, pieces, at = set(keep), [], 0
        for finding in self.find(text):
            if finding.kind not in kept and self.decision(finding) != "keep":
                self.counts[finding.kind] += counted
                pieces += [text[at : finding.start], self.stand_in(finding)]
                at = finding.end
        return "".join([*pieces, text[at:]])


def name_pattern(name: str) -> str:
    """Where a name stands in a text, as a regular expression.

    A kanji alone is a name with an honorific behind it and no other kanji before, but for a day's: 小林さん is not 林.
    A name in kana ends where its kana end, at an honorific or, from three kana on, at a particle: さき is not in
    さきに行く. Latin letters are taken in any case, but an English word (May) with its capital alone, and not where a
    sentence begins.
    """
    word, honorific = re.escape(name), f"(?={HONORIFICS})"
    if name.isascii():
        if likely.FORMS.ALSO_WORDS.fullmatch(name):
            return rf"(?<=[a-z,;] ){word}(?![A-Za-z0-9])"
        return rf"(?<![A-Za-z0-9])(?i:{word})(?![A-Za-z0-9])"
    if len(name) == 1:
        return rf"(?:(?<![一-龥々])|(?<=[昨今明毎先当翌]日|[先今来毎]週|今朝|昨夜)){word}{honorific}"
    kana = next((kana for kana in ("ぁ-んー", "ァ-ヶー") if re.fullmatch(f"[{kana}]+", name)), "")
    if not kana:  # 小山田さん is not 山田
        return rf"(?<!(?<![一-龥々])[小大上下東西南北]){word}|{word}(?!{HONORIFICS})"
    particle = "|[はがもとのをにへや、]" if len(name) > 2 else ""
    return rf"{word}{honorific}|(?<![{kana}]){word}(?=[^{kana}]|${particle})"


def _letters(n: int) -> str:
    """A, B, … Z, AA, AB, …"""
    before, last = divmod(n - 1, 26)
    return (_letters(before) if before else "") + chr(65 + last)


def kinds(names: Iterable[str]) -> list[str]:
    """Kinds of private data by their names; one that is none of them is a ``PersonaError``."""
    wanted, known = list(names), read_yaml("stand_ins")
    for name in wanted:
        if name not in known:
            raise PersonaError(f"{name!r} is no kind of private data", f"use some of {', '.join(known)}")
    return wanted
