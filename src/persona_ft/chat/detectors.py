"""What private data looks like: a table of detectors (``detectors.yaml``), and the checks that a pattern cannot make.

Numbers are checked, not only matched: telephone numbers with ``phonenumbers`` (Google's libphonenumber), cards with
Luhn, My Number and IBAN with ``python-stdnum``, IP addresses with ``ipaddress``. How much is found and how much is
taken by mistake is measured on labelled sentences: ``python benchmarks/privacy.py``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from persona_ft.chat.patterns import patterns, read_yaml
from persona_ft.language import JAPANESE

# Found (start, end) in a text that ``plain`` has been through.
Span = tuple[int, int]

# Words that tell one number from another.
WORDS = patterns("private")
# One character for one, so that places in the plain text are places in the original.
PLAIN = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFF5F)}
PLAIN |= {0x3000: " ", 0xA0: " "} | dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
# The long-vowel mark ー is a dash between digits, and a letter elsewhere.
LONG_VOWEL = re.compile(r"(?<=\d)ー(?=\d)")
# What no text with anything private is without.
ANYTHING = re.compile(r"[\dA-Za-z@/:#]|パス|暗証番号|合言葉")
BEFORE_NO_PHONE = frozenset("¥$€£#v._/=&")
# Characters before a match in which a word may say what it is.
NEAR, NEARER = 30, 16


@dataclass(frozen=True)
class Detector:
    """One row of the table; the file says what each column means."""

    kind: str
    pattern: re.Pattern[str]
    needs: re.Pattern[str]
    context: re.Pattern[str] | None = None
    after: re.Pattern[str] | None = None
    not_after: re.Pattern[str] | None = None
    has: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    valid: str = ""
    spans: str = ""

    def find(self, text: str, regions: Sequence[str]) -> Iterator[Span]:
        """Where it is found in a plain text."""
        for n, match in enumerate(self.pattern.finditer(text)):
            if n == 0 and self.context and not self.context.search(text):
                return
            span, before = span_of(match), text[max(0, match.start() - NEAR) : match.start()]
            found = text[slice(*span)]
            if (
                (self.after and not self.after.search(before))
                or (self.not_after and self.not_after.search(before[-NEARER:]))
                or (self.has and not self.has.search(found))
                or (self.unless and self.unless.fullmatch(found))
                or (self.valid and not VALID[self.valid](match))
            ):
                continue
            yield from SPANS[self.spans](match, regions) if self.spans else (span,)


@cache
def detectors() -> tuple[Detector, ...]:
    """The table, compiled."""
    plain_columns = ("kind", "valid", "spans")
    rows = read_yaml("detectors")
    return tuple(Detector(**{c: v if c in plain_columns else WORDS.compiled(v) for c, v in r.items()}) for r in rows)


def findings(text: str, regions: Sequence[str]) -> Iterator[tuple[str, Span]]:
    """(kind, span) for all that any detector finds, in the order of the table; they may overlap."""
    text = plain(text)
    if not ANYTHING.search(text):
        return
    met: dict[re.Pattern[str], bool] = {}
    for detector in detectors():
        if detector.needs not in met:
            met[detector.needs] = detector.needs.search(text) is not None
        if met[detector.needs]:
            yield from ((detector.kind, span) for span in detector.find(text, regions))


def plain(text: str) -> str:
    """The text with full-width letters, spaces and every kind of dash made plain; as long as before."""
    return LONG_VOWEL.sub("-", text.translate(PLAIN))


def span_of(match: re.Match[str]) -> Span:
    """Where a pattern matches; of a match with a named group the group."""
    return match.span(match.lastgroup if match.lastgroup and match.group(match.lastgroup) else 0)


# Whether a match is what it looks like -------------------------------------------------------------------------------


def _account_name(match: re.Match[str]) -> bool:
    name = match["name"]
    number = match[0].lower().startswith("id") and not re.search("[A-Za-z]", name)
    return not number and (match["mark"] in (":", "=") or re.search(r"[\d_]|\w[.:-]\w", name) is not None)


def _ip_address(match: re.Match[str]) -> bool:
    try:
        return bool(ipaddress.ip_address(match.group()))
    except ValueError:
        return False


def _card(match: re.Match[str]) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", match.group())
    return not match["plus"] and 14 <= len(digits) <= 19 and luhn.is_valid(digits) and digits[0] in "23456"


def _my_number(match: re.Match[str]) -> bool:
    from stdnum.jp import in_ as my_number

    digits = re.sub(r"\D", "", match.group())
    if match["plus"] or len(digits) != 12 or not my_number.is_valid(digits):  # a plus: a telephone with its country
        return False
    grouped = re.fullmatch(r"\d{4}([ -])\d{4}\1\d{4}", match.group())
    return digits[0] != "0" or bool(grouped or WORDS.MY_NUMBER_WORD.search(match.string))


def _possible_phone(match: re.Match[str]) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(match.group(), "GB"))
    except phonenumbers.NumberParseException:
        return False


VALID = {
    "account_name": _account_name,
    "ip_address": _ip_address,
    "card": _card,
    "my_number": _my_number,
    "possible_phone": _possible_phone,
}

# What of a match it is ------------------------------------------------------------------------------------------------


def _password(match: re.Match[str], _: Sequence[str]) -> Iterable[Span]:
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


def _iban(match: re.Match[str], _: Sequence[str]) -> Iterable[Span]:
    from stdnum import iban

    # What follows may be taken for its last group: the longest beginning that checks is it.
    pieces = match.group().split(" ")
    beginnings = (" ".join(pieces[:n]) for n in range(len(pieces), 0, -1))
    valid = (b for b in beginnings if iban.is_valid(b.upper(), check_country=False))
    return [(match.start(), match.start() + len(found)) for found in [*valid][:1]]


def _phones(match: re.Match[str], regions: Sequence[str]) -> Iterator[Span]:
    """Telephone numbers that are possible in one of the regions.

    Without a country code, numbers of the other regions are taken where no Japanese is, and ten digits in a row only
    where telephones are spoken of: parcels and orders have such numbers too.
    """
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
            # An order's, a part's or the like.
            if before[-1:] not in BEFORE_NO_PHONE and not WORDS.NOT_PHONE.search(before):
                yield number.start, number.end


SPANS = {"password": _password, "iban": _iban, "phones": _phones}
