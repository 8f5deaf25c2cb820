"""Relevance: a query and the candidates in, one score per candidate out."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates

Scores = NDArray[np.float64]


class TextEncoder(Protocol):
    """What embeds texts as unit vectors: models.embedder.Embedder, for one."""

    name: str
    dimensions: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def unknown_share(self, text: str) -> float: ...


class PairModel(Protocol):
    """What reads query and text together: a cross-encoder here, or one behind HTTP."""

    name: str

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]: ...

    def unknown_share(self, text: str) -> float: ...


class Scorer(Protocol):
    """Scores candidates for a query.

    `score` returns (n,) float64, the higher the better, with NaN for a candidate that cannot be
    scored (no text). It may raise: the caller then keeps the engine's order.
    """

    @property
    def name(self) -> str: ...

    def score(self, query: str, candidates: Candidates) -> Scores: ...

    def unknown_share(self, query: str) -> float: ...


class VectorCache:
    """Vectors of texts by content, least recently used out first. Bounded in rows; thread-safe."""

    def __init__(self, encoder: TextEncoder, max_rows: int = 20_000) -> None:
        self.encoder = encoder
        self._max_rows = max_rows
        self._rows: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, (n, d) unit rows, encoding only those not seen lately."""
        keys = [
            hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
            for text in texts
        ]
        with self._lock:
            known = {key: self._rows[key] for key in keys if key in self._rows}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = self.encoder.encode(list(missing.values()))
            # Copies: a row that is a view would keep its whole batch in memory.
            known.update((key, row.copy()) for key, row in zip(missing, fresh, strict=True))
        with self._lock:
            for key in keys:
                self._rows[key] = known[key]
                self._rows.move_to_end(key)
            while len(self._rows) > self._max_rows:
                self._rows.popitem(last=False)
        return (
            np.stack([known[key] for key in keys])
            if keys
            else np.zeros((0, self.encoder.dimensions), np.float32)
        )


def fill_vectors(candidates: Candidates, cache: VectorCache) -> Candidates:
    """Give every candidate that has a text but no stored vector one, embedded on the fly."""
    n = len(candidates)
    vectors = np.zeros((n, cache.encoder.dimensions), np.float32)
    present = np.zeros(n, np.bool_)
    stored = candidates.vectors
    if stored is not None and stored.shape[1] == vectors.shape[1]:
        vectors[:] = stored
        present[:] = True if candidates.has_vector is None else candidates.has_vector
    rows = [i for i, text in enumerate(candidates.texts) if text and not present[i]]
    if rows:
        vectors[rows] = cache.encode([candidates.texts[i] or "" for i in rows])
        present[rows] = True
    return replace(candidates, vectors=vectors, has_vector=present)


@dataclass(frozen=True)
class BiEncoderScorer:
    """Cosine between the query's vector and the documents'."""

    cache: VectorCache

    @property
    def name(self) -> str:
        return self.cache.encoder.name

    def score(self, query: str, candidates: Candidates) -> Scores:
        filled = fill_vectors(candidates, self.cache)
        if filled.vectors is None or filled.has_vector is None:
            raise ValueError("fill_vectors leaves no candidate without an answer")
        scores: Scores = (filled.vectors @ self.cache.encode([query])[0]).astype(np.float64)
        scores[~filled.has_vector] = np.nan
        return scores

    def unknown_share(self, query: str) -> float:
        return self.cache.encoder.unknown_share(query)


@dataclass(frozen=True)
class PairScorer:
    """A cross-encoder's score of query and text read together, local or remote."""

    model: PairModel

    @property
    def name(self) -> str:
        return self.model.name

    def score(self, query: str, candidates: Candidates) -> Scores:
        scores = np.full(len(candidates), np.nan)
        rows = [i for i, text in enumerate(candidates.texts) if text]
        if rows:
            scores[rows] = self.model.score_pairs(query, [candidates.texts[i] or "" for i in rows])
        return scores

    def unknown_share(self, query: str) -> float:
        return self.model.unknown_share(query)
