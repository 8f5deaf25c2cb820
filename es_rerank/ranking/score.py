"""Relevance: a query and the candidates in, one score per candidate out."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.models.runtime import hash_text
from es_rerank.ranking.candidate import Candidates

Scores = NDArray[np.float64]
MAX_SHARES = 2000
"""Texts whose share of unknown words is kept: finding out may take another process."""
KEY_BYTES = 300
"""What a kept vector takes beside its numbers, about."""
ENOUGH_TO_TIME = 8
"""Texts in one call from which its speed says something."""


class TextEncoder(Protocol):
    """What embeds texts as unit vectors: models.embedder.Embedder, for one."""

    name: str
    dimensions: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def unknown_share(self, text: str) -> float: ...


@dataclass(frozen=True)
class Limits:
    """What a pair model takes.

    calls: how many at one time, from several threads. texts: in one call at most; None for any.
    tokens: of one pair at most. whole: a call takes a list whole and is over in time by itself, its
    scores NaN where there was none left, as one that is passed on to another process.
    """

    calls: int = 1
    texts: int | None = None
    tokens: int = 512
    whole: bool = False


class PairModel(Protocol):
    """What reads query and text together: a cross-encoder here, or one behind HTTP.

    It may have `limits`, see Limits, and `identity`: a text that is another one whenever scores
    may be, by which scores are kept.
    """

    name: str

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]: ...

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]: ...

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


@runtime_checkable
class BatchScorer(Scorer, Protocol):
    """Scores several queries, each with its own candidates, in one go.

    `score_all` returns one (n,) array per query, or the error that befell that query alone.
    """

    def score_all(
        self, queries: Sequence[str], candidates: Sequence[Candidates]
    ) -> list[Scores | Exception]: ...


def score_all(
    scorer: Scorer, queries: Sequence[str], candidates: Sequence[Candidates]
) -> list[Scores | Exception]:
    """Score each query's candidates: together where the scorer can, else one after the other.

    What fails for all of them at once is every query's error. Scores that are none, by
    `check_scores`, are an error too.
    """
    if not queries:
        return []
    together: list[Scores | Exception] | None = None
    try:
        if isinstance(scorer, BatchScorer):
            together = scorer.score_all(queries, candidates)
    except Exception as error:
        return [error] * len(queries)
    scores: list[Scores | Exception] = []
    for i, (query, own) in enumerate(zip(queries, candidates, strict=True)):
        try:
            found = scorer.score(query, own) if together is None else together[i]
            scores.append(found if isinstance(found, Exception) else check_scores(found, own))
        except Exception as error:
            scores.append(error)
    return scores


class ScoreError(Exception):
    """A scorer returned what are no scores."""


def check_scores(scores: Scores, candidates: Candidates) -> Scores:
    """Return (n,) float64 as a scorer must give them.

    Raises ScoreError for another shape, for infinite scores, and where not one candidate was scored
    although there are texts: NaN says that a candidate cannot be scored, not that a model is ill.
    """
    found = np.asarray(scores, np.float64)
    if found.shape != (len(candidates),):
        raise ScoreError(f"scores of shape {found.shape} for {len(candidates)} candidates")
    if np.isinf(found).any():
        raise ScoreError("a score is infinite")
    if np.isnan(found).all() and any(candidates.texts):
        raise ScoreError("no candidate was scored")
    return found


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
        hits = sum(key in known for key in keys)
        telemetry.count_lookups("vector", hits, len(keys) - hits)
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
            row_bytes = 4 * self.encoder.dimensions + KEY_BYTES
            telemetry.CACHE_BYTES.labels("vector").set(len(self._rows) * row_bytes)
        if not keys:
            return np.zeros((0, self.encoder.dimensions), np.float32)
        return np.stack([known[key] for key in keys])

    def find(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors that are kept, by text."""
        keys = {text: hash_text(text) for text in texts}
        with self._lock:
            return {text: self._rows[key] for text, key in keys.items() if key in self._rows}

    @property
    def seconds_per_text(self) -> float:
        """How long embedding one text takes here; 0 until that is known."""
        return self._seconds_per_text

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


def fill_vectors(
    candidates: Candidates, cache: VectorCache, budget_s: float | None = None
) -> Candidates:
    """Give every candidate that has a text but no stored vector one, embedded on the fly.

    Raises TooSlowError, before any work, when that would take longer than `budget_s`.
    """
    (filled,) = fill_all([candidates], cache, [budget_s])
    if isinstance(filled, TooSlowError):
        raise filled
    return filled


def fill_all(
    windows: Sequence[Candidates],
    cache: VectorCache,
    budgets_s: Sequence[float | None],
    queries: Sequence[str] = (),
) -> list[Candidates | TooSlowError]:
    """Fill several windows' vectors with one call of the encoder, which embeds `queries` as well.

    A window is left out, with TooSlowError, when it and those before it would take longer to embed
    than its budget.
    """
    filled: list[Candidates | TooSlowError] = []
    wanted: dict[str, None] = {}
    spent_s = 0.0
    for candidates, budget_s in zip(windows, budgets_s, strict=True):
        texts = [candidates.texts[i] or "" for i in rows_without_vector(candidates, cache)]
        fresh = [text for text in texts if text not in wanted]
        needed_s = spent_s + cache.estimate_s(fresh)
        if budget_s is not None and fresh and needed_s > budget_s:
            filled.append(TooSlowError(texts, needed_s))
            continue
        spent_s = needed_s
        wanted.update(dict.fromkeys(fresh))
        filled.append(candidates)
    wanted.update(dict.fromkeys(queries))
    if not wanted:
        rows: dict[str, NDArray[np.float32]] = {}
    else:
        rows = dict(zip(wanted, cache.encode(list(wanted)), strict=True))
    return [
        window if isinstance(window, TooSlowError) else put_vectors(window, cache, rows)
        for window in filled
    ]


