"""The ranking of one rank window: score, blend, diversify, crowd."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.blend import Weights, blend, mix
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.crowding import Cap, crowd
from es_rerank.ranking.diversity.adaptive import measure_openness
from es_rerank.ranking.diversity.dpp import greedy_map
from es_rerank.ranking.diversity.kernel import Kernel, KernelWeights, build_kernel
from es_rerank.ranking.explain import Course, Step
from es_rerank.ranking.score import (
    BiEncoderScorer,
    PairScorer,
    Scorer,
    TooSlowError,
    VectorCache,
    compare_known,
    fill_all,
    fill_known,
    score_all,
)

UNKNOWN_LIMIT = 0.3
"""Share of unknown tokens above which the model's opinion is not asked."""
SAMPLED_TEXTS, SAMPLED_CHARS = 8, 200
"""Of so many texts the beginning stands for a window's language."""
EMBEDDING_SHARE = 0.25
"""Of a search's time, what embedding for diversity may take from a model that reads the texts."""

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
    """What the operator and the request ask for.

    method: the diversifier's name. adaptive: whether diversity follows how much a search leaves
    open. unasked: whether nobody asked for diversity but the settings: a window in a language that
    the model does not know then keeps the engine's order.
    """

    weights: Weights = field(default_factory=Weights)
    diversity: float = 0.05
    kernel: KernelWeights = field(default_factory=KernelWeights)
    crowding: tuple[Cap, ...] = ()
    min_score: float | None = None
    signals: tuple[tuple[Signal, float], ...] = ()
    unknown_limit: float = UNKNOWN_LIMIT
    diversifier: Diversifier = greedy_map
    method: str = "dpp"
    adaptive: bool = False
    unasked: bool = False


@dataclass(frozen=True)
class Ranking:
    """The order of the window, and how it came about.

    order: (n,) positions of the engine's order. blended: (n,) in 0..1, by engine position.
    relevance: (n,) model scores with NaN where unscored, or None when no model was asked.
    notes: what was left out, and why (`no-query-text`, `language`).
    stages: seconds by stage. signals: (n,) by the signal's name. scored: how many texts the model
    read in time, and of how many, where that is not all. unembedded: texts without a stored vector
    that there was no time to embed. dropped: how many at the order's end are left out of the list.
    course: what the steps did.
    """

    order: NDArray[np.int64]
    blended: NDArray[np.float64]
    relevance: NDArray[np.float64] | None
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    signals: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    scored: tuple[int, int] | None = None
    unembedded: Sequence[str] = ()
    dropped: int = 0
    course: Course | None = None


@dataclass(frozen=True)
class Window:
    """One search's window, to be ranked. budget_s: seconds that embedding its texts may take."""

    query: str | None
    candidates: Candidates
    options: RankingOptions
    budget_s: float | None = None


@dataclass
class Judged:
    """A window under way: whether the model is asked, what was left out, what came of it.

    late: (n,) bool, which texts the model had no time for; None where it read all. cosine: (n,)
    the vectors' cosines with the query, for a model that counts on them. reader: the scorer that
    was asked, where it reads texts. unread: how many texts there were where it had time for none,
    and the cosine alone is the relevance.
    """

    window: Window
    asked: bool
    notes: list[str]
    candidates: Candidates
    relevance: NDArray[np.float64] | None = None
    failed: Exception | None = None
    late: NDArray[np.bool_] | None = None
    unembedded: Sequence[str] = ()
    cosine: NDArray[np.float64] | None = None
    reader: PairScorer | None = None
    unread: int = 0
    began: float = field(default_factory=time.perf_counter)


def rank(
    query: str | None,
    candidates: Candidates,
    options: RankingOptions,
    scorer: Scorer,
    vectors: VectorCache | None = None,
    budget_s: float | None = None,
) -> Ranking:
    """Rank a window. Returns an order that is a permutation of 0..n-1.

    Without query text, or when the model's tokenizer does not know the query's words or the texts',
    the model is not asked: the first-stage order and diversity remain. A candidate without text
    keeps the place the engine gave it. `vectors` embeds documents that carry no stored vector, for
    the kernel; not so when words are unknown. Raises TooSlowError when embedding them would take
    longer than `budget_s`.
    """
    (ranking,) = rank_all([Window(query, candidates, options, budget_s)], scorer, vectors)
    if isinstance(ranking, Exception):
        raise ranking
    return ranking


