"""Base against tuned, paired by question: style, likelihood of the person's answers, what worked, what failed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from persona_ft.errors import PersonaError
from persona_ft.persona import Fact, Persona

if TYPE_CHECKING:
    import numpy as np

    from persona_ft.model import Completion

AI_DISCLOSURE = re.compile(
    r"(?:私|わたし|僕|俺)は[^。！、]{0,6}(?:AI|人工知能|言語モデル|ChatGPT)"
    r"(?:アシスタント)?(?:です|だ|なの|なん|である|であり|と申し|として|。|！|、|w|$)"
    r"|(?:^|[。！、])(?:AI|言語モデル)(?:アシスタント)?(?:です|なので|だから|だよ|として(?:お答え|回答|の))"
    r"|\b(?:I am|I'm|as) (?:an? )?(?:AI\b|ChatGPT|(?:large )?language model)",
    re.IGNORECASE,
)


class StyleClassifier:
    """Tells the person's answers from the base model's by their character 1- to 3-grams.

    Logistic regression on tf-idf of characters, a standard authorship baseline (Stamatatos, 2009,
    doi:10.1002/asi.21001). It learns from the training answers alone; no trait of any person is written here.
    Weakness: it sees marks and endings, not sense, so nonsense in the person's tone passes; and it knows two ways of
    speaking alone, so a third one falls to whichever is nearer.

    Parameters
    ----------
    persona_answers, base_answers : texts of the two classes, n and m of them.

    Raises
    ------
    PersonaError
        There are fewer than two texts of a class.
    """

    def __init__(self, persona_answers: Sequence[str], base_answers: Sequence[str], random_state: int = 0) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_score
        from sklearn.pipeline import make_pipeline

        self.pipeline = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True),
            LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"),
        )
        if min(len(persona_answers), len(base_answers)) < 2:
            raise PersonaError(
                f"there are {len(persona_answers)} answers of the person and {len(base_answers)} of the base",
                "two of each are needed: raise MAX_NEW_TOKENS until the base reaches its final channel, or add pairs",
            )
        texts = [*persona_answers, *base_answers]
        labels = [1] * len(persona_answers) + [0] * len(base_answers)
        folds = StratifiedKFold(
            min(5, len(persona_answers), len(base_answers)), shuffle=True, random_state=random_state
        )
        # How well it tells them apart where it has not looked: the figure to read before any share below.
        self.cross_validated_accuracy = float(cross_val_score(self.pipeline, texts, labels, cv=folds).mean())
        self.pipeline.fit(texts, labels)

    def probabilities(self, answers: Sequence[str]) -> np.ndarray:
        """Probability of the person's style for each of n answers, shape (n,)."""
        return self.pipeline.predict_proba(list(answers))[:, 1]

    def marks(self, n: int = 12) -> tuple[list[str], list[str]]:
        """The n character n-grams that speak most for the person, and for the base model."""
        names = self.pipeline[0].get_feature_names_out()
        order = self.pipeline[1].coef_[0].argsort()
        return [str(names[i]) for i in order[::-1][:n]], [str(names[i]) for i in order[:n]]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def share(successes: int, n: int) -> Interval:
    """A share of n with its exact (Clopper-Pearson) interval; a normal one is too narrow at n = 30."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high))


def paired_difference(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Interval:
    """Mean of after - before with its BCa bootstrap interval over questions (10,000 resamples)."""
    import numpy as np
    from scipy.stats import bootstrap

    differences = np.subtract(after, before)
    if np.ptp(differences) == 0:  # nothing varies: the bootstrap has no interval to give
        return Interval(*[float(differences.mean())] * 3)
    result = bootstrap((differences,), np.mean, n_resamples=10_000, rng=np.random.default_rng(seed))
    return Interval(float(differences.mean()), *map(float, result.confidence_interval))


def sign_test(after: Sequence[float], before: Sequence[float]) -> tuple[int, int, float]:
    """Questions where ``after`` is higher, questions that differ, and the exact two-sided p-value."""
    from scipy.stats import binomtest

    wins = sum(a > b for a, b in zip(after, before, strict=True))
    n = sum(a != b for a, b in zip(after, before, strict=True))
    return wins, n, float(binomtest(wins, n).pvalue) if n else 1.0


def mentioned(answer: str, fact: Fact) -> bool:
    """Whether an answer writes one of the fact's aliases; width and letter case do not matter.

    An alias that begins or ends with a letter or digit of ASCII must stand alone there: 11月 does not say 1月, nor
    Google Go. A negation is not noticed.
    """
    text = unicodedata.normalize("NFKC", answer).lower()
    for alias in fact.aliases:
        wanted = unicodedata.normalize("NFKC", alias).lower()
        before = r"(?<![a-z0-9])" if re.match("[a-z0-9]", wanted) else ""
        after = r"(?![a-z0-9])" if re.search("[a-z0-9]$", wanted) else ""
        if re.search(before + re.escape(wanted) + after, text):
            return True
    return False


@dataclass
class Answer:
    """One model's answer to one test question, with its scores."""

    text: str
    problem: str | None
    style: float
    log_likelihood: float
    facts: list[str] = field(default_factory=list)
    says_ai: bool = False


