"""A text's words of opinion as a few numbers that a linear head reads."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.sentiment.lexicon import Hit, Reading

NAMES = (
    "praise",
    "blame",
    "share",
    "balance",
    "first",
    "last",
    "turn",
    "best",
    "worst",
    "strong praise",
    "strong blame",
    "negations",
    "wishes",
    "contrasts",
    "exclamations",
    "questions",
    "length",
    "silence",
)


def count_words(reading: Reading) -> NDArray[np.float64]:
    """The numbers named in NAMES, each within about -3 to 3."""
    hits = reading.hits
    praise = sum(hit.weight for hit in hits if hit.weight > 0)
    blame = -sum(hit.weight for hit in hits if hit.weight < 0)
    weights = [hit.weight for hit in hits] or [0.0]
    return np.array(
        [
            math.log1p(praise),
            math.log1p(blame),
            (praise - blame) / (praise + blame + 1.5),
            math.tanh((praise - blame) / 6),
            _sum_of(hits, hits[0].sentence if hits else -1),
            _sum_of(hits, hits[-1].sentence if hits else -1),
            math.tanh(sum(hit.weight for hit in hits if hit.after) / 3),
            max(*weights, 0.0) / 4,
            min(*weights, 0.0) / 4,
            min(3, sum(weight >= 2.5 for weight in weights)) / 3,
            min(3, sum(weight <= -2.5 for weight in weights)) / 3,
            math.log1p(reading.negations),
            math.log1p(reading.wishes),
            min(3, reading.contrasts) / 3,
            min(3, reading.exclamations) / 3,
            min(3, reading.questions) / 3,
            math.log1p(reading.words) / 3,
            float(not hits),
        ]
    )


def _sum_of(hits: tuple[Hit, ...], sentence: int) -> float:
    return math.tanh(sum(hit.weight for hit in hits if hit.sentence == sentence) / 3)