def fill_known(candidates: Candidates, cache: VectorCache) -> Candidates:
    """Give candidates the vectors that are kept already, and leave the others without."""
    missing = rows_without_vector(candidates, cache)
    known = cache.find([candidates.texts[i] or "" for i in missing])
    return put_vectors(candidates, cache, known)


def rows_without_vector(candidates: Candidates, cache: VectorCache) -> list[int]:
    """Which candidates have a text, but no stored vector of the encoder's length."""
    stored = candidates.vectors
    if stored is None or stored.shape[1] != cache.encoder.dimensions:
        return [i for i, text in enumerate(candidates.texts) if text]
    if candidates.has_vector is None:
        return []
    return [i for i, text in enumerate(candidates.texts) if text and not candidates.has_vector[i]]


def put_vectors(
    candidates: Candidates, cache: VectorCache, rows: Mapping[str, NDArray[np.float32]]
) -> Candidates:
    """The candidates with their stored vectors, and those of `rows` by text where there are any."""
    n = len(candidates)
    vectors = np.zeros((n, cache.encoder.dimensions), np.float32)
    present = np.zeros(n, np.bool_)
    stored = candidates.vectors
    if stored is not None and stored.shape[1] == vectors.shape[1]:
        vectors[:] = stored
        present[:] = True if candidates.has_vector is None else candidates.has_vector
    for i in rows_without_vector(candidates, cache):
        if (row := rows.get(candidates.texts[i] or "")) is not None:
            vectors[i] = row
            present[i] = True
    return replace(candidates, vectors=vectors, has_vector=present)


def compare(query: NDArray[np.float32], candidates: Candidates) -> Scores | None:
    """Cosines of a query's vector (d,) with the documents', (n,), NaN for one without a vector.

    None where no document has one of that length.
    """
    vectors, known = candidates.vectors, candidates.has_vector
    if vectors is None or vectors.shape[1] != len(query):
        return None
    if known is not None and not known.any():
        return None
    cosines: Scores = (vectors @ query).astype(np.float64)
    if known is not None:
        cosines[~known] = np.nan
    return cosines


def compare_known(query: NDArray[np.float32], candidates: Candidates) -> Scores | None:
    """As `compare`, but a document without a vector gets the mean of the others', so that it is
    neither raised nor lowered."""
    cosines, known = compare(query, candidates), candidates.has_vector
    if cosines is not None and known is not None and not known.all():
        cosines[~known] = cosines[known].mean()
    return cosines


@dataclass(frozen=True)
class BiEncoderScorer:
    """Cosine between the query's vector and the documents'."""

    cache: VectorCache

    @property
    def name(self) -> str:
        return self.cache.encoder.name

    def score(self, query: str, candidates: Candidates) -> Scores:
        return self._compare(candidates, self.cache.encode([query])[0])

    def score_all(
        self, queries: Sequence[str], candidates: Sequence[Candidates]
    ) -> list[Scores | Exception]:
        vectors = self.cache.encode(queries)
        return [self._compare(own, row) for own, row in zip(candidates, vectors, strict=True)]

    def _compare(self, candidates: Candidates, query: NDArray[np.float32]) -> Scores:
        filled = fill_vectors(candidates, self.cache)
        if filled.vectors is None or filled.has_vector is None:
            raise ValueError("fill_vectors leaves no candidate without an answer")
        scores: Scores = (filled.vectors @ query).astype(np.float64)
        scores[~filled.has_vector] = np.nan
        return scores

    def unknown_share(self, query: str) -> float:
        return self.cache.encoder.unknown_share(query)


@dataclass(frozen=True)
class PairScorer:
    """A cross-encoder's score of query and text read together, local or remote.

    cosine_share: of the relevance, what the cosine of the plain vectors of query and document
    counts beside it, 0 to 1; the ranking mixes it in, which has the vectors.
    """

    model: PairModel
    cosine_share: float = 0.0
    shares: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.model.name

    def find_facets(self, query: str, texts: Sequence[str | None]) -> NDArray[np.float32] | None:
        """The facet vectors of texts that the model has read for the query, (n, e), zeros where
        there is no text; None from a model without, and where one of them is not kept."""
        find = getattr(self.model, "find_facets", None)
        return None if find is None else find(query, texts)

    def score(self, query: str, candidates: Candidates) -> Scores:
        (scores,) = self.score_all([query], [candidates])
        if isinstance(scores, Exception):
            raise scores
        return scores

    def score_all(
        self, queries: Sequence[str], candidates: Sequence[Candidates]
    ) -> list[Scores | Exception]:
        rows = [[i for i, text in enumerate(own.texts) if text] for own in candidates]
        asked = [k for k, own in enumerate(rows) if own]
        lists = [(queries[k], [candidates[k].texts[i] or "" for i in rows[k]]) for k in asked]
        all_scores: list[Scores | Exception] = [np.full(len(own), np.nan) for own in candidates]
        for k, answer in zip(asked, self.model.score_lists(lists) if lists else [], strict=True):
            if isinstance(answer, Exception):
                all_scores[k] = answer
            elif np.shape(answer) != (len(rows[k]),) or not np.isfinite(answer).all():
                all_scores[k] = ScoreError(f"the model gave no {len(rows[k])} finite scores")
            else:
                all_scores[k][rows[k]] = answer  # type: ignore[index]
        return all_scores

    def unknown_share(self, query: str) -> float:
        share = self.shares.get(query)
        if share is None:
            share = self.model.unknown_share(query)
            if len(self.shares) >= MAX_SHARES:
                self.shares.clear()
            self.shares[query] = share
        return share
