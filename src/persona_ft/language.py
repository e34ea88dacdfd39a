"""How Japanese and English are recognised: polite forms, laughter, the letters of each."""

import re
import unicodedata

POLITE = re.compile(
    r"です|ます|ました|ません|でした|ください|ございます|でしょう|いたし|\b(?:please|thank you|would you)\b", re.I
)
LAUGHTER = re.compile(r"(?<![A-Za-z])[wｗ]+(?![A-Za-z])|[(（]?笑[)）]?|\b(?:lol|haha\w*)\b", re.I)
JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々〆]")
LANGUAGES = {"ja": JAPANESE, "en": re.compile(r"[A-Za-z]")}


def script_share(text: str, language: str) -> float | None:
    """The share of a text's letters that a language writes, which a few words show; None where it has no letter."""
    letters = sum(c.isalpha() or c == "々" for c in text)
    return min(1.0, len(LANGUAGES[language].findall(text)) / letters) if letters else None


def columns_of(text: str) -> int:
    """The width of a text in half-width characters; a Japanese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WFA" else 1 for c in text)
