"""The ranking of one rank window: score, blend, diversify, crowd."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.blend import Weights, blend
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.crowding import Cap, demote
from es_rerank.ranking.diversify import Kernel, KernelWeights, build_kernel, greedy_map
from es_rerank.ranking.score import BiEncoderScorer, Scorer, VectorCache, fill_vectors

UNKNOWN_LIMIT = 0.3
"""Share of unknown tokens in the query above which the model's opinion is not asked."""


Order = NDArray[np.int64]
Diversifier = Callable[[NDArray[np.float64], Kernel, float], Order]
"""Orders n candidates: (n,) blended scores in 0..1, their kernel, diversity in 0..1 -> (n,)
positions, a permutation. `greedy_map` is one."""


class Signal(Protocol):
    """A number for each candidate that counts in the blend.

    fields: paths in `_source` whose values it finds in `candidates.values`.
    """

    @property
    def name(self) -> str: ...

    @property
    def fields(self) -> tuple[str, ...]: ...

    def score(self, query: str | None, candidates: Candidates) -> NDArray[np.float64]:
        """Return (n,) in 0..1, the higher the better, NaN where nothing is known."""


@dataclass(frozen=True)
class RankingOptions:
    """What the operator and the request ask for."""

    weights: Weights = field(default_factory=Weights)
    diversity: float = 0.05
    kernel: KernelWeights = field(default_factory=KernelWeights)
    crowding: tuple[Cap, ...] = ()
    min_score: float | None = None
    signals: tuple[tuple[Signal, float], ...] = ()
    diversifier: Diversifier = greedy_map


@dataclass(frozen=True)
class Ranking:
    """The order of the window, and how it came about.

    order: (n,) positions of the engine's order. blended: (n,) in 0..1, by engine position.
    relevance: (n,) model scores with NaN where unscored, or None when no model was asked.
    notes: what was left out, and why (`no-query-text`, `language`).
    stages: seconds by stage. signals: (n,) by the signal's name.
    """

    order: NDArray[np.int64]
    blended: NDArray[np.float64]
    relevance: NDArray[np.float64] | None
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    signals: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def rank(
    query: str | None,
    candidates: Candidates,
    options: RankingOptions,
    scorer: Scorer,
    vectors: VectorCache | None = None,
    budget_s: float | None = None,
) -> Ranking:
    """Rank a window. Returns an order that is a permutation of 0..n-1.

    Without query text, or when the model's tokenizer does not know the query's words, the model is
    not asked: the first-stage order and diversity remain. A candidate without text keeps the place
    the engine gave it. `vectors` embeds documents that carry no stored vector, for the kernel; not
    so when the query's words are unknown, since then the documents' are too. Raises TooSlowError
    when embedding them would take longer than `budget_s`.
    """
    notes: list[str] = []
    started = time.perf_counter()
    asked = False
    if not query:
        notes.append("no-query-text")
    elif scorer.unknown_share(query) > UNKNOWN_LIMIT:
        notes.append("language")
    elif options.weights.relevance > 0:
        asked = True
    for_kernel = options.diversity > 0 and options.kernel.vector > 0
    for_model = asked and isinstance(scorer, BiEncoderScorer)
    if vectors is not None and "language" not in notes and (for_kernel or for_model):
        candidates = fill_vectors(candidates, vectors, budget_s)
    relevance = scorer.score(query, candidates) if query and asked else None
    signals = {signal.name: signal.score(query, candidates) for signal, _ in options.signals}
    blended = blend(
        candidates.first_stage,
        relevance,
        options.weights,
        [(signals[signal.name], weight) for signal, weight in options.signals],
    )
    scored = time.perf_counter()
    order = np.argsort(-blended, kind="stable").astype(np.int64)
    if options.diversity > 0:
        kernel = build_kernel(
            len(candidates),
            candidates.vectors,
            candidates.has_vector,
            candidates.attributes,
            options.kernel,
        )
        if kernel is None:
            notes.append("nothing-to-diversify-by")
        else:
            order = options.diversifier(blended, kernel, options.diversity)
            if not np.array_equal(np.sort(order), np.arange(len(candidates))):
                raise ValueError("the diversifier's order is no permutation of the candidates")
    if options.min_score is not None:
        low = blended[order] < options.min_score
        order = np.concatenate([order[~low], order[low]])
    order = demote(order, candidates.attributes, options.crowding)
    if relevance is not None:
        order = keep_places(order, np.isnan(relevance))
    stages = {"score": scored - started, "diversify": time.perf_counter() - scored}
    return Ranking(order, blended, relevance, tuple(notes), stages, signals)


def keep_places(order: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Put the `kept` candidates, (n,) bool, back at their own positions, the others around them."""
    if not kept.any():
        return order
    result = np.empty_like(order)
    places = np.arange(len(order))
    result[kept] = places[kept]
    result[~kept] = order[~kept[order]]
    return result