def rank_all(
    windows: Sequence[Window], scorer: Scorer, vectors: VectorCache | None = None
) -> list[Ranking | Exception]:
    """Rank several windows as `rank` does each, with one batch of texts for the model.

    Returns a ranking for each window, or the error that befell it; others are not touched by it.
    """
    judged = prepare(windows, scorer, vectors)
    asked = [each for each in judged if each.asked and each.failed is None]
    scores = score_all(
        scorer, [each.window.query or "" for each in asked], [each.candidates for each in asked]
    )
    for each, result in zip(asked, scores, strict=True):
        if isinstance(result, Exception):
            each.failed = result
        else:
            each.relevance = result
    return finish(judged)


def prepare(
    windows: Sequence[Window], scorer: Scorer, vectors: VectorCache | None = None
) -> list[Judged]:
    """Judge windows and embed what that takes: all that comes before the model reads texts."""
    judged = [judge(window, scorer) for window in windows]
    if vectors is not None:
        embed(judged, scorer, vectors)
    if isinstance(scorer, PairScorer):
        for each in judged:
            each.reader = scorer if each.asked else None
            if each.asked and each.failed is None and vectors is not None and scorer.cosine_share:
                row = vectors.encode([each.window.query or ""])[0]
                each.cosine = compare_known(row, each.candidates)
    return judged


def finish(judged: Sequence[Judged]) -> list[Ranking | Exception]:
    """Rank windows whose relevance is known by now, or say for each what befell it."""
    rankings: list[Ranking | Exception] = []
    for each in judged:
        try:
            rankings.append(each.failed or arrange(each))
        except Exception as error:
            rankings.append(error)
    return rankings


def judge(window: Window, scorer: Scorer) -> Judged:
    """Decide whether the model is asked about a window."""
    query = window.query
    if not query:
        return Judged(window, False, ["no-query-text"], window.candidates)
    limit, asked = window.options.unknown_limit, window.options.weights.relevance > 0
    if scorer.unknown_share(query) > limit:
        return Judged(window, False, ["language"], window.candidates)
    # Vectors that are stored may come from a model that knows the texts: only readers are asked.
    if asked and not isinstance(scorer, BiEncoderScorer):
        sample = sample_texts(window.candidates.texts)
        if sample and scorer.unknown_share(sample) > limit:
            return Judged(window, False, ["language"], window.candidates)
    return Judged(window, asked, [], window.candidates)


