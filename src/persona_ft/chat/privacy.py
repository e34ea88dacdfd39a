"""Find what is private in a text and put a stand-in in its place, the same one each time.

Numbers are checked, not only matched: telephone numbers with ``phonenumbers`` (Google's libphonenumber), cards with
Luhn, My Number and IBAN with ``python-stdnum``. Names are those that the user lists and the speakers of the chat: one
that nobody listed is not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from persona_ft.errors import PersonaError

HONORIFICS = "さん|ちゃん|くん|君|さま|様|先生|先輩|部長|課長|社長|店長|氏|っち|たん"
# A display name's words: 山田 太郎🐱 is also called 山田 and 太郎.
NAME_PARTS = re.compile(r"[A-Za-zÀ-ÿ]{2,}|[一-龥々]+|[ぁ-んー]{2,}|[ァ-ヶー]{2,}")
WORDS = {
    "may",
    "will",
    "mark",
    "rose",
    "grace",
    "hope",
    "joy",
    "bill",
    "art",
    "june",
    "april",
    "august",
    "faith",
    "dawn",
}
PREFECTURES = (
    "北海道|青森県|岩手県|宮城県|秋田県|山形県|福島県|茨城県|栃木県|群馬県|埼玉県|千葉県|東京都|神奈川県|新潟県|富山県|石川県|福井県"
    "|山梨県|長野県|岐阜県|静岡県|愛知県|三重県|滋賀県|京都府|大阪府|兵庫県|奈良県|和歌山県|鳥取県|島根県|岡山県|広島県|山口県|徳島県"
    "|香川県|愛媛県|高知県|福岡県|佐賀県|長崎県|熊本県|大分県|宮崎県|鹿児島県|沖縄県"
)
NUMBER = r"[0-9０-９〇一二三四五六七八九十]+"
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+[@＠][\w-]+(?:\.[\w-]+)+", re.A)
URL = re.compile(
    r"(?:https?|ftp)://[^\s<>「」『』（）、。]+|(?<![\w@.])www\.[\w.-]+\.[a-z]{2,}[^\s<>「」『』（）、。]*"
    r"|(?<![\w@./])(?:[a-z0-9-]+\.)+(?:com|net|org|jp|me|be|io|co|ly|gg|tv|dev|app)/[^\s<>「」『』（）、。]+",
    re.I | re.A,
)
IP = re.compile(r"(?<![\d.v])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
IPV6 = re.compile(
    r"(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}:[0-9a-f]{1,4}(?![\w:])",
    re.I,
)
HANDLE = re.compile(r"(?<![\w@＠./])[@＠][A-Za-z0-9_][A-Za-z0-9_.]{2,29}\b", re.A)
SECRET = re.compile(
    r"(?<![\w-])(?:sk-[\w-]{20,}|sk_(?:live|test)_\w{16,}|gh[pousr]_\w{30,}|github_pat_\w{40,}|hf_\w{30,}|xox[abprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|glpat-[\w-]{20,})"
)
PASSWORD = re.compile(
    r"(?:パスワード|暗証番号|パス|PW|password|passwd|pin)\s*(?:は|が|:|：|=|is|\s)\s*[「\"']?([^\s、。「」\"']{4,}?)"
    r"(?=だよ|です|だ(?:から)?(?:$|[。、])|[\s、。」\"']|$)",
    re.I,
)
ACCOUNT_NAME = re.compile(
    r"(?:(?:LINE|ライン|インスタ|Discord|Skype)の?\s?(?:ID|アカウント))\s*(?:は|:|：|is)\s*([A-Za-z0-9_.-]{4,})", re.I
)
POSTAL = re.compile(
    r"〒\s?[0-9０-９]{3}[-ー−‐]?[0-9０-９]{4}|(?:郵便番号は?[:：]?\s?)[0-9０-９]{3}[-ー−‐]?[0-9０-９]{4}"
)
ADDRESS = re.compile(
    rf"(?:{PREFECTURES})?[一-龥ぁ-んァ-ヶ]{{1,6}}?[市区郡][一-龥ぁ-んァ-ヶ]{{0,8}}?(?:[町村区])?[一-龥ぁ-んァ-ヶ]{{0,8}}?{NUMBER}(?:丁目|番地|番(?=[0-9０-９])|[-ー−‐](?=[0-9０-９]))[0-9０-９番号丁目地ー−‐-]*"
)
ADDRESS_EN = re.compile(
    r"\b\d{1,5}\s(?:[A-Z][a-z]+\s){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct)\b\.?"
)
DIGITS = re.compile(r"(?<![\d.,¥$€£#vV])(?:\d[ -]?){11,18}\d(?![\d.,]\d|\d|円|年|件|枚|個|%)")
ACCOUNT = re.compile(
    r"(?:口座(?:番号)?|普通(?:預金)?|当座|account(?: no\.?| number)?)\s*(?:は|が|:|：|#)?\s*(\d{7,8})(?!\d)", re.I
)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){3,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
BARE_POSTAL = re.compile(rf"(?<![\d-])\d{{3}}-\d{{4}}(?=\s*(?:{PREFECTURES}))")
PHONE_CANDIDATE = re.compile(r"(?<![\d.,])[+(0]?\d(?:[\d\s()ー−‐-]{6,})\d")
HAS_NUMBER = re.compile(r"\d.*\d.*\d.*\d.*\d.*\d", re.S)
WIDE = {ord(c): unicodedata.normalize("NFKC", c) for c in "０１２３４５６７８９＋－（）"}


@dataclass(frozen=True)
class Finding:
    """Something private: what kind, where in the text (start, end), and the words."""

    kind: str
    start: int
    end: int
    text: str


@dataclass
class Privacy:
    """Finds and replaces. One object for a whole data set, so that a person has one stand-in throughout.

    Parameters
    ----------
    names : names to take out, as they are written; each also with an honorific behind it.
    region : for telephone numbers written without a country.
    """

    names: Iterable[str] = ()
    region: str = "JP"
    counts: Counter[str] = field(default_factory=Counter)
    stand_ins: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {part for name in self.names for part in (name.strip(), *NAME_PARTS.findall(name))}
        parts = [name_pattern(name) for name in sorted(given, key=len, reverse=True) if name]
        self._names = re.compile("|".join(parts)) if parts else None

    def find(self, text: str) -> list[Finding]:
        """What is private in a text, in order, without overlaps; of two that overlap the first kind listed wins."""
        found: list[Finding] = []
        taken = bytearray(len(text))

        def add(kind: str, start: int, end: int) -> None:
            if end > start and not any(taken[start:end]):
                taken[start:end] = b"\x01" * (end - start)
                found.append(Finding(kind, start, end, text[start:end]))

        plain = text.translate(WIDE)
        if "@" in text or "＠" in text:
            _all(EMAIL, plain, "e-mail", add)
        if "/" in text or "www." in text:
            _all(URL, text, "link", add)
        if "-" in text or "_" in text or "AKIA" in text or "AIza" in text or "eyJ" in text:
            _all(SECRET, text, "key", add)
        for pattern, kind in ((PASSWORD, "password"), (ACCOUNT_NAME, "handle")):
            for match in pattern.finditer(text):
                add(kind, *match.span(1))
        if HAS_NUMBER.search(plain):
            self._numbers(plain, add)
        elif any(c.isdigit() for c in plain):
            _all(ADDRESS, text, "address", add)
            _all(ADDRESS_EN, text, "address", add)
        if ":" in text:
            _all(IPV6, text, "IP address", add)
        if "@" in text or "＠" in text:
            _all(HANDLE, text, "handle", add)
        if self._names:
            for match in self._names.finditer(text):
                add("name", *match.span())
        return sorted(found, key=lambda finding: finding.start)

    def _numbers(self, text: str, add: Callable[[str, int, int], None]) -> None:
        _all(POSTAL, text, "postal code", add)
        _all(BARE_POSTAL, text, "postal code", add)
        _all(ADDRESS, text, "address", add)
        _all(ADDRESS_EN, text, "address", add)
        _all(IP, text, "IP address", add)
        for match in IBAN.finditer(text):
            from stdnum import iban

            if iban.is_valid(match.group()):
                add("bank account", *match.span())
        for match in ACCOUNT.finditer(text):
            add("bank account", *match.span(1))
        for match in DIGITS.finditer(text):
            from stdnum import luhn
            from stdnum.jp import in_ as my_number

            digits = re.sub(r"\D", "", match.group())
            if 13 <= len(digits) <= 19 and luhn.is_valid(digits) and digits[0] in "3456":
                add("card", *match.span())
            elif len(digits) == 12 and digits[0] != "0" and my_number.is_valid(digits):
                add("My Number", *match.span())
        if PHONE_CANDIDATE.search(text):
            import phonenumbers

            for match in phonenumbers.PhoneNumberMatcher(text, self.region):
                before = text[match.start - 1 : match.start]
                if before not in ("¥", "$", "€", "£", "#", "v", "."):
                    add("phone", match.start, match.end)

    def stand_in(self, finding: Finding) -> str:
        """What stands in a finding's place: made up, plainly so, and the same for the same words."""
        key = (finding.kind, finding.text.casefold())
        if key not in self.stand_ins:
            n = sum(kind == finding.kind for kind, _ in self.stand_ins) + 1
            self.stand_ins[key] = STAND_INS[finding.kind](n)
        return self.stand_ins[key]

    def clean(self, text: str, keep: Iterable[str] = ()) -> str:
        """The text with stand-ins. ``keep``: kinds that are left as they are. Counts what was replaced."""
        kept, pieces, at = set(keep), [], 0
        for finding in self.find(text):
            if finding.kind in kept:
                continue
            self.counts[finding.kind] += 1
            pieces += [text[at : finding.start], self.stand_in(finding)]
            at = finding.end
        return "".join([*pieces, text[at:]]) if pieces else text

    def review(self, texts: Iterable[str], context: int = 8) -> Iterator[dict[str, str]]:
        """Each finding with what it would become and a little of what stands around it, for the user's eyes alone."""
        for text in texts:
            for f in self.find(text):
                around = f"{text[max(0, f.start - context) : f.start]}【{f.text}】{text[f.end : f.end + context]}"
                yield {"kind": f.kind, "in context": around, "becomes": self.stand_in(f)}


