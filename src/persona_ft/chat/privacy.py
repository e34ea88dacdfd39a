"""Find what is private in a text and put a stand-in in its place, the same one each time. What each kind looks like is
a table (``detectors.yaml``), with the checks below that a pattern cannot make. Names are those that the user lists and
the speakers of the chat; one that nobody listed is offered if it looks like one (:mod:`persona_ft.chat.likely`). How
much is found and how much is taken by mistake: ``python benchmarks/privacy.py``."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any, Literal

from persona_ft.chat import likely
from persona_ft.chat.patterns import Patterns, joined
from persona_ft.errors import PersonaError
from persona_ft.io import packaged
from persona_ft.language import JAPANESE

Decision = Literal["keep", "replace", "drop"]
# Found (start, end) in a text that ``plain`` has been through.
Span = tuple[int, int]
# Words that tell one number from another.
WORDS = Patterns("private")
REGIONS = ("JP", "US", "GB")
LETTERS = "use two letters, such as JP or US"
# The same number is the same, with spaces or hyphens or without.
WRITTEN_IN_MANY_WAYS = ("phone", "card", "bank account", "My Number", "postal code")
# Full-width letters, spaces and dashes, one character for one: places in the plain text are places in the original.
PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
PLAIN |= {0x3000: " ", 0xA0: " "} | dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
# Characters before a match in which a word may say what it is.
NEAR, NEARER = 30, 16


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
    """Finds and replaces. One object for a whole data set, so that a person has one stand-in throughout. ``names``: to
    take out, as they are written. ``regions``: countries of telephone numbers written without one, your own first."""

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
        parts_in = re.compile(packaged("chat/names")["parts"]).findall
        written = {name: {name, "".join(name.split()), *parts_in(name)} for name in self.names}
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
        for kind, (start, end) in chain(findings(text, self.regions), names, unlisted):
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
            words = "".join(c for c in plain(words) if c.isalnum())
        known = self.stand_ins.setdefault(kind, {})
        if words not in known:
            known[words] = packaged("chat/stand_ins")[kind].format(n=len(known) + 1, letters=_letters(len(known) + 1))
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
    """Where a name stands in a text, as a regular expression, by the form of the name (``names.yaml``)."""
    told = packaged("chat/names")
    stands = next(row["stands"] for row in told["rows"] if re.fullmatch(joined(row["form"], {}), name))
    return joined(stands, {"NAME": re.escape(name), "TITLE": joined(told["title"], {})})


def _letters(n: int) -> str:
    """A, B, … Z, AA, AB, …"""
    before, last = divmod(n - 1, 26)
    return (_letters(before) if before else "") + chr(65 + last)


@cache
def detectors() -> list[dict[str, Any]]:
    """The table, compiled; the file says what each column means."""
    plain_columns = ("kind", "valid", "spans")
    rows = packaged("chat/detectors")
    return [{c: v if c in plain_columns else WORDS.compiled(v) for c, v in row.items()} for row in rows]


def _found(row: dict[str, Any], text: str, regions: Sequence[str]) -> Iterator[Span]:
    """Where a row of the table finds something in a plain text."""
    for n, match in enumerate(row["pattern"].finditer(text)):
        if n == 0 and "context" in row and not row["context"].search(text):
            return
        # Of a match with a named group the group is what was found.
        named = match.lastgroup if match.lastgroup and match[match.lastgroup] else 0
        (start, end), before = match.span(named), text[max(0, match.start() - NEAR) : match.start()]
        if not (
            ("after" in row and not row["after"].search(before))
            or ("not_after" in row and row["not_after"].search(before[-NEARER:]))
            or ("has" in row and not row["has"].search(text[start:end]))
            or ("unless" in row and row["unless"].fullmatch(text[start:end]))
            or ("valid" in row and not VALID[row["valid"]](match))
        ):
            yield from SPANS[row["spans"]](match, regions) if "spans" in row else ((start, end),)


def findings(text: str, regions: Sequence[str]) -> Iterator[tuple[str, Span]]:
    """(kind, span) for all that any detector finds, in the order of the table; they may overlap."""
    text = plain(text)
    if not WORDS.ANYTHING.search(text):
        return
    met: dict[re.Pattern[str], bool] = {}
    for row in detectors():
        if row["needs"] not in met:
            met[row["needs"]] = row["needs"].search(text) is not None
        if met[row["needs"]]:
            yield from ((row["kind"], span) for span in _found(row, text, regions))


def plain(text: str) -> str:
    """The text with full-width letters, spaces and every kind of dash made plain; as long as before."""
    return WORDS.LONG_VOWEL.sub("-", text.translate(PLAIN))


def account_name(match: re.Match[str]) -> bool:
    """Whether what follows the word for an account is no plain word, and no number of something else."""
    name = match["name"]
    number = match[0].lower().startswith("id") and not re.search("[A-Za-z]", name)
    return not number and (match["mark"] in (":", "=") or re.search(r"[\d_]|\w[.:-]\w", name) is not None)


def ip_address(match: re.Match[str]) -> bool:
    """Whether its parts are in range."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(match.group()))
    return False


