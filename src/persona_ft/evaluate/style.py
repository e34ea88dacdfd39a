"""Style: does an answer sound like the person? Learnt from the training answers; no trait of anyone is written here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from persona_ft.evaluate.schema import Texts

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


# Share of a left-out voice's answers that may pass. More voices are heard in the end than when one was left out, so
# fewer pass then: a tenth at most is what is wanted.
FALSE_ACCEPTANCE = 0.11


def style_pipeline() -> Pipeline:
    """tf-idf of character 1- to 3-grams and logistic regression, a standard authorship baseline (Stamatatos, 2009,
    doi:10.1002/asi.21001); untrained. How a text begins and how it ends are n-grams too."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, preprocessor="\n{}\n".format),
        LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"),
    )


def acceptance_threshold(pipeline: Pipeline, person: Texts, base: Texts, impostors: Mapping[str, Texts]) -> float:
    """The log-odds above which :data:`FALSE_ACCEPTANCE` of impostors' answers lie, each scored by a model that has not
    heard that impostor; 0 with fewer than two of them."""
    from sklearn.base import clone

    if len(impostors) < 2:
        return 0.0
    found = []
    for name, answers in impostors.items():
        others = [*base, *(text for other, texts in impostors.items() if other != name for text in texts)]
        fitted = clone(pipeline).fit([*person, *others], [1] * len(person) + [0] * len(others))
        found.append(fitted.decision_function(answers))
    return float(np.quantile(np.concatenate(found), 1 - FALSE_ACCEPTANCE))


class StyleClassifier:
    """Tells the person's answers from the base model's, and from other people's, by their character n-grams.

    With impostors (name -> answers, of :func:`~persona_ft.evaluate.impostors.read_voices`) the probability of 0.5 is
    moved to where :data:`FALSE_ACCEPTANCE` of the answers of somebody whom it has not
    heard pass; without them a third way of speaking falls to whichever is nearer. Weakness: it sees marks and endings,
    not sense, so nonsense in the person's tone passes. With fewer than two texts of a class it knows nothing: every
    probability is NaN, and nothing stops, since the answers are worth their other scores. ``pipeline``: an untrained
    vectorizer and linear classifier.
    """

    def __init__(
        self,
        persona_answers: Texts,
        base_answers: Texts,
        impostors: Mapping[str, Texts] | None = None,
        pipeline: Pipeline | None = None,
    ) -> None:
        from sklearn.base import clone
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        self.person, self.base, self.impostors = list(persona_answers), list(base_answers), dict(impostors or {})
        self.pipeline = clone(pipeline or style_pipeline())
        others = [*self.base, *(text for texts in self.impostors.values() for text in texts)]
        texts = [*self.person, *others]
        labels = np.array([1] * len(self.person) + [0] * len(others))
        n_folds = min(5, len(self.person), len(others))
        self.trained, self.own_accepted, self.cross_validated_accuracy = n_folds >= 2, np.nan, np.nan
        if not self.trained:
            return
        threshold = acceptance_threshold(self.pipeline, self.person, self.base, self.impostors)
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
        # How well it does where it has not looked: the figures to read before any share below.
        unseen = cross_val_predict(self.pipeline, texts, labels, cv=folds, method="decision_function") > threshold
        self.own_accepted = float(unseen[labels == 1].mean())
        self.cross_validated_accuracy = (self.own_accepted + 1 - float(unseen[labels == 0].mean())) / 2
        self.pipeline.fit(texts, labels)
        self.pipeline[-1].intercept_ -= threshold

    def probabilities(self, answers: Texts) -> np.ndarray:
        """Probability of the person's style for each of n answers, shape (n,), above 0.5 where it is accepted; an empty
        answer has 0."""
        if not self.trained or not answers:
            return np.full(len(answers), np.nan)
        return self.pipeline.predict_proba(answers)[:, 1] * list(map(bool, answers))

    def marks(self, n: int = 12) -> tuple[list[str], list[str]]:
        """The n character n-grams that speak most for the person, and most against."""
        if not self.trained:
            return [], []
        names = self.pipeline[0].get_feature_names_out()
        order = [str(names[i]) for i in self.pipeline[1].coef_[0].argsort()]
        return order[::-1][:n], order[:n]