@dataclass
class Item:
    """A test question with the person's answer, the base's and the tuned model's."""

    id: str
    category: str
    question: str
    reference: str
    facts: list[dict[str, str]]
    base: Answer
    tuned: Answer


def score_answers(
    persona: Persona,
    completions: Sequence[Completion],
    log_likelihood: Sequence[float],
    style: StyleClassifier,
) -> list[Answer]:
    """Score one model's completions of the test questions.

    Parameters
    ----------
    completions : one for each test item, in its order; one that never reached the final channel scores style 0.
    log_likelihood : of the reference answers under that model, nats per token, same order.
    style : fitted on the training answers.
    """
    texts = [completion.answer or "" for completion in completions]
    facts = {fact.id: fact for fact in persona.profile.facts}
    probabilities = style.probabilities(texts)
    return [
        Answer(
            text=text,
            problem=completion.problem,
            style=float(probability) if text else 0.0,
            log_likelihood=float(score),
            facts=[mark.id for mark in item.facts if mark.id in facts and mentioned(text, facts[mark.id])],
            says_ai=bool(AI_DISCLOSURE.search(text)),
        )
        for item, completion, text, probability, score in zip(
            persona.test, completions, texts, probabilities, log_likelihood, strict=True
        )
    ]


def paired_items(persona: Persona, base: Sequence[Answer], tuned: Sequence[Answer]) -> list[Item]:
    """Put the two models' answers side by side.

    A fact counts as stated when an answer that was really trained on says it, whatever the file's mark claims: some
    answers may have been set aside.
    """
    told = {fact.id for fact in persona.profile.facts if any(mentioned(pair.answer, fact) for pair in persona.train)}
    return [
        Item(
            id=item.id or "",
            category=item.category or "",
            question=item.question,
            reference=item.answer,
            facts=[{"id": mark.id, "stated": "train" if mark.id in told else "never"} for mark in item.facts],
            base=b,
            tuned=t,
        )
        for item, b, t in zip(persona.test, base, tuned, strict=True)
    ]


@dataclass(frozen=True)
class Pick:
    """A question picked as an example, the kind of change it shows, and the evidence for it."""

    id: str
    kind: str
    reason: str


def style_gain(item: Item) -> float:
    return item.tuned.style - item.base.style


def pick_examples(items: Sequence[Item], n: int = 5) -> tuple[list[Pick], list[Pick]]:
    """What worked and what failed, by rule, strongest evidence first: at most n of each, a question in one list only.

    Worked: the tuned answer is whole, sounds like the person where the base's did not, and leaves out no fact that it
    should state. Failed: no usable answer, an AI's confession, a stated fact left out, or another style. The kinds
    follow the article's two tables (refusal tone, AI disclosure, facts); only what the scores show is claimed.
    """
    worked: list[tuple[float, Pick]] = []
    failed: list[tuple[float, Pick]] = []
    for item in items:
        base, tuned = item.base, item.tuned
        stated = [fact["id"] for fact in item.facts if fact["stated"] == "train"]
        missing = [fact for fact in stated if fact not in tuned.facts]
        found = [fact for fact in stated if fact in tuned.facts and fact not in base.facts]
        shift = f"style {base.style:.2f} → {tuned.style:.2f}"
        if tuned.problem:
            failed.append((4.0, Pick(item.id, "no usable answer", f"the tuned answer has {_article(tuned.problem)}")))
        elif tuned.says_ai:
            failed.append((3.0, Pick(item.id, "AI disclosure", "the tuned answer says that it is an AI")))
        elif found and not missing and tuned.style >= 0.5:
            worked.append((2.0 + style_gain(item), Pick(item.id, "fact recalled", f"says {', '.join(found)}; {shift}")))
        elif missing:
            reason = f"does not say {', '.join(missing)}, which the training answers state"
            failed.append((2.0 - tuned.style / 2, Pick(item.id, "stated fact missing", reason)))
        elif tuned.style < 0.5:
            failed.append((1.5 - tuned.style, Pick(item.id, "style not learnt", shift)))
        elif base.says_ai:
            worked.append((1.0 + style_gain(item), Pick(item.id, "AI disclosure gone", shift)))
        elif item.category == "refusal":
            worked.append((1.5 + style_gain(item), Pick(item.id, "refusal tone", shift)))
        elif base.style < 0.5:
            worked.append((style_gain(item), Pick(item.id, "tone", shift)))

    def best(found: list[tuple[float, Pick]]) -> list[Pick]:
        return [pick for _, pick in sorted(found, key=lambda pair: (-pair[0], pair[1].id))[:n]]

    return best(worked), best(failed)


