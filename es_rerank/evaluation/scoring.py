"""Measure runs: a value per query where there is one, one for all queries where there is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from es_rerank.datasets.judgments import Judgments
from es_rerank.errors import ConfigError
from es_rerank.evaluation import variety
from es_rerank.evaluation.compare import CONFIDENCE, SEED, Comparison, bootstrap_interval, compare
from es_rerank.evaluation.documents import Documents
from es_rerank.evaluation.measures import (
    MAX_RATING,
    binary_by_query,
    distinct,
    ild,
    ndcg,
    ndcg_by_query,
    rated_only,
    subtopics_by_query,
    with_positive,
)
from es_rerank.evaluation.naming import INTENTS, Measure

Rankings = Mapping[str, Sequence[str]]
Values = Mapping[str, float]
Unrated = Literal["zero", "leave-out"]
Gain = Literal["exponential", "linear"]
RESAMPLES = 2_000
"""Of measures that no query has by itself: each is worked out anew for every resample."""


@dataclass(frozen=True)
class Ground:
    """What rankings are measured by.

    relevant_from: the rating from which on a document is relevant. unrated: a document that nobody
    has rated counts as rated 0, or is taken out of the run. intent_fields: fields whose values
    stand for intents where no intents are judged.
    """

    documents: Documents
    judgments: Judgments | None = None
    unrated: Unrated = "zero"
    gain: Gain = "exponential"
    relevant_from: float = 1.0
    intent_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A measure of a run: its mean with the interval, and how it compares with the rival's.

    n: queries that have a value. against: None for the rival itself, and where nothing compares.
    """

    mean: float
    low: float
    high: float
    n: int
    against: Comparison | None = None


@dataclass(frozen=True)
class Scores:
    """by_query: run -> measure -> query id -> value. summaries: run -> measure -> Summary."""

    by_query: Mapping[str, Mapping[str, Values]]
    summaries: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)


def check_ratings(ground: Ground, measures: Sequence[Measure]) -> None:
    """Raise ConfigError for ratings that nDCG's exponential gain cannot take."""
    highest = (
        max((r for rated in ground.judgments.ratings.values() for r in rated.values()), default=0)
        if ground.judgments
        else 0
    )
    if (
        ground.gain == "exponential"
        and highest > MAX_RATING
        and any(measure.kind == "nDCG" for measure in measures)
    ):
        raise ConfigError(
            f"Ratings go up to {highest:g}, which look like gains: take them as they are with "
            "--gain linear, since 2^rating is the gain otherwise."
        )


def score_runs(
    runs: Mapping[str, Rankings], measures: Sequence[Measure], ground: Ground, rival: str
) -> Scores:
    """Measure every run, and compare each with the rival, one of them.

    Raises ConfigError without the extra `eval` where judgments are measured by.
    """
    by_query: dict[str, dict[str, Values]] = {name: {} for name in runs}
    summaries: dict[str, dict[str, Summary]] = {name: {} for name in runs}
    for measure in measures:
        if measure.kind == "Gini":
            for name, summary in _score_exposure(runs, measure, ground, rival).items():
                summaries[name][measure.name] = summary
            continue
        values = {
            name: score(measure, run, ground, runs, rival)
            for name, run in runs.items()
            if not (measure.kind == "overlap" and name == rival)
        }
        for name, found in values.items():
            by_query[name][measure.name] = found
            theirs = values.get(rival) if name != rival else None
            summed = summarise(found, theirs)
            if summed is not None:
                summaries[name][measure.name] = summed
    return Scores(by_query, summaries)


def summarise(values: Values, rival: Values | None = None) -> Summary | None:
    """The mean over the queries with a value; None where no query has one."""
    finite = [value for value in values.values() if math.isfinite(value)]
    if not finite:
        return None
    low, high = bootstrap_interval(finite)
    shared = rival is not None and any(
        math.isfinite(values[query]) and math.isfinite(rival.get(query, math.nan))
        for query in values
    )
    against = compare(values, rival) if shared and rival is not None else None
    return Summary(float(np.mean(finite)), low, high, len(finite), against)


def score(
    measure: Measure, run: Rankings, ground: Ground, runs: Mapping[str, Rankings], rival: str
) -> dict[str, float]:
    """One measure of one run by query."""
    if measure.needs_judgments:
        return _score_relevance(measure, run, ground)
    k = measure.k or 10
    if measure.kind == "ILD":
        vectors = ground.documents.vectors
        return {query: _ild(ranking, vectors, k) for query, ranking in run.items()}
    if measure.kind == "overlap":
        other = runs[rival]
        return {q: variety.overlap(ranking, other.get(q, ()), k) for q, ranking in run.items()}
    shown = {query: values_of(ranking, measure, ground) for query, ranking in run.items()}
    if measure.kind == "entropy":
        return {query: variety.entropy(values, k) for query, values in shown.items()}
    if measure.kind == "distinct":
        return {query: float(distinct(values, k)) for query, values in shown.items()}
    candidates = {
        query: [
            value
            for other in runs.values()
            for value in values_of(other.get(query, ()), measure, ground)
        ]
        for query in run
    }
    return {q: variety.coverage(values, candidates[q], k) for q, values in shown.items()}