def name_pattern(name: str) -> str:
    """Where a name stands in a text, as a regular expression.

    A kanji alone is a name with an honorific behind it; a name in kana ends where its kana end, at an honorific or,
    from three kana on, at a particle: さき is not in さきに行く. Latin letters are taken in any case, but a name that
    is an English word (May) only with its capital, and not where a sentence begins.
    """
    word, honorific = re.escape(name), f"(?={HONORIFICS})"
    if name.isascii():
        if name.lower() in WORDS:
            return rf"(?<=[a-z,;] ){word}(?![A-Za-z0-9])"
        return rf"(?<![A-Za-z0-9])(?i:{word})(?![A-Za-z0-9])"
    if len(name) == 1:
        return word + honorific
    kana = r"ぁ-んー" if re.fullmatch("[ぁ-んー]+", name) else r"ァ-ヶー" if re.fullmatch("[ァ-ヶー]+", name) else ""
    if not kana:
        return word
    particle = "|[はがもとのをにへや、]" if len(name) > 2 else ""
    return rf"{word}{honorific}|(?<![{kana}]){word}(?=[^{kana}]|${particle})"


def _letters(n: int) -> str:
    """A, B, … Z, AA, AB, …"""
    text = ""
    while n:
        n, rest = divmod(n - 1, 26)
        text = chr(65 + rest) + text
    return text