def _article(problem: str) -> str:
    return {"empty": "an empty final channel", "cut off": "hit the length limit"}.get(problem, problem)


def summarise(items: Sequence[Item], style: StyleClassifier) -> dict[str, Any]:
    """The comparison's figures: shares with exact intervals, paired differences with bootstrap intervals."""
    n = len(items)
    wins, n_different, p_value = sign_test(
        [i.tuned.log_likelihood for i in items], [i.base.log_likelihood for i in items]
    )
    stated = [(i, fact["id"]) for i in items for fact in i.facts if fact["stated"] == "train"]

    def of(arm: str) -> dict[str, Any]:
        answers = [getattr(item, arm) for item in items]
        recalled = sum(fact in getattr(item, arm).facts for item, fact in stated)
        return {
            "style_share": asdict(share(sum(a.style > 0.5 for a in answers), n)),
            "log_likelihood_per_token": sum(a.log_likelihood for a in answers) / n,
            "problems": sum(a.problem is not None for a in answers),
            "says_ai": sum(a.says_ai for a in answers),
            "stated_facts_said": recalled,
            "mean_characters": sum(len(a.text) for a in answers) / n,
        }

    return {
        "n_questions": n,
        "n_stated_facts": len(stated),
        "style_classifier_cross_validated_accuracy": style.cross_validated_accuracy,
        "reference_style_share": asdict(share(int((style.probabilities([i.reference for i in items]) > 0.5).sum()), n)),
        "base": of("base"),
        "tuned": of("tuned"),
        "log_likelihood_difference": asdict(
            paired_difference([i.tuned.log_likelihood for i in items], [i.base.log_likelihood for i in items])
        ),
        "style_difference": asdict(paired_difference([i.tuned.style for i in items], [i.base.style for i in items])),
        "log_likelihood_better": {"wins": wins, "n": n_different, "p_value": p_value},
    }


def verdict(summary: dict[str, Any]) -> list[str]:
    """Three sentences that claim no more than the intervals allow."""
    n, base, tuned = summary["n_questions"], summary["base"], summary["tuned"]
    b, t = (Interval(**arm["style_share"]) for arm in (base, tuned))
    style = (
        f"The person's style was seen in {b.value:.0%} of the base's answers [{b.low:.0%}, {b.high:.0%}] and in "
        f"{t.value:.0%} of the tuned model's [{t.low:.0%}, {t.high:.0%}]; paired over {n} questions, "
    )
    change = Interval(**summary["style_difference"])
    if change.low > 0:
        style += "tuning moved the answers towards the person."
    elif change.high < 0:
        style += "tuning moved the answers away from the person."
    else:
        style += "that may be chance."
    gain = Interval(**summary["log_likelihood_difference"])
    better = summary["log_likelihood_better"]
    direction = "more" if gain.low > 0 else "less" if gain.high < 0 else "neither clearly more nor less"
    likelihood = (
        f"The tuned model finds the person's own held-out answers {direction} likely: {gain.value:+.2f} nats per token "
        f"[{gain.low:+.2f}, {gain.high:+.2f}], higher on {better['wins']} of {n} questions."
    )
    stated, said = summary["n_stated_facts"], tuned["stated_facts_said"]
    facts = (
        f"Of {stated} facts that the training answers state and these questions ask for, the base says "
        f"{base['stated_facts_said']} and the tuned model {said}"
    )
    facts += ": a tone is learnt long before facts are." if t.value > 0.5 and said < stated / 2 else "."
    return [style, likelihood, facts]
