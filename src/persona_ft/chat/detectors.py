"""What private data looks like: a table of detectors (``detectors.yaml``), and the checks that a pattern cannot make.

How much is found and how much is taken by mistake is measured on labelled sentences: ``python benchmarks/privacy.py``.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

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


@cache
def detectors() -> list[dict[str, Any]]:
    """The table, compiled; the file says what each column means."""
    plain_columns = ("kind", "valid", "spans")
    rows = read_yaml("detectors")
    return [{c: v if c in plain_columns else WORDS.compiled(v) for c, v in row.items()} for row in rows]


def _found(row: dict[str, Any], text: str, regions: Sequence[str]) -> Iterator[Span]:
    """Where a row of the table finds something in a plain text."""
    for n, match in enumerate(row["pattern"].finditer(text)):
        if n == 0 and "context" in row and not row["context"].search(text):
            return
        (start, end), before = span_of(match), text[max(0, match.start() - NEAR) : match.start()]
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
    if not ANYTHING.search(text):
        return
    met: dict[re.Pattern[str], bool] = {}
    for row in detectors():
        if row["needs"] not in met:
            met[row["needs"]] = row["needs"].search(text) is not None
        if met[row["needs"]]:
            yield from ((row["kind"], span) for span in _found(row, text, regions))


def plain(text: str) -> str:
    """The text with full-width letters, spaces and every kind of dash made plain; as long as before."""
    return LONG_VOWEL.sub("-", text.translate(PLAIN))


def span_of(match: re.Match[str]) -> Span:
    """Where a pattern matches; of a match with a named group the group."""
    return match.span(match.lastgroup if match.lastgroup and match.group(match.lastgroup) else 0)


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
    valid = (b for b in beginnings if is_valid(b.upper(), check_country=False))
    return [(match.start(), match.start() + len(found)) for found in [*valid][:1]]


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
            # An order's, a part's or the like.
            if before[-1:] not in BEFORE_NO_PHONE and not WORDS.NOT_PHONE.search(before):
                yield number.start, number.end


SPANS = {check.__name__: check for check in (password, iban, phones)}