STAND_INS: dict[str, Callable[[int], str]] = {
    "e-mail": lambda n: f"mail{n}@example.com",
    "link": lambda n: f"https://example.com/{n}",
    "key": lambda n: f"KEY{n}",
    "password": lambda n: f"PASSWORD{n}",
    "postal code": lambda n: f"〒000-{n:04d}",
    "address": lambda n: f"○○市{n}丁目",
    "IP address": lambda n: f"192.0.2.{n % 254 + 1}",
    "bank account": lambda n: f"ACCOUNT{n}",
    "card": lambda n: f"CARD{n}",
    "My Number": lambda n: f"MYNUMBER{n}",
    "phone": lambda n: f"000-0000-{n:04d}",
    "handle": lambda n: f"@user{n}",
    "name": _letters,
}


def _all(pattern: re.Pattern[str], text: str, kind: str, add: Callable[[str, int, int], None]) -> None:
    for match in pattern.finditer(text):
        add(kind, *match.span())


def kinds(names: Iterable[str]) -> list[str]:
    """Kinds of private data by their names.

    Raises
    ------
    PersonaError
        One is none of them.
    """
    wanted = list(names)
    for name in wanted:
        if name not in STAND_INS:
            raise PersonaError(f"{name!r} is no kind of private data", f"use some of {', '.join(STAND_INS)}")
    return wanted