def card(match: re.Match[str]) -> bool:
    """Whether a number is as long as a card's, begins as one and has its check digit (Luhn)."""
    from stdnum import luhn

    digits = re.sub(r"\D", "", match.group())
    return not match["plus"] and 14 <= len(digits) <= 19 and luhn.is_valid(digits) and digits[0] in "23456"


def my_number(match: re.Match[str]) -> bool:
    """Whether a number has My Number's check digit. With a plus it is a telephone's with its country."""
    from stdnum.jp import in_

    digits = re.sub(r"\D", "", match.group())
    if match["plus"] or len(digits) != 12 or not in_.is_valid(digits):
        return False
    grouped = re.fullmatch(r"\d{4}([ -])\d{4}\1\d{4}", match.group())
    return digits[0] != "0" or bool(grouped or WORDS.MY_NUMBER_WORD.search(match.string))


def possible_phone(match: re.Match[str]) -> bool:
    """Whether somebody might have this number."""
    import phonenumbers

    with suppress(phonenumbers.NumberParseException):
        return phonenumbers.is_possible_number(phonenumbers.parse(match.group(), "GB"))
    return False


VALID = {check.__name__: check for check in (account_name, ip_address, card, my_number, possible_phone)}


def password(match: re.Match[str], _: Sequence[str]) -> Iterable[Span]:
    """What follows the word for a password, if it can be one."""
    value, mark, quote = match["value"], match["mark"].strip(), match["open"]
    if quote:
        value = value.partition(quote)[0]
    value = value.rstrip(".,;:!?)'\"`" if value[-1:] in ".,;:)'\"`" else "")
    assigned = mark in (":", "=")
    if len(value) < 4 or WORDS.PLACEHOLDER.match(value) or value.startswith(("http", "//")):
        return ()
    if not value.isascii() and not ((assigned or quote) and re.search(r"\d", value)):
        return ()
    odd: object = re.search(r"\d|[^\w.,'-]|[a-z][A-Z]", value)
    if not mark:  # a space alone: "password again" is none
        odd = quote or re.search(r"\d", value) or re.search(r"[^\w?!]", value[:-1])
    is_one = odd or assigned or mark in ("は", "→")
    return [(match.start("value"), match.start("value") + len(value))] if is_one else ()


def iban(match: re.Match[str], _: Sequence[str]) -> Iterable[Span]:
    """The longest beginning that checks: what follows may be taken for its last group."""
    from stdnum.iban import is_valid

    pieces = match.group().split(" ")
    beginnings = (" ".join(pieces[:n]) for n in range(len(pieces), 0, -1))
    found = next((b for b in beginnings if is_valid(b.upper(), check_country=False)), "")
    return [(match.start(), match.start() + len(found))] if found else ()


def phones(match: re.Match[str], regions: Sequence[str]) -> Iterator[Span]:
    """Telephone numbers that are possible in one of the regions. Without a country code, those of the other regions are
    taken where no Japanese is, and ten digits in a row only where telephones are spoken of: parcels have such too."""
    import phonenumbers

    # The library wants a space before a number.
    text = WORDS.WORD_BEFORE_PHONE.sub(lambda word: " " * len(word.group()), match.string)
    japanese, told = JAPANESE.search(text), WORDS.PHONE_WORD.search(text)
    for n, region in enumerate(regions):
        # Elsewhere than at home a number is one if it is also grouped as one.
        how = phonenumbers.Leniency.STRICT_GROUPING if n else phonenumbers.Leniency.VALID
        for number in phonenumbers.PhoneNumberMatcher(text, region, how):
            before = text[max(0, number.start - NEARER) : number.start]
            foreign = n and not number.raw_string.startswith("+")
            if foreign and (japanese or (number.raw_string.isdigit() and not told)):
                continue
            if not WORDS.BEFORE_NO_PHONE.search(before):
                yield number.start, number.end


SPANS = {check.__name__: check for check in (password, iban, phones)}
