"""Greedy MAP written plainly, one full row at a time: what the fast one must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.diversity.dpp import NO_DIVERSITY, TIE, WINDOW
from es_rerank.ranking.diversity.kernel import Kernel
from es_rerank.ranking.diversity.pool import RIDGE


def plain_greedy_map(
    relevance: NDArray[np.float64],
    kernel: Kernel,
    diversity: float,
    limit: int | None = None,
    window: int = WINDOW,
) -> NDArray[np.int64]:
    """The order of greedy_map."""
    by_relevance = np.argsort(-relevance, kind="stable")
    n = kernel.size
    if diversity < NO_DIVERSITY or n < 2:
        return by_relevance
    diversity = min(diversity, 1.0)
    pull = ((1.0 - diversity) / diversity) * relevance
    later = TIE * np.argsort(by_relevance)
    places = n if limit is None else min(limit, n)
    order: list[int] = []
    variance, factors = start_anew(kernel, order, window)
    while len(order) < places:
        if order and len(order) % window == 0:
            variance, factors = start_anew(kernel, order, window)
        left = np.setdiff1d(np.arange(n), order)
        gain = np.full(n, -np.inf)
        gain[left] = pull[left] - pull[left].max() - later[left] + np.log(variance[left])
        best = int(np.argmax(gain))
        condition(kernel, best, variance, factors)
        order.append(best)
    taken = set(order)
    rest = [int(i) for i in by_relevance if int(i) not in taken]
    return np.array(order + rest, dtype=np.int64)


def start_anew(
    kernel: Kernel, order: list[int], window: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """The variance given the last `window` hits alone."""
    variance = np.full(kernel.size, 1.0 + RIDGE)
    factors: list[NDArray[np.float64]] = []
    for i in order[-window:]:
        condition(kernel, i, variance, factors)
    return variance, factors


def condition(
    kernel: Kernel, i: int, variance: NDArray[np.float64], factors: list[NDArray[np.float64]]
) -> None:
    """What is left of the variance given one more."""
    row = kernel.row(i)
    for factor in factors:
        row = row - factor[i] * factor
    row = row / np.sqrt(variance[i])
    factors.append(row)
    variance -= row**2
