"""Searchers who look and click as the models say, with a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_rerank.training.clicks.log import ClickLog

DOCUMENTS = 20


@dataclass(frozen=True)
class Simulated:
    """A log, what was true of it: gamma (rank, distance), and attraction (queries, documents)."""

    log: ClickLog
    gamma: Callable[[int, int], float]
    attraction: NDArray[np.float64]


def pbm(rank: int, _: int) -> float:
    """Half as much at the second place, a third at the third."""
    return 1.0 / rank


def steep(rank: int, _: int) -> float:
    """Less still."""
    return float(rank**-1.5)


def ubm(rank: int, distance: int) -> float:
    """The deeper, and the longer since the last click, the less."""
    return float(rank**-0.5 * distance**-0.3)


def simulate(
    gamma: Callable[[int, int], float] = pbm,
    *,
    seed: int = 1,
    searches: int = 50_000,
    queries: int = 300,
    ranks: int = 10,
    noise: float = 0.1,
    shuffle: float = 0.5,
    skew: float = 1.0,
) -> Simulated:
    """A shop whose ranking is fair but not perfect, and changes a little from search to search.

    noise: the attraction of what is not relevant. shuffle: how much the order changes; 0 never.
    skew: how much more the first query is asked than the others.
    """
    chance = np.random.default_rng(seed)
    relevant = chance.random((queries, DOCUMENTS)) < 0.3
    liked = chance.uniform(0.4, 0.9, relevant.shape)
    attraction = np.where(relevant, liked, noise)
    share = 1 / np.arange(1, queries + 1) ** skew
    query = chance.choice(queries, searches, p=share / share.sum())
    scores = (attraction + chance.normal(0, 0.3, attraction.shape))[query]
    if shuffle:
        scores = scores + chance.gumbel(0, shuffle, scores.shape)
    shown = np.argsort(-scores, axis=1)[:, :ranks]
    clicked = np.zeros(shown.shape, dtype=bool)
    last = np.zeros(searches, dtype=np.int64)
    for rank in range(1, ranks + 1):
        seen = np.array([gamma(rank, d) for d in range(1, rank + 1)])[rank - last - 1]
        likes = attraction[query, shown[:, rank - 1]]
        clicked[:, rank - 1] = chance.random(searches) < seen * likes
        last = np.where(clicked[:, rank - 1], rank, last)
    log = ClickLog(
        np.repeat(np.arange(searches), ranks),
        np.repeat(query, ranks),
        shown.ravel(),
        np.tile(np.arange(1, ranks + 1), searches),
        clicked.ravel(),
        [f"q{i}" for i in range(queries)],
        [f"d{i}" for i in range(DOCUMENTS)],
    )
    return Simulated(log, gamma, attraction)
