"""Other people's voices: an answer is this person's when it is nearer to the person than to all of them.

The idea is that of the general impostors method (Koppel and Winter, 2014, doi:10.1002/asi.22954): a text is somebody's
only where others who might have written it fit worse. Who is let in is set by answers of a voice that was left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from persona_ft.conversation import Conversation
from persona_ft.io import read_rows
from persona_ft.paths import resolve

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# Share of a left-out voice's answers that may pass. More voices are heard in the end than when one was left out, so
# fewer pass then: a tenth at most is what is wanted.
FALSE_ACCEPTANCE = 0.11


def read_voices(language: str) -> dict[str, list[str]]:
    """The invented people of ``data/voices`` who write a language: name -> answers; none for one that has none there.

    Raises
    ------
    PersonaError
        Names file and line of what cannot be used.
    """
    paths = sorted(resolve("data/voices").glob(f"{language}_*.jsonl"))
    remedy = "get it back with git"
    return {
        path.stem.split("_", 1)[1]: [pair.answer for pair in read_rows(path, Conversation, remedy).values()]
        for path in paths
    }


def left_out_scores(
    pipeline: Pipeline, person: Sequence[str], base: Sequence[str], impostors: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """How each impostor's answers are scored by a model that has not heard that impostor: log-odds for the person."""
    from sklearn.base import clone

    found = []
    for name, answers in impostors.items():
        others = [text for other, texts in impostors.items() if other != name for text in texts]
        texts, labels = [*person, *base, *others], [1] * len(person) + [0] * (len(base) + len(others))
        found.append(clone(pipeline).fit(texts, labels).decision_function(answers))
    return np.concatenate(found)


def acceptance_threshold(
    pipeline: Pipeline, person: Sequence[str], base: Sequence[str], impostors: Mapping[str, Sequence[str]]
) -> float:
    """The log-odds above which :data:`FALSE_ACCEPTANCE` of left-out impostors' answers lie; 0 with fewer than two."""
    if len(impostors) < 2:
        return 0.0
    return float(np.quantile(left_out_scores(pipeline, person, base, impostors), 1 - FALSE_ACCEPTANCE))