def values_of(ranking: Sequence[str], measure: Measure, ground: Ground) -> list[str | None]:
    """The value of the measure's field at each place."""
    known, field_name = ground.documents.values, measure.field or ""
    return [known.get(document, {}).get(field_name) for document in ranking]


def _ild(ranking: Sequence[str], vectors: Mapping[str, NDArray[np.float32]], k: int) -> float:
    found = [vectors[document] for document in ranking[:k] if document in vectors]
    return ild(found, k) if len(found) > 1 else math.nan


def _score_relevance(measure: Measure, run: Rankings, ground: Ground) -> dict[str, float]:
    judgments = ground.judgments
    if judgments is None:
        raise ConfigError(f"{measure.name} needs judgments: name a file with --judgments")
    graded = {query: dict(rated) for query, rated in judgments.ratings.items() if query in run}
    if measure.kind == "Judged":
        k = measure.k or 10
        return {
            query: sum(document in graded[query] for document in run[query][:k])
            / max(len(run[query][:k]), 1)
            for query in graded
        }
    if ground.unrated == "leave-out":
        run = rated_only(run, {query: dict.fromkeys(rated, 1) for query, rated in graded.items()})
    if measure.kind == "nDCG":
        return _ndcg(graded, run, measure.k, ground.gain)
    least = ground.relevant_from
    relevant = {q: {d: int(r >= least) for d, r in rated.items()} for q, rated in graded.items()}
    if measure.kind in INTENTS:
        return subtopics_by_query(measure.kind, relevant, make_cover(ground), run, measure.k or 10)
    return binary_by_query(measure.name, relevant, run)


def _ndcg(
    graded: Mapping[str, Mapping[str, float]], run: Rankings, k: int | None, gain: Gain
) -> dict[str, float]:
    """nDCG by ir-measures where ratings are whole, else by our own, which agrees with it."""
    deepest = k or max((len(ranking) for ranking in run.values()), default=1) or 1
    whole = all(float(r).is_integer() for rated in graded.values() for r in rated.values())
    if gain == "exponential" and whole:
        grades = {q: {d: int(r) for d, r in rated.items()} for q, rated in graded.items()}
        return ndcg_by_query(grades, run, deepest)
    if gain == "linear":  # our own takes the gain 2^r - 1, so r must be such that this is the gain
        graded = {q: {d: math.log2(r + 1) for d, r in rated.items()} for q, rated in graded.items()}
    positive = [query for query, rated in graded.items() if any(r > 0 for r in rated.values())]
    return {query: ndcg(run.get(query, ()), graded[query], deepest) for query in positive}


def make_cover(ground: Ground) -> Callable[[str, str], Sequence[str]]:
    """Which intents a document serves for a query: the judged ones, else its values."""
    judged = ground.judgments.subtopics if ground.judgments else {}
    values, names = ground.documents.values, ground.intent_fields

    def cover(query: str, document: str) -> Sequence[str]:
        if judged:
            return judged.get(query, {}).get(document, ())
        found = values.get(document, {})
        return [f"{name}:{found[name]}" for name in names if name in found]

    return cover


def has_intents(ground: Ground) -> bool:
    """Whether measures of intents mean anything: some document serves one."""
    if ground.judgments is None:
        return False
    if ground.judgments.subtopics:
        return True
    return bool(ground.intent_fields) and bool(with_positive(ground.judgments.ratings))  # type: ignore[arg-type]


def _score_exposure(
    runs: Mapping[str, Rankings], measure: Measure, ground: Ground, rival: str
) -> dict[str, Summary]:
    """Gini of exposure over all queries, with the bootstrap over queries.

    Owners are all that any run found at any depth, so that one who is never shown counts.
    """
    k = measure.k or 10
    shown = {
        name: {query: values_of(ranking, measure, ground) for query, ranking in run.items()}
        for name, run in runs.items()
    }
    found = (o for run in shown.values() for values in run.values() for o in values)
    owners = sorted({owner for owner in found if owner is not None})
    queries = list(runs[rival])
    if not owners or not queries:
        return {}
    seen = {
        name: variety.exposure({query: run.get(query, []) for query in queries}, owners, k)
        for name, run in shown.items()
    }
    draws = np.random.default_rng(SEED).integers(0, len(queries), (RESAMPLES, len(queries)))
    counts = np.zeros((RESAMPLES, len(queries)))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], draws), 1)
    values = {name: float(variety.gini(one.sum(axis=0))) for name, one in seen.items()}
    samples = {name: variety.gini(counts @ one) for name, one in seen.items()}
    summaries = {}
    for name in seen:
        if not math.isfinite(values[name]):
            continue
        low, high = _quantiles(samples[name])
        against = None
        if name != rival and math.isfinite(values[rival]):
            differences = samples[name] - samples[rival]
            below, above = _quantiles(differences)
            sign = min(float(np.mean(differences <= 0)), float(np.mean(differences >= 0)))
            against = Comparison(
                len(queries),
                values[name],
                values[rival],
                values[name] - values[rival],
                below,
                above,
                min(1.0, 2 * sign + 1 / RESAMPLES),
            )
        summaries[name] = Summary(values[name], low, high, len(queries), against)
    return summaries


def _quantiles(samples: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)
