"""A scorer that breaks in every way a scorer can, as a plugin."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates

HANG_S = 0.4
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: shaky-scorer\nVersion: 1\n",
    "entry_points.txt": "[es_rerank.scorers]\nshaky = tests.soak.shaky:Shaky\n",
}


class Shaky:
    """Scores by shared words; one call in twenty raises, hangs, or returns what is no score."""

    name = "shaky"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._random = random.Random(7)

    def unknown_share(self, query: str) -> float:
        return 0.0

    def score(self, query: str, candidates: Candidates) -> NDArray[np.float64]:
        words = set(query.split())
        scores = np.array([len(words.intersection((t or "").split())) for t in candidates.texts])
        drawn = self._random.random()
        if drawn < 0.01:
            raise RuntimeError("the model is broken")
        if drawn < 0.015:
            time.sleep(HANG_S)
        elif drawn < 0.03:
            return np.full(len(candidates), np.nan)
        elif drawn < 0.04:
            return scores[1:].astype(np.float64)
        elif drawn < 0.05:
            return np.where(scores > 0, np.inf, scores.astype(np.float64))
        return scores.astype(np.float64)


def install(folder: Path) -> None:
    """Write the metadata that makes it a plugin; the folder and the repository be on the path."""
    made = folder / "shaky_scorer-1.dist-info"
    made.mkdir()
    for name, text in METADATA.items():
        (made / name).write_text(text)
