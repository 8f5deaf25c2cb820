"""Compare two runs query by query: the mean difference, its interval, and whether it is chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20
CHUNK_CELLS = 4_000_000  # resamples are drawn in parts, so that memory stays below some 100 MB

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Comparison:
    """Ours against theirs over the `n` queries that both have.

    `difference` is the mean of ours - theirs and [low, high] its bootstrap interval; `p_value` is
    two-sided, from the paired randomization test.
    """

    n: int
    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    p_value: float


def compare(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare two measures query by query; a query with nan in either is left out.

    Raises ValueError when no query is left.
    """
    shared = [
        query
        for query in ours
        if query in theirs and math.isfinite(ours[query]) and math.isfinite(theirs[query])
    ]
    if not shared:
        raise ValueError("The two runs share no query with a finite value.")
    a = np.array([ours[query] for query in shared], dtype=np.float64)
    b = np.array([theirs[query] for query in shared], dtype=np.float64)
    low, high = bootstrap_interval(a - b, confidence=confidence, resamples=resamples, seed=seed)
    return Comparison(
        n=len(shared),
        ours=float(a.mean()),
        theirs=float(b.mean()),
        difference=float((a - b).mean()),
        low=low,
        high=high,
        p_value=randomization_test(a - b, resamples=resamples, seed=seed),
    )


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = lambda samples: samples.mean(axis=1),
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic, by default the mean (Efron, 1979).

    `values` is (n,); `statistic` maps resamples of shape (r, n) to (r,).
    """
    sample = _finite_vector(values)
    generator = np.random.default_rng(seed)
    drawn = [
        statistic(sample[generator.integers(0, len(sample), size=(rows, len(sample)))])
        for rows in _parts(resamples, len(sample))
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return float(low), float(high)


def randomization_test(
    differences: ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED
) -> float:
    """The two-sided p-value of a mean difference, by flipping signs at random.

    Paired Fisher randomization test (Smucker, Allan and Carterette, CIKM 2007). The order seen
    counts as one of the draws, so p is never 0.
    """
    sample = _finite_vector(differences)
    seen = abs(sample.sum())
    margin = 1e-12 * max(1.0, float(np.abs(sample).sum()))  # the same sum, added in another order
    generator = np.random.default_rng(seed)
    extreme = 0
    for rows in _parts(resamples, len(sample)):
        signs = generator.integers(0, 2, size=(rows, len(sample)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ sample) >= seen - margin).sum())
    return (extreme + 1) / (resamples + 1)


def _finite_vector(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError("A sample must be a non-empty list of finite numbers.")
    return sample


def _parts(rows: int, columns: int) -> list[int]:
    most = max(1, CHUNK_CELLS // columns)
    return [min(most, rows - start) for start in range(0, rows, most)]
