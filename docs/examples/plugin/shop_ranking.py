"""A signal, a scorer, a diversifier and an enricher for es-rerank, as a package of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import Document, read_text
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.diversity.kernel import Kernel

Floats = NDArray[np.float64]


class Freshness:
    """Signal: 1 for a product released today, .5 after `half_life_days`, and so on."""

    name = "freshness"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.fields: tuple[str, ...] = (options.get("field", "date_released"),)
        self._half_life = float(options.get("half_life_days", 365))

    def score(self, query: str | None, candidates: Candidates) -> Floats:
        now = datetime.now(UTC)
        scores = np.full(len(candidates), np.nan)  # nothing known: it does not count there
        for i, dates in enumerate(candidates.values[self.fields[0]]):
            try:
                released = datetime.fromisoformat(str(dates[0]))
            except (IndexError, ValueError):
                continue
            if released.tzinfo is None:
                released = released.replace(tzinfo=UTC)
            age = max((now - released).total_seconds() / 86_400, 0.0)
            scores[i] = 0.5 ** (age / self._half_life)
        return scores


class Overlap:
    """Scorer: the share of the query's words that a text holds; NaN for a hit without text."""

    name = "overlap"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._at_least = int(options.get("shortest_word", 1))

    def score(self, query: str, candidates: Candidates) -> Floats:
        words = {word for word in query.casefold().split() if len(word) >= self._at_least}
        return np.array(
            [
                np.nan
                if not text
                else len(words & set(text.casefold().split())) / max(len(words), 1)
                for text in candidates.texts
            ]
        )

    def unknown_share(self, query: str) -> float:
        return 0.0  # it has no vocabulary that a query could lie outside of


def make_mmr(options: Mapping[str, Any]) -> Callable[[Floats, Kernel, float], NDArray[np.int64]]:
    """Diversifier: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

    def mmr(relevance: Floats, kernel: Kernel, diversity: float) -> NDArray[np.int64]:
        nearest = np.zeros(kernel.size)  # similarity to the most similar candidate chosen so far
        left = np.ones(kernel.size, dtype=bool)
        order = []
        for _ in range(kernel.size):
            gain = (1 - diversity) * relevance - diversity * nearest
            best = int(np.argmax(np.where(left, gain, -np.inf)))
            order.append(best)
            left[best] = False
            nearest = np.maximum(nearest, kernel.row(best))
        return np.array(order, dtype=np.int64)

    return mmr


class TitleLength:
    """Enricher: the title's length in characters, as `es_rerank.title_length`."""

    name = "length"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._field = options.get("field", "title")

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        return [
            {"title_length": len(read_text(document.source, self._field))} for document in documents
        ]
