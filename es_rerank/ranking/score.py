"""Relevance: a query and the candidates in, one score per candidate out."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates

Scores = NDArray[np.float64]
ENOUGH_TO_TIME = 8
"""Texts in one call from which its speed says something."""


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


class TooSlowError(Exception):
    """Embedding what carries no stored vector would take longer than there is time."""

    def __init__(self, texts: Sequence[str], seconds: float) -> None:
        super().__init__(f"{len(texts)} texts would take about {seconds:.1f} s to embed")
        self.texts = list(texts)
        self.seconds = seconds


class VectorCache:
    """Vectors of texts by content, least recently used out first. Bounded in rows; thread-safe."""

    def __init__(self, encoder: TextEncoder, max_rows: int = 20_000) -> None:
        self.encoder = encoder
        self._max_rows = max_rows
        self._rows: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()
        self._seconds_per_text = 0.0  # not known yet

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, (n, d) unit rows, encoding only those not seen lately."""
        keys = [hash_text(text) for text in texts]
        with self._lock:
            known = {key: self._rows[key] for key in keys if key in self._rows}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            began = time.perf_counter()
            fresh = self.encoder.encode(list(missing.values()))
            self._learn_speed(len(missing), time.perf_counter() - began)
            # Copies: a row that is a view would keep its whole batch in memory.
            known.update((key, row.copy()) for key, row in zip(missing, fresh, strict=True))
        with self._lock:
            for key in keys:
                self._rows[key] = known[key]
                self._rows.move_to_end(key)
            while len(self._rows) > self._max_rows:
                self._rows.popitem(last=False)
        if not keys:
            return np.zeros((0, self.encoder.dimensions), np.float32)
        return np.stack([known[key] for key in keys])

    def estimate_s(self, texts: Sequence[str]) -> float:
        """Seconds that embedding the texts not seen lately will take; 0 until a speed is known."""
        with self._lock:
            missing = {key for text in texts if (key := hash_text(text)) not in self._rows}
        return len(missing) * self._seconds_per_text

    def _learn_speed(self, count: int, seconds: float) -> None:
        if count >= ENOUGH_TO_TIME:
            now = seconds / count
            before = self._seconds_per_text
            self._seconds_per_text = (before + now) / 2 if before else now


def hash_text(text: str) -> bytes:
    """A text's key in the cache."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def fill_vectors(
    candidates: Candidates, cache: VectorCache, budget_s: float | None = None
) -> Candidates:
    """Give every candidate that has a text but no stored vector one, embedded on the fly.

    Raises TooSlowError, before any work, when that would take longer than `budget_s`.
    """
    n = len(candidates)
    vectors = np.zeros((n, cache.encoder.dimensions), np.float32)
    present = np.zeros(n, np.bool_)
    stored = candidates.vectors
    if stored is not None and stored.shape[1] == vectors.shape[1]:
        vectors[:] = stored
        present[:] = True if candidates.has_vector is None else candidates.has_vector
    rows = [i for i, text in enumerate(candidates.texts) if text and not present[i]]
    if rows:
        texts = [candidates.texts[i] or "" for i in rows]
        if budget_s is not None and (needed_s := cache.estimate_s(texts)) > budget_s:
            raise TooSlowError(texts, needed_s)
        vectors[rows] = cache.encode(texts)
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
