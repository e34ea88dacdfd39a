"""Style: does an answer sound like the person? Learnt from the training answers; no trait of anyone is written here."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from persona_ft.evaluate.statistics import Interval, jackknife_interval

NGRAMS = {"analyzer": "char", "ngram_range": (1, 3), "sublinear_tf": True}


class StyleClassifier:
    """Tells the person's answers from the base model's by their character 1- to 3-grams.

    Logistic regression on tf-idf of characters, a standard authorship baseline (Stamatatos, 2009,
    doi:10.1002/asi.21001). It learns from the training answers alone.
    Weakness: it sees marks and endings, not sense, so nonsense in the person's tone passes; and it knows two ways of
    speaking alone, so a third one falls to whichever is nearer.

    Parameters
    ----------
    persona_answers, base_answers : texts of the two classes, n and m of them.
    prepared : applied to every text first, such as one of :func:`preparations`.

    With fewer than two texts of a class it knows nothing: every probability is NaN, and nothing stops, since the
    answers that were asked for are worth their other scores.
    """

    def __init__(
        self,
        persona_answers: Sequence[str],
        base_answers: Sequence[str],
        random_state: int = 0,
        prepared: Callable[[str], str] = str,
    ) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_score
        from sklearn.pipeline import make_pipeline

        self.prepared = prepared
        self.pipeline = make_pipeline(
            TfidfVectorizer(**NGRAMS), LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced")
        )
        texts = [prepared(text) for text in (*persona_answers, *base_answers)]
        labels = [1] * len(persona_answers) + [0] * len(base_answers)
        self.trained, self.cross_validated_accuracy = min(labels.count(0), labels.count(1)) >= 2, float("nan")
        if not self.trained:
            self.pipeline[0].fit(texts)
            return
        n_folds = min(5, labels.count(0), labels.count(1))
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
        # How well it tells them apart where it has not looked: the figure to read before any share below.
        self.cross_validated_accuracy = float(cross_val_score(self.pipeline, texts, labels, cv=folds).mean())
        self.pipeline.fit(texts, labels)

    def probabilities(self, answers: Sequence[str]) -> np.ndarray:
        """Probability of the person's style for each of n answers, shape (n,); an empty answer has none."""
        if not self.trained or not answers:
            return np.full(len(answers), np.nan)
        found = self.pipeline.predict_proba([self.prepared(answer) for answer in answers])[:, 1]
        return np.where([bool(answer) for answer in answers], found, 0.0)

    def marks(self, n: int = 12) -> tuple[list[str], list[str]]:
        """The n character n-grams that speak most for the person, and for the base model."""
        if not self.trained:
            return [], []
        names = self.pipeline[0].get_feature_names_out()
        order = self.pipeline[1].coef_[0].argsort()
        return [str(names[i]) for i in order[::-1][:n]], [str(names[i]) for i in order[:n]]


class NgramProfile:
    """How far a set of answers is from the person: 1 - cosine between the counts of character 1- to 3-grams in all of
    its answers together and in all of the person's training answers (the profile method; Stamatatos, 2009).

    Rare n-grams weigh more (idf over both voices). It needs no second voice to choose between, so a third one is as far
    as it is. Weakness: it is a figure for a set and not for an answer, and little text is far from any profile; read it
    against the person's own distance from training to test.

    Parameters
    ----------
    person_answers, base_answers : training answers of both voices.
    """

    def __init__(self, person_answers: Sequence[str], base_answers: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), norm=None)
        self.vectorizer.fit([*person_answers, *base_answers])
        profile = np.asarray(self.vectorizer.transform(person_answers).sum(axis=0))[0]
        self.profile = profile / np.linalg.norm(profile)

    def _pooled(self, answers: Sequence[str], weights: np.ndarray) -> np.ndarray:
        """Distance of each of b weighted sums of n answers, from weights of shape (b, n): shape (b,)."""
        vectors = self.vectorizer.transform(answers)
        products = (vectors @ vectors.T).toarray()
        lengths = np.sqrt(np.maximum(((weights @ products) * weights).sum(axis=1), 1e-12))
        return 1.0 - weights @ (vectors @ self.profile) / lengths

    def distance(self, answers: Sequence[str]) -> float:
        """Distance of n answers together, from 0 to 1; NaN of none."""
        if not answers:
            return float("nan")
        return float(self._pooled(answers, np.ones((1, len(answers))))[0])

    def interval(self, answers: Sequence[str]) -> Interval:
        """The distance with its 95 % jackknife interval over answers (Efron and Stein, 1981)."""
        if len(answers) < 2:
            return Interval(self.distance(answers), float("nan"), float("nan"))
        left_out = self._pooled(answers, 1.0 - np.eye(len(answers)))
        found = jackknife_interval(self.distance(answers), left_out)
        return Interval(found.value, max(0.0, found.low), min(1.0, found.high))

    def difference(
        self, after: Sequence[str], before: Sequence[str], n_resamples: int = 9_999, seed: int = 0
    ) -> tuple[Interval, float]:
        """``after`` minus ``before``, n answers each to the same questions.

        A jackknife interval over questions, and the p-value of swapping the two answers of each question at random.
        """
        n, texts = len(after), [*after, *before]
        if not n:
            return Interval(*[float("nan")] * 3), 1.0

        def differences(first: np.ndarray) -> np.ndarray:
            """From how much of each answer of ``after`` (left) and ``before`` (right) counts as the first set."""
            second = np.hstack([first[:, n:], first[:, :n]])
            return self._pooled(texts, first) - self._pooled(texts, second)

        def halves(left: np.ndarray) -> np.ndarray:
            return np.hstack([left, np.zeros_like(left)])

        found = float(differences(halves(np.ones((1, n))))[0])
        interval = jackknife_interval(found, differences(halves(1.0 - np.eye(n))))
        kept = np.random.default_rng(seed).integers(0, 2, (n_resamples, n)).astype(float)
        swapped = differences(np.hstack([kept, 1.0 - kept]))
        # What was seen is one of the ways too; the small number keeps equal ones equal in spite of rounding.
        p = (1 + int((np.abs(swapped) >= abs(found) - 1e-12).sum())) / (n_resamples + 1)
        return interval, float(p)


def without_punctuation(text: str) -> str:
    """Letters and digits alone: what is left of a style when marks, emoji and spaces are taken away."""
    return re.sub(r"[\W_]+", "", text)


def preparations(persona_answers: Sequence[str]) -> dict[str, Callable[[str], str]]:
    """Ways to look at style again with one giveaway removed: the length of an answer, and its punctuation.

    The cut is at half the person's median length, so that nearly all texts end up equally long.
    """
    limit = max(4, int(statistics.median(map(len, persona_answers)) / 2))
    return {"as it is": str, "length matched": lambda text: text[:limit], "no punctuation": without_punctuation}
