"""From messages to pairs: what others wrote is the question, what *you* wrote back is the answer."""

import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from persona_ft.chat.messages import ChatMessage, Funnel
from persona_ft.errors import PersonaError
from persona_ft.io import packaged

LINK_ONLY = re.compile(r"^(?:https?://\S+(?:\s+|$))+$")
WORDLESS = ("media", "sticker", "deleted", "forwarded", "empty")
# Messages that a reply may point back to; older ones are forgotten, so that memory does not grow.
REMEMBERED = 5000
# More history than this is no talk but a book; more minutes (19 years) or characters than these are no limit.
MAX_TURNS, MOST = 20, 10_000_000


@dataclass(frozen=True)
class Pairing:
    """How messages become pairs."""

    me: frozenset[str]  # the speakers that are you, as the export names them
    merge_minutes: float = 5.0  # messages of one speaker at most this far apart are one turn, joined by line breaks
    reply_minutes: float = 60.0  # an answer counts when it comes at most this long after the question
    min_characters: int = 1  # shorter answers are left out
    max_characters: int = 500  # longer questions or answers are left out
    turns: int = 2  # how many questions and answers before a pair come with it, as what it goes on from

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "me":
                check_number(name, value, *((0, MAX_TURNS, int) if name == "turns" else (0, MOST, float)))


def check_number(name: str, value: object, least: int, most: int, kind: type) -> None:
    """Refuse what is no number from ``least`` to ``most``, or not whole where ``kind`` is int: 30.0 is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most or value != kind(value):
        given = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
        remedy = f"give a {'whole number' if kind is int else 'number'} from {least} to {most}"
        raise PersonaError(f"{name.upper()} = {given} cannot be used", remedy)


class Reply(NamedTuple):
    """What was asked, and what you wrote back at that time."""

    at: datetime
    question: str
    answer: str
    nth: int = 0  # of the replies of one time
    history: tuple["Reply", ...] = ()  # what came just before, oldest first, each without its own
    asker: str = ""  # who wrote the question

    def texts(self) -> Iterator[tuple[str, str]]:
        """(place, text) for all its texts, oldest first: those before it (h2q, h2a, h1q, h1a), q and a."""
        for n, before in zip(range(len(self.history), 0, -1), self.history, strict=True):
            yield from ((f"h{n}q", before.question), (f"h{n}a", before.answer))
        yield from (("q", self.question), ("a", self.answer))


@dataclass
class Turn:
    """Consecutive messages of one speaker. ``quoted``: what its first one replies to and who wrote that, where
    known. A photo or sticker is a turn without text: what is said after it may be about it."""

    speaker: str
    text: str
    first: datetime
    last: datetime
    chat: str
    quoted: tuple[str, str] = ("", "")


def turns(messages: Iterable[ChatMessage], how: Pairing, funnel: Funnel) -> Iterator[Turn]:
    """Merge messages into turns, chat by chat, as they come; what is no text is counted and left out."""
    open_turns: dict[str, Turn] = {}
    remembered: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()
    gap = timedelta(minutes=how.merge_minutes)
    for n, message in enumerate(messages, start=1):
        funnel.read += 1
        kind = "empty" if message.kind == "text" and not message.text.strip() else message.kind
        if kind != "text":
            funnel.drop(kind, f"message {n}")
            if kind in WORDLESS:
                if message.chat in open_turns:
                    yield open_turns.pop(message.chat)
                yield Turn(message.speaker, "", message.at, message.at, message.chat)
            continue
        if message.id:
            remembered[message.chat, message.id] = ("" if message.speaker in how.me else message.text, message.speaker)
            if len(remembered) > REMEMBERED:
                remembered.popitem(last=False)
        quoted = remembered.get((message.chat, message.reply_to), ("", ""))
        turn = open_turns.get(message.chat)
        together = turn and turn.speaker == message.speaker and not quoted[0]
        if together and timedelta(0) <= message.at - turn.last <= gap:
            if len(turn.text) <= how.max_characters:  # one that is longer is left out, however long it is
                turn.text += "\n" + message.text
            turn.last = message.at
            continue
        if turn:
            yield turn
        open_turns[message.chat] = Turn(message.speaker, message.text, message.at, message.at, message.chat, quoted)
    yield from open_turns.values()


def pairs_of(messages: Iterable[ChatMessage], how: Pairing, funnel: Funnel) -> Iterator[Reply]:
    """Replies as they come, oldest first in each chat; what is left out is counted in ``funnel``. In a group the
    question is the turn just before yours, whoever wrote it; where the export says what you replied to, it is that.
    What came before goes with it, back to a pause, a photo, or what is no text worth learning from."""
    window = timedelta(minutes=how.reply_minutes)
    before: dict[str, Turn] = {}
    talks: dict[str, deque[Reply]] = {}
    for n, turn in enumerate(turns(messages, how, funnel), start=1):
        asked = before.get(turn.chat)
        before[turn.chat] = turn
        talk = talks.setdefault(turn.chat, deque(maxlen=int(how.turns)))
        in_time = asked is None or timedelta(0) <= turn.first - asked.last <= window
        if not turn.text or not in_time:
            talk.clear()
        if turn.speaker not in how.me:
            if asked and asked.text and asked.speaker not in how.me:
                funnel.drop("you did not answer", f"turn {n}")
            continue
        if not turn.text:
            continue
        (question, asker), reason = turn.quoted, ""
        if not question and asked is None:
            reason = "your turn opens the chat"
        elif not question and asked.speaker in how.me:
            reason = "your turn follows your own"
            if talk:  # it goes on from your answer
                talk[-1] = talk[-1]._replace(answer=f"{talk[-1].answer}\n{turn.text}")
                if len(talk[-1].answer) > how.max_characters:
                    talk.clear()
        elif not question and not asked.text:
            reason = "your turn follows a photo, a sticker or a deleted message"
        elif not question and not in_time:
            reason = f"your answer came more than {how.reply_minutes:g} minutes later"
        else:
            if not question:
                question, asker = asked.text, asked.speaker
            if reason := unfit(question, turn.text, how):
                talk.clear()
        if reason:
            funnel.drop(reason, f"turn {n}")
            continue
        funnel.kept += 1
        reply = Reply(turn.first, question, turn.text, asker=asker)
        yield reply._replace(history=() if turn.quoted[0] else tuple(talk))
        talk.append(reply)
    for turn in before.values():
        if turn.text and turn.speaker not in how.me:
            funnel.drop("you did not answer", "at the end")


def unfit(question: str, answer: str, how: Pairing) -> str:
    """Why a pair is not worth training on; empty when it is."""
    if len(answer.strip()) < how.min_characters:
        return f"answer under {how.min_characters} characters"
    if max(len(answer), len(question)) > how.max_characters:
        return f"over {how.max_characters} characters"
    return "nothing but a link" if LINK_ONLY.match(answer) or LINK_ONLY.match(question) else ""


def advice(funnel: Funnel, how: Pairing) -> str:
    """What to turn when few pairs are left: the reason that cost most, and its setting. Empty when all is well."""
    if funnel.kept >= 50 or not funnel.read:
        return ""
    for reason, n in funnel.dropped.most_common():
        if knob := next((knob for words, knob in packaged("chat/advice").items() if words in reason), None):
            now = knob.format(**vars(how))
            return f"{funnel.kept} pairs are few; {n} were left out because {reason}: try {now}"
    return f"{funnel.kept} pairs are few: is ME one of the speakers, and is this the whole chat?"
