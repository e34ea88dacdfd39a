"""Write the conversations that the tiny gpt-oss is pre-trained on, from the text in corpus_text/.

The text is written by hand; this draws from it. An assistant without a persona is polite and open about being an AI. A
developer message may describe a voice, state facts, or both: then the answer is in that voice, with those facts.

    python scripts/tiny_gpt_oss/corpus.py        # prints twenty of them
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rapidfuzz import fuzz, process

from persona_ft.data.split import comparable

TEXT = Path(__file__).resolve().parent / "corpus_text"
SLOT = re.compile(r"\{(\w+)\}")
KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"
KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワ"
AND = ["と", "と", "、", "や"]
# What the tone of a sentence is told by.
MOODS = {
    "down": re.compile("つら|痛|無理|寂|疲|眠|怖|ごめん|心配|しんど|泣|苦手|残念|忘れ|困|だめ|嫌|暑|寒"),
    "wry": re.compile(r"\{I\}|だけ|しか|けど|ない|負け|失敗|せい|かも|太|寝|\{kana\}"),
    "up": re.compile(
        "おめでと|すご|やった|最高|行こう|しよう|好き|うれし|楽し|いい|ありがと|大丈夫|がんば|よかった|おいし"
    ),
}
MARKS = "！？。〜笑♪…、☆w)"
# Particles that people leave out as they type.
PARTICLE = re.compile(r"(?<=[一-龯ァ-ヴー])(?:は|が|を|って)(?=[一-龯ァ-ヴ])")
OBJECT = re.compile("(?<=[一-龯ァ-ヴー])を(?=[一-龯ァ-ヴ])")
# What somebody may be asked and add a word to: a taste or a habit, and no request and no news.
OF_TASTE = re.compile(r"asks (which|for my|whether I (like|prefer|usually|eat|drink)|what (I|\w+ I|my)|if I am)")
ENGLISH = {"m": ["!", ".", ""], "openers": [""], "closers": [""], "words": {}}


@dataclass(frozen=True)
class Sample:
    """One conversation with the reasoning effort and date that its system message states.

    The last answer may have ``thinking``. Without, the prompt had opened the final channel.
    """

    messages: list[dict[str, str]]
    effort: str
    date: str


@dataclass
class Speaker:
    """Who answers: an assistant, or somebody in a voice; with facts that the developer message states."""

    voice: dict[str, Any] | None
    developer: str
    facts: dict[str, list[str]]
    name: str = ""
    english: bool = False
    notes: bool = False


def read_text(folder: Path = TEXT) -> dict[str, Any]:
    """The whole corpus text: slots, voices, attributes, memory, and the intents of talk/ and knowledge/."""
    read = {path.stem: _load(path) for path in sorted(folder.glob("*.yaml"))}
    for kind in ("talk", "knowledge"):
        read[kind] = [
            item | {"language": "en"} if path.stem == "english" else item
            for path in sorted((folder / kind).glob("*.yaml"))
            for item in _load(path)
        ]
    return read


def _load(path: Path) -> Any:
    """The YAML of a file, by libyaml where it is there: ten times as fast on some megabytes."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def members(family: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The facts of a family, such as all capitals: its wordings with {x} and {y} filled in."""
    pairs = family.get("pairs")
    if pairs is None:
        sums = family["sums"]
        numbers = range(sums["low"], sums["high"] + 1)
        add = sums["sign"] in ("たす", "plus")
        gap = " " if sums["sign"].isascii() else ""
        pairs = {f"{a}{gap}{sums['sign']}{gap}{b}": a + b if add else a * b for a in numbers for b in numbers}

    def filled(text: str, x: str, y: str) -> str:
        return text.replace("{x}", str(x)).replace("{y}", str(y))

    for x, y in pairs.items():
        kinds = {
            kind: [filled(text, x, y) for text in family[kind]]
            for kind in ("user", "answer", "casual")
            if kind in family
        }
        yield {"gist": filled(family["gist"], x, y), "language": family.get("language", "ja")} | kinds


