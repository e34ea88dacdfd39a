"""Other people's voices: an answer is this person's when it is nearer to the person than to all of them.

The idea is that of the general impostors method (Koppel and Winter, 2014, doi:10.1002/asi.22954): a text is somebody's
only where others who might have written it fit worse. Who is let in is set by answers of a voice that was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from persona_ft.conversation import Conversation
from persona_ft.evaluate.schema import Texts
from persona_ft.io import read_rows
from persona_ft.paths import resolve

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# Share of a left-out voice's answers that may pass. More voices are heard in the end than when one was left out, so
# fewer pass then: a tenth at most is what is wanted.
FALSE_ACCEPTANCE = 0.11


def read_voices(language: str) -> dict[str, list[str]]:
    """The invented people of ``data/voices`` who write a language: name -> answers; none for one that has none there.

    Raises PersonaError, which names file and line of what cannot be used.
    """
    paths = sorted(resolve("data/voices").glob(f"{language}_*.jsonl"))
    read = {path: read_rows(path, Conversation, "get it back with git").values() for path in paths}
    return {path.stem.split("_", 1)[1]: [pair.answer for pair in pairs] for path, pairs in read.items()}


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