def sample_texts(texts: Sequence[str | None]) -> str:
    """The beginnings of some texts, from all over the window, as one text."""
    some = [text for text in texts if text]
    step = -(-len(some) // SAMPLED_TEXTS) or 1
    return " ".join(text[:SAMPLED_CHARS] for text in some[::step])


def embed(judged: Sequence[Judged], scorer: Scorer, vectors: VectorCache) -> None:
    """Embed what carries no stored vector, and the queries where vectors are what is compared."""
    compares = isinstance(scorer, BiEncoderScorer)
    adds = isinstance(scorer, PairScorer) and scorer.cosine_share > 0
    needing = [
        each
        for each in judged
        if "language" not in each.notes
        and (
            (each.asked and (compares or adds))
            or (each.window.options.diversity > 0 and each.window.options.kernel.vector > 0)
        )
    ]
    queries = [each.window.query or "" for each in needing if each.asked and (compares or adds)]
    try:
        filled = fill_all(
            [each.candidates for each in needing],
            vectors,
            [share_budget(each, compares) for each in needing],
            queries,
        )
    except Exception as error:
        for each in needing:
            each.failed = error
        return
    for each, result in zip(needing, filled, strict=True):
        if not isinstance(result, TooSlowError):
            each.candidates = result
        elif each.asked and compares:
            each.failed = result
        else:
            # Vectors are for diversity alone here: a search that the model can rank goes on.
            each.unembedded = result.texts
            each.notes.append("vectors-later")
            each.candidates = fill_known(each.candidates, vectors)


def share_budget(judged: Judged, compares: bool) -> float | None:
    """Seconds that embedding may take: all there are where it is vectors that are compared."""
    budget_s = judged.window.budget_s
    if budget_s is None or compares or not judged.asked:
        return budget_s
    return EMBEDDING_SHARE * budget_s


def arrange(judged: Judged) -> Ranking:
    """Blend, diversify and crowd one window that was scored.

    What the model had no time for follows what it read: by the engine's score and the cosine where
    the model counts on that, else in the engine's order.
    """
    candidates, options, relevance = judged.candidates, judged.window.options, judged.relevance
    notes, query = list(judged.notes), judged.window.query
    if options.unasked and "language" in notes:
        options = replace(options, diversity=0.0)
    reader, cosine = judged.reader, judged.cosine
    if relevance is not None and reader is not None and not judged.unread:
        if cosine is not None:
            relevance = mix(relevance, cosine, reader.cosine_share)
        if options.diversity > 0 and options.kernel.facets > 0:
            facets = reader.find_facets(query or "", candidates.texts)
            candidates = replace(candidates, facets=facets)
    signals = {signal.name: signal.score(query, candidates) for signal, _ in options.signals}
    blended = blend(
        candidates.first_stage,
        relevance,
        options.weights,
        [(signals[signal.name], weight) for signal, weight in options.signals],
    )
    blended_at = time.perf_counter()
    n = len(candidates)
    late = np.zeros(n, np.bool_) if judged.late is None else judged.late
    read = np.flatnonzero(~late)
    course = order_window(query, candidates.take(read), blended[read], options, notes)
    order = course.order
    scored = (0, judged.unread) if judged.unread else None
    if late.any():
        unread = np.flatnonzero(late)
        if cosine is not None:
            promise = blend(candidates.first_stage, cosine, options.weights)
            unread = unread[np.argsort(-promise[unread], kind="stable")]
        course = course.widen(read, unread)
        order = course.order
        texts = sum(1 for text in candidates.texts if text)
        scored = (texts - int(late.sum()), texts)
    order, dropped = crowd(order, candidates.attributes, options.crowding)
    steps = [Step("crowding", order)] if options.crowding else []
    if relevance is not None and (unscored := np.isnan(relevance) & ~late).any():
        gone = np.isin(np.arange(n), order[n - dropped :])
        order = keep_places(order, unscored)
        order = np.concatenate([order[~gone[order]], order[gone[order]]])
        steps.append(Step("having no text to judge: it stays", order))
    stages = {
        "score": blended_at - judged.began,
        "diversify": time.perf_counter() - blended_at,
    }
    return Ranking(
        order,
        blended,
        relevance,
        tuple(notes),
        stages,
        signals,
        scored,
        judged.unembedded,
        dropped,
        replace(course, steps=(*course.steps, *steps), candidates=candidates),
    )


def order_window(
    query: str | None,
    candidates: Candidates,
    blended: NDArray[np.float64],
    options: RankingOptions,
    notes: list[str],
) -> Course:
    """Order (n,) candidates by blended score and diversity, those below `min_score` last."""
    n = len(candidates)
    order = np.argsort(-blended, kind="stable").astype(np.int64)
    steps = [Step("the engine", np.arange(n)), Step("relevance", order)]
    kernel, strength, openness = None, options.diversity, None
    if strength > 0:
        kernel = build_kernel(
            n,
            candidates.vectors,
            candidates.has_vector,
            candidates.attributes,
            options.kernel,
            candidates.facets,
        )
        if kernel is None:
            notes.append("nothing-to-diversify-by")
        else:
            if options.adaptive:
                openness = measure_openness(query, blended, kernel)
                strength = min(strength * openness, 1.0)
            order = options.diversifier(blended, kernel, strength)
            if not np.array_equal(np.sort(order), np.arange(n)):
                raise ValueError("the diversifier's order is no permutation of the candidates")
            steps.append(Step("diversity", order))
    if options.min_score is not None:
        low = blended[order] < options.min_score
        order = np.concatenate([order[~low], order[low]])
        steps.append(Step("min_score", order))
    return Course(
        tuple(steps), candidates, options.crowding, options.method, strength, openness, kernel
    )


def keep_places(order: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Put the `kept` candidates, (n,) bool, back at their own positions, the others around them."""
    if not kept.any():
        return order
    result = np.empty_like(order)
    places = np.arange(len(order))
    result[kept] = places[kept]
    result[~kept] = order[~kept[order]]
    return result