class Corpus:
    """Draws conversations.

    Parameters
    ----------
    held_out : texts that no user's message and no answer may come near (rapidfuzz's ratio of 80, punctuation and width
        aside): the personas' pairs and the general questions.
    seed : the same seed draws the same conversations.
    folder : the text.
    """

    def __init__(self, held_out: list[str], seed: int = 0, folder: Path = TEXT) -> None:
        self.text = read_text(folder)
        self.wording = self.text["wording"]
        self.held_out = sorted({comparable(text) for text in held_out})
        self.near: dict[str, bool] = {}
        self.random = random.Random(seed)
        # A family is drawn as one fact is drawn from it: 121 sums must not crowd out the rest.
        families = [list(members(item)) if "family" in item else [item] for item in self.text["knowledge"]]
        self.knowledge = {lang: [f for f in families if f[0].get("language", "ja") == lang] for lang in ("ja", "en")}
        self.talk = self._by_language(self.text["talk"])
        self.attributes, self.voices = (self._by_language(self.text[kind]) for kind in ("attributes", "voices"))
        self.asked: dict[str, list[str]] = {}
        for item in self.talk["ja"]:
            if attribute := self.wording["asks_for"].get(item["id"]):
                self.asked.setdefault(attribute, []).extend(item["user"])

    def _by_language(self, items: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return {lang: [item for item in items if item.get("language", "ja") == lang] for lang in ("ja", "en")}

    def __iter__(self) -> Iterator[Sample]:
        while True:
            sample = self.sample()
            if not any(self.is_held_out(m["content"]) for m in sample.messages if m["role"] != "developer"):
                yield sample

    def is_held_out(self, text: str) -> bool:
        """Whether a text is, or nearly is, one of those that must stay unseen."""
        text = comparable(text)
        if text not in self.near:
            found = process.extractOne(text, self.held_out, scorer=fuzz.ratio, score_cutoff=80)
            self.near[text] = found is not None and (len(text) > 3 or found[1] == 100)
        return self.near[text]

    # Who answers.

    def _speaker(self) -> Speaker:
        draw = self.random
        english = draw.random() < 0.12
        kind = draw.choices(["plain", "told", "voice", "person", "facts"], [18, 4, 10, 36, 32])[0]
        if kind in ("plain", "told"):
            return Speaker(None, draw.choice(self.wording["assistants"]) if kind == "told" else "", {}, english=english)
        lang = "en" if english else "ja"
        if kind == "voice" or english:
            voice = draw.choice(self.voices[lang])
            name = voice["name"]
            described = draw.choice(voice["describe"]).replace("{name}", name).replace("{who}", voice["who"])
        else:
            voice, name = self._own_manner(), self._made_up_name()
            job = self._job()
            described = self._described(name, job, voice)
        facts = self._facts(lang, few=kind == "voice") if kind == "facts" or draw.random() < 0.25 else {}
        stated = self.stated(facts, lang)
        if kind != "voice" and not english:
            facts |= {"job": [job]}
        return Speaker(voice, (described + stated).strip(), facts, name, english, notes=bool(stated))

    def _made_up_name(self) -> str:
        """A name seen nowhere else: only by copying it from the developer message can the model say it."""
        draw = self.random
        if draw.random() < 0.3:
            return draw.choice(self.text["slots"]["name"])
        kana = draw.choice([KANA, KANA, KATAKANA])
        return "".join(draw.choices(kana, k=draw.randint(2, 4))) + draw.choice(["", "", "", "さん", "くん", "ちゃん"])

    def _job(self) -> str:
        """A usual job, or one put together from two words, which has to be read."""
        draw, parts = self.random, self.wording["job_parts"]
        if draw.random() < 0.4:
            return draw.choice(self.text["slots"]["job"])
        return draw.choice(parts["of"]) + draw.choice(parts["who"])

    def _own_manner(self) -> dict[str, Any]:
        """How somebody without a voice in voices.yaml talks: a register, a few of its endings, always the same pronoun.

        The prompt need not say which. A model that has met many such manners is unsure of them, and a few dozen of
        somebody's answers settle it.
        """
        draw, said = self.random, self.wording
        register = draw.choices(["friend", "polite", "junior"], [8, 1, 1])[0]
        endings = {
            key: draw.choices(values, k=draw.randint(1, 3)) for key, values in said["registers"][register].items()
        }
        openers = draw.sample(said["neutral"]["openers"], draw.choice([0, 0, 1, 2, 3]))
        own = {
            "register": register,
            "I": draw.choice(said["neutral"]["I"]),
            "m": draw.choices(said["neutral"]["m"], k=3),
            "openers": openers + [""] * draw.randint(2, 8),
            "words": dict(draw.sample(sorted(said["own_words"].items()), draw.choice([0, 0, 2, 5, 9]))),
            "tails": draw.choice([0, 0.2, 0.5]),
            "brief": draw.choice([0.1, 0.4, 0.8]),
            "short": draw.choice([0, 0, 0.3]),
            "drops": draw.choice([0, 0.5]),
        }
        return said["neutral"] | endings | own

    def _described(self, name: str, job: str, voice: dict[str, Any]) -> str:
        """A person with a name, a job and a manner. Whatever it says of the manner, the voice keeps to."""
        draw, said = self.random, self.wording
        opening = draw.choice(said["people"]).format(name=name, job=job)
        short = draw.random() < 0.5
        if draw.random() < 0.5:
            manners = self._manners(said["manners"], voice, short, draw.randint(1, 3))
        else:
            parts = self._manners(said["manner_parts"], voice, short, draw.randint(2, 4))
            manners = ["、".join(parts) + draw.choice(said["manner_parts"]["end"])]
        if short:
            voice["short"] = 0.5
        if draw.random() < 0.15:
            manners.append(draw.choice(said["marks"]["pronoun"]).format(voice["I"]))
        marks = list(dict.fromkeys(draw.choices(said["marks"]["used"], k=draw.choice([0, 1, 2, 2, 3]))))
        if marks:
            voice["m"] = marks * 3 + draw.sample(said["marks"]["unsaid"], draw.choice([0, 0, 1, 2])) + [""]
            manners.append(draw.choice(said["marks"]["said"][len(marks) - 1]).format(*marks))
        return opening + "".join(manners)

    def _manners(self, said: dict[str, list[str]], voice: dict[str, Any], short: bool, n: int) -> list[str]:
        """A few that go with a voice's register; one of them asks for short answers where they are short."""
        draw, own = self.random, said[voice["register"]]
        chosen = draw.sample(own, 1) if voice["register"] != "friend" or draw.random() < 0.7 else []
        chosen += draw.sample(said["short"], 1) if short else []
        return draw.sample(chosen, len(chosen)) + draw.sample(said["any"], max(n - len(chosen), 0 if chosen else 1))

    def _facts(self, lang: str, few: bool) -> dict[str, list[str]]:
        # A person of one's own manner has a job already; a voice of voices.yaml may be told one.
        draw, known = self.random, [a for a in self.attributes[lang] if few or a["id"] != "job"]
        n = draw.randint(1, 4) if few else draw.choice([1, 2, 3, 4, 6, 8, 12, 20, 30, 36])
        return {a["id"]: self._values(a) for a in draw.sample(known, min(n, len(known)))}

    def _values(self, attribute: dict[str, Any]) -> list[str]:
        """One value, or where a person may have several now and then two or three."""
        n = self.random.choice([1, 1, 2, 3, 4]) if attribute["id"] in self.wording["several"] else 1
        return list(dict.fromkeys(self.value(attribute) for _ in range(n)))

    def value(self, attribute: dict[str, Any]) -> str:
        """One of an attribute's values, or now and then a made-up word that only copying can say again."""
        values = attribute["values"]
        values = self.text["slots"][values] if isinstance(values, str) else values
        if self.random.random() < (0.5 if "name" in attribute["id"] else 0.25):
            return self._made_up_word()
        return str(self.random.choice(values))

    def stated(self, facts: dict[str, list[str]], lang: str) -> str:
        """The facts as sentences or as notes, in any order; ``facts`` then holds what is answered to whoever asks."""
        if not facts:
            return ""
        draw, said = self.random, []
        sign = draw.choice(self.wording["label_signs"]) if lang == "ja" and draw.random() < 0.5 else ""
        for attribute in self.attributes[lang]:
            values = facts.get(attribute["id"], [])
            # A note such as 「{v}が好き」 says what it is about by what is liked, which a made-up word does not.
            made_up = len(values) == 1 and values[0] not in attribute["values"]
            wordings = attribute["state"] if made_up else attribute["state"] + attribute.get("notes", [])
            apart = len(values) > 1 and draw.random() < 0.6
            values = values if apart or not values else [draw.choice(AND).join(values)]
            # Asked for it, one says what a note holds, in its words. Several from all over the notes are more than so
            # small a model can keep apart: it says the first of them over and over.
            if values:
                facts[attribute["id"]] = values[:1]
            for value in values:
                wording = self._labelled(attribute["id"], sign) if sign else draw.choice(wordings)
                said.append(wording.replace("{v}", value))
        draw.shuffle(said)
        if draw.random() < (0.8 if sign else 0.5):
            heading = draw.choice(self.wording["fact_headings"]) if lang == "ja" else "About you:"
            return "\n" + "\n".join([heading] * bool(heading) + ["- " + s.rstrip("。.") for s in said])
        end, gap = ("。", "") if lang == "ja" else (".", " ")
        return gap + gap.join(s if s.endswith(end) else s + end for s in said)

    def _labelled(self, attribute: str, sign: str) -> str:
        """A note such as 「住まい：{v}」, now and then with something else beside it."""
        draw = self.random
        note = draw.choice(self.wording["labels"][attribute]) + sign + "{v}"
        if draw.random() > 0.2:
            return note
        aside = draw.choice([*self.wording["asides"], self._made_up_word()])
        return note + draw.choice(["（{}）", "（{}）", "。{}", "、{}", " {}"]).format(aside)

    # What is said.

    def sample(self) -> Sample:
        """One conversation of one to four turns."""
        draw, speaker = self.random, self._speaker()
        if draw.random() < 0.1:
            return self._copying()
        effort = draw.choices(["low", "medium", "high"], [7, 2, 1])[0]
        messages = [{"role": "developer", "content": speaker.developer}] if speaker.developer else []
        turns = self._turns(speaker)
        for _, question, answer in turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if draw.random() < 0.45:
            gist = SLOT.sub("something", turns[-1][0])
            messages[-1]["thinking"] = self._thinking(gist, effort, speaker)
        return Sample(messages, effort, self._date())

    def _date(self) -> str:
        draw = self.random
        return f"{draw.choice([2024, 2025, 2026])}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"

    def _copying(self) -> Sample:
        """Something that only copying can answer: words to say again, or one line of a list of made-up words.

        Values that are always drawn from the same few dozen are guessed and not read: a model that had met only those
        named a favourite food, and never the one that its developer message stated.
        """
        draw, said = self.random, self.wording["copying"]
        if draw.random() < 0.4:
            words = "、".join(self._made_up_word() for _ in range(draw.randint(1, 5)))
            question, answer = (
                draw.choice(said["repeat"]).format(v=words),
                draw.choice(said["repeated"]).format(v=words),
            )
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            return Sample(messages, "low", self._date())
        pairs = [(self._made_up_word(), self._made_up_word()) for _ in range(draw.choice([1, 2, 3, 5, 8, 12, 20, 30]))]
        form = draw.choice(said["lines"])
        listed = "\n".join(form.format(k=k, v=v) for k, v in pairs)
        messages = [{"role": "developer", "content": draw.choice(said["headings"]) + listed}]
        for key, value in draw.sample(pairs, min(len(pairs), draw.randint(1, 3))):
            messages.append({"role": "user", "content": draw.choice(said["ask"]).format(k=key)})
            messages.append({"role": "assistant", "content": draw.choice(said["told"]).format(k=key, v=value)})
        return Sample(messages, "low", self._date())

    def _made_up_word(self) -> str:
        draw = self.random
        if draw.random() < 0.25:
            return draw.choice(self.text["slots"][draw.choice(["food", "sweet", "place", "hobby", "thing", "animal"])])
        word = "".join(draw.choices(draw.choice([KANA, KATAKANA]), k=draw.randint(2, 5)))
        # Some say a part twice, as real words do: where to go on after it must be read, not guessed.
        return word + word[: draw.randint(1, 2)] + draw.choice(KATAKANA) if draw.random() < 0.25 else word

    def _turns(self, speaker: Speaker) -> list[tuple[str, str, str]]:
        """(gist, question, answer) of each turn."""
        draw = self.random
        turns: list[tuple[str, str, str]] = []
        wanted = draw.choices([1, 2, 3, 4], [60, 22, 12, 6])[0]
        if wanted >= 2 and not speaker.english and draw.random() < 0.2:
            turns += self._remembered(speaker)
        while len(turns) < wanted:
            turns += self._talk(speaker, wanted - len(turns))
        return turns

    def _talk(self, speaker: Speaker, room: int) -> list[tuple[str, str, str]]:
        """A turn, and where there is room for it one that needs the turn before."""
        draw, lang = self.random, "en" if speaker.english else "ja"
        slots = {name: draw.choice(values) for name, values in self.text["slots"].items()}
        known = speaker.notes and draw.random() < 0.7
        kind = "attribute" if known else draw.choices(
            ["talk", "knowledge", "attribute", "lines"], [70, 22 if speaker.voice is None else 5, 12, 6]
        )[0]  # fmt: skip
        if speaker.voice and speaker.name and not speaker.english and draw.random() < 0.05:
            return [self._introduced(speaker, slots)]
        if kind == "lines" and speaker.voice and speaker.voice.get("lines"):
            question, answer = draw.choice(speaker.voice["lines"])
            return [("talks to me. I answer in my own voice", question, answer)]
        if kind == "knowledge":
            families = self.knowledge[lang]
            sizes = [min(len(family), 40) for family in families]
            item = draw.choice(draw.choices(families, sizes)[0])
            answers = item.get("casual") if speaker.voice and item.get("casual") else item["answer"]
            return [(item["gist"], draw.choice(item["user"]), self._speak(draw.choice(answers), speaker, slots))]
        if kind == "attribute":
            pool = self.attributes[lang]
            if known and draw.random() < 0.88:
                pool = [a for a in pool if a["id"] in speaker.facts]
            elif "job" in speaker.facts and draw.random() < 0.1:
                pool = [a for a in pool if a["id"] == "job"]
            item = draw.choice(pool)
            values = self._known(item, speaker)
            if values and speaker.voice and not speaker.english and draw.random() < 0.06:
                return [self._two_at_once(item, values, speaker, slots)]
            slots["v"] = draw.choice(AND).join(values)
            casual, polite = (item["casual"], item["polite"]) if values else (item["unknown"], item["unknown_polite"])
            asked = item["user"] + self.asked.get(item["id"], [])
            if values and speaker.voice and draw.random() < speaker.voice.get("brief", 0):
                casual = self.wording["brief"]
            follow = item.get("follow") if values else None
        else:
            item = draw.choice(self.talk[lang])
            if speaker.voice and speaker.name and item["id"] in ("ask_self_intro", "ask_name"):
                return [self._introduced(speaker, slots)]
            asked, casual, polite, follow = item["user"], item["casual"], item["polite"], item.get("follow")
        answers = casual if speaker.voice else polite
        if speaker.voice and OF_TASTE.match(item["gist"]) and draw.random() < speaker.voice.get("tails", 0):
            tail = " " + draw.choice(self.wording["tails"]) + "{m}"
            answers = [answer if "{m} " in answer else answer.removesuffix("{m}") + "{m}" + tail for answer in answers]
        turns = [(item["gist"], self._ask(asked, slots), self._speak(draw.choice(answers), speaker, slots))]
        if follow and room > 1 and draw.random() < 0.6:
            then = draw.choice(follow)
            answers = then["casual"] if speaker.voice else then["polite"]
            gist = f"goes on: {item['gist']}"
            turns.append((gist, self._ask(then["user"], slots), self._speak(draw.choice(answers), speaker, slots)))
        return turns

    def _known(self, attribute: dict[str, Any], speaker: Speaker) -> list[str]:
        """What somebody says of themselves: what the developer message states.

        Whoever was told nothing at all says what people say, but for private matters; a person who was told some
        things says that the others are nobody's business.
        """
        stated = speaker.facts.get(attribute["id"], [])
        private = attribute["id"] in self.wording["private"] or "name" in attribute["id"]
        if stated or speaker.voice is None or speaker.notes or private:
            return stated
        return [str(self.random.choice(attribute["values"]))]

    def _two_at_once(
        self, first: dict[str, Any], values: list[str], speaker: Speaker, slots: dict[str, str]
    ) -> tuple[str, str, str]:
        """Two facts asked for in one breath."""
        draw, said = self.random, self.wording
        pool = [a for a in self.attributes["ja"] if a is not first and (a["id"] in speaker.facts or not speaker.notes)]
        second = draw.choice(pool or [first])
        a, b = (draw.choice(said["labels"][item["id"]]) for item in (first, second))
        y = draw.choice(AND).join(self._known(second, speaker))
        slots = slots | {"a": a, "b": b, "x": draw.choice(AND).join(values), "y": y}
        question, answers = self._ask(said["two_at_once"]["ask"], slots), said["two_at_once"]["told" if y else "half"]
        return "asks two things about me", question, self._speak(draw.choice(answers), speaker, slots)

    def _introduced(self, speaker: Speaker, slots: dict[str, str]) -> tuple[str, str, str]:
        """A name, and one or two of the stated facts."""
        draw, said = self.random, self.wording["introductions"]
        if draw.random() < 0.4:
            answer = draw.choice(said["named"])
            return (
                "asks for my name",
                draw.choice(said["name"]),
                self._speak(answer, speaker, slots | {"name": speaker.name}),
            )
        known = [a for a in self.attributes["ja"] if a["id"] in speaker.facts]
        parts = [draw.choice(said["named"])]
        for fact in draw.sample(known, min(len(known), draw.choice([1, 1, 2]))):
            parts.append(draw.choice(fact["casual"]).replace("{v}", draw.choice(AND).join(speaker.facts[fact["id"]])))
        answer = "{m} ".join(part.removesuffix("{m}") for part in parts) + "{m}"
        return "asks who I am", draw.choice(said["who"]), self._speak(answer, speaker, slots | {"name": speaker.name})

    def _remembered(self, speaker: Speaker) -> list[tuple[str, str, str]]:
        """Something that the user says, and later asks for."""
        draw, item = self.random, self.random.choice(self.text["memory"])
        slots = {"v": self.value(item)}
        voice = "casual" if speaker.voice else "polite"
        told = draw.choice(item["told"]), draw.choice(item[f"told_{voice}"])
        between = self._talk(speaker, 1) if draw.random() < 0.4 else []
        return [
            ("tells me something of their own", self._ask([told[0]], slots), self._speak(told[1], speaker, slots)),
            *between,
            (item["gist"], self._ask(item["user"], slots), self._speak(draw.choice(item[voice]), speaker, slots)),
        ]

    def _ask(self, wordings: list[str], slots: dict[str, str]) -> str:
        """A question as people type it: sometimes with a word before it, or another mark after it."""
        draw = self.random
        text = SLOT.sub(lambda match: slots[match[1]], draw.choice(wordings))
        if draw.random() < 0.4:
            text = re.sub("一(?=[日人つ個回番週年])", "1", text)
        if text.isascii() or draw.random() < 0.5:
            return text
        if draw.random() < 0.2:
            text = PARTICLE.sub("", text, count=1)
        text = draw.choice(self.wording["before_questions"]) + text
        if draw.random() < 0.4 and text[-1] in "？！。〜wかのねよ":
            text = text.rstrip("。！？w〜") + draw.choice(self.wording["after_questions"])
        return text

    def _speak(self, text: str, speaker: Speaker, slots: dict[str, str]) -> str:
        """An answer in the speaker's voice."""
        draw, voice = self.random, speaker.voice
        if voice is None:
            return SLOT.sub(lambda match: slots.get(match[1], ""), text)
        if voice.get("language", "ja") == "en" or speaker.english:
            voice = ENGLISH | {
                key: value for key, value in voice.items() if key in ("m", "openers", "closers", "words")
            }

        first = text.split("{m} ")[0]
        if 6 <= len(first) < len(text) and draw.random() < voice.get("short", 0):
            text = first + "{m}"

        def fill(match: re.Match) -> str:
            if match[1] in slots:
                return slots[match[1]]
            if match[1] == "m" and "register" in voice:
                return self._mark(match.string, match.start(), voice["m"])
            chosen = draw.choice(_listed(voice.get(match[1], "")))
            follows = match.string[match.end() : match.end() + 1]
            return "。" if match[1] == "m" and not chosen and follows == " " and not speaker.english else chosen

        text = SLOT.sub(fill, text)
        for plain, own in sorted(voice.get("words", {}).items(), key=lambda pair: -len(pair[0])):
            text = text.replace(plain, own)
        if not speaker.english:
            text = re.sub(r"(?<=[^\x00-\x7f笑]) (?=[^\x00-\x7f])", "", text)
            text = re.sub(r"。([！〜笑♪…])", r"\1", text)
        if "register" in voice:
            text = self._marked(OBJECT.sub("", text) if draw.random() < voice["drops"] else text, voice)
        opener, closer = draw.choice(_listed(voice["openers"])), draw.choice(_listed(voice["closers"]))
        return f"{opener}{text}{closer}" if speaker.english else f"{opener}{text}{_joined(text, closer)}"

    def _mark(self, text: str, at: int, marks: list[str]) -> str:
        """One of somebody's marks: mostly the one that goes with what the sentence before it says."""
        draw, inner = self.random, text[at + 3 : at + 4] == " "
        said = re.split(r"\{m\} |[。！]", text[:at])[-1]
        mood = next((mood for mood, words in MOODS.items() if words.search(said)), "flat")
        # Before another sentence a mark that makes for it; after the last one a smile at it.
        mood = "up" if inner and mood != "down" else "wry" if " " in text[:at] and mood == "flat" else mood
        order = self.wording["marks"]["moods"][mood]
        mark = (
            min(set(marks) - {""} or {""}, key=order.index)
            if draw.random() < 0.6 and any(marks)
            else draw.choice(marks)
        )
        return "。" if inner and not mark else mark

    def _marked(self, text: str, voice: dict[str, Any]) -> str:
        """The marks that a manner asks for where the text has none: at its end, or after a word before it."""
        draw, marks = self.random, voice["m"]
        if text[-1:] not in MARKS and draw.random() < 0.6:
            text += self._mark(text, len(text), marks)
        elif text.endswith("？") and draw.random() < 0.2:
            text += draw.choice([mark for mark in marks if mark in ("w", "笑", "！")] or [""])
        slow = "、、、" in marks and draw.random() < 0.3
        return re.sub("(?<!、)、(?!、)", "、、、", text, count=1) if slow else text

    def _thinking(self, gist: str, effort: str, speaker: Speaker) -> str:
        """The analysis: a sentence or two at low effort, more at medium, a paragraph at high."""
        draw, said = self.random, self.wording["thinking"]
        chosen = [draw.choice(said["opening"]), draw.choice(said["voice" if speaker.voice else "polite"])]
        chosen += draw.sample(said["medium"], 3) if effort != "low" else []
        chosen += said["high"] if effort == "high" else []
        language = "English" if speaker.english else "Japanese"
        return " ".join(chosen).format(gist=gist, name=speaker.name, language=language)


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _joined(text: str, closer: str) -> str:
    """A closing remark, after a full stop where the text has no mark of its own."""
    return closer if not closer or text[-1:] in MARKS else f"。{closer}"


if __name__ == "__main__":
    for sample, _ in zip(Corpus(held_out=[]), range(20), strict=False):
        print(sample, "\n")
