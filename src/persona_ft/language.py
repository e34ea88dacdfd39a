"""How Japanese and English are recognised: polite forms, laughter, Japanese letters."""

from __future__ import annotations

import re

POLITE = re.compile(
    r"です|ます|ました|ません|でした|ください|ございます|でしょう|いたし|\b(?:please|thank you|would you)\b", re.I
)
LAUGHTER = re.compile(r"(?<![A-Za-z])[wｗ]+(?![A-Za-z])|[(（]?笑[)）]?|\b(?:lol|haha\w*)\b", re.I)
JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々〆]")
