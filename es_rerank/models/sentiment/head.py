"""From a score to blame, neither, praise: an ordinal head (McCullagh, JRSS B 1980).

One score s and two cuts: P(blame) = sigmoid(low - s), P(praise) = sigmoid(s - high). So `neither`
lies between the two and takes nothing from the sign: polarity P(praise) - P(blame) turns where the
two are equal, halfway between the cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLAME, NEITHER, PRAISE = 0, 1, 2
CLASSES = ("negative", "neutral", "positive")


def spread(scores: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Scores (n,) as probabilities (n, 3) of blame, neither, praise. low <= high."""
    from scipy.special import expit

    blame, praise = expit(low - scores), expit(scores - high)
    return np.stack([blame, 1 - blame - praise, praise], axis=1)


def polarities(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(praise) - P(blame), (n,), -1 to 1."""
    difference: NDArray[np.float64] = probabilities[:, PRAISE] - probabilities[:, BLAME]
    return difference


@dataclass(frozen=True)
class WordHead:
    """Reads words of opinion (n, 18) and grams (n, SIZE). Its score is their weighted sum."""

    words: NDArray[np.float64]
    grams: NDArray[np.float64]
    bias: float
    low: float
    high: float

    def score(self, words: NDArray[np.float64], grams: Any) -> NDArray[np.float64]:
        """The scores, (n,)."""
        found: NDArray[np.float64] = words @ self.words + grams @ self.grams + self.bias
        return found
