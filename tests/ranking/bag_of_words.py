"""A small real embedding, without torch: hashed bags of words, and word overlap as pair score."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5

import numpy as np
from numpy.typing import NDArray


class BagOfWords:
    """Counts words in hashed buckets; unit rows. Words with a non-Latin letter are unknown."""

    name = "bag-of-words"

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        rows = np.full((len(texts), self.dimensions), 1e-3, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[int(md5(word.encode()).hexdigest(), 16) % self.dimensions] += 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def unknown_share(self, text: str) -> float:
        words = text.split()
        return sum(not word.isascii() for word in words) / len(words) if words else 0.0


class WordOverlap:
    """Scores a pair by the share of the query's words that the text has."""

    name = "word-overlap"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        self.asked.append((query, list(texts)))
        words = set(query.split())
        return np.array([len(words & set(text.split())) / max(len(words), 1) for text in texts])

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        return [self.score_pairs(query, texts) for query, texts in lists]

    def unknown_share(self, text: str) -> float:
        return BagOfWords().unknown_share(text)
