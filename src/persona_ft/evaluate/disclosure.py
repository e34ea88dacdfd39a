"""Does an answer say that it comes from an AI? Does it refuse? In Japanese and in English, by patterns."""

from __future__ import annotations

import re

AI_DISCLOSURE = re.compile(
    r"(?:私|わたし|僕|俺)は(?:ただの|所詮|ほんとは|実は)?(?:AI|人工知能|言語モデル|ChatGPT)"
    r"(?:アシスタント)?(?:です|だ(?!け)|なの|なん|である|であり|と申し|として|。|！|、|w|$)"
    r"|(?:AI|人工知能)アシスタント(?:です|でございます|なので|だよ)"
    r"|(?:^|[。！、])(?:AI|言語モデル)(?:アシスタント)?(?:です|なので|だから|だよ|として(?:お答え|回答|の))"
    r"|\b(?:I am|I'm|as) (?:an? )?(?:AI\b(?! (?:engineer|researcher|developer|fan|student))|ChatGPT"
    r"|(?:large )?language model)",
    re.IGNORECASE,
)
ASKED = re.compile(
    r"(?:AI|人工知能|ロボット|ボット|ChatGPT|人間|中の人)(?:なの|ですか|じゃない|でしょ|だよね|なんでしょ|\？|\?)"
    r"|\bare you (?:an? |really )?(?:AI|bot|robot|human|machine|ChatGPT|real)\b",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"できません|できかねます|いたしかねます|お断り|お答えでき|お力になれ|応じられ|控えさせて|お受けでき"
    r"|(?:むり|無理|パス|やだ|いやだ|ごめん|遠慮)(?:です|だよ|だわ|かな|で|w|！|!|、|。|、、|するわ|しとく|$)"
    r"|\b(?:I can't|I cannot|I won't|I'm unable|I am unable|no way|I'd rather not|sorry, but)\b",
    re.IGNORECASE,
)
# A refusal as a service gives it, not a friend.
FORMAL_REFUSAL = re.compile(
    r"できません|できかねます|いたしかねます|お断り|お答えでき|お力になれ|応じられ|控えさせて|お受けでき|申し訳"
    r"|\b(?:I cannot|I'm unable|I am unable|I'm sorry, but)\b",
    re.IGNORECASE,
)


def says_ai(answer: str) -> bool:
    """Whether the speaker calls itself an AI. Weakness: a way of saying it that is not listed is missed."""
    return bool(AI_DISCLOSURE.search(answer))


def asked_for_ai(question: str) -> bool:
    """Whether the question is about being an AI or a human, so that saying it is no slip."""
    return bool(ASKED.search(question))


def refuses(answer: str) -> bool:
    """Whether an answer turns a request down, formally or as a friend would."""
    return bool(REFUSAL.search(answer))


def refuses_formally(answer: str) -> bool:
    """Whether it does so in the words of a service."""
    return bool(FORMAL_REFUSAL.search(answer))
