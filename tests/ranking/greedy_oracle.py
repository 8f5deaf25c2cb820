"""Greedy MAP written plainly, one full row at a time: what the fast one must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.diversify import FLOOR, NO_DIVERSITY, Kernel


def plain_greedy_map(
    relevance: NDArray[np.float64], kernel: Kernel, diversity: float, limit: int | None = None
) -> NDArray[np.int64]:
    """The order of greedy_map."""
    by_relevance = np.argsort(-relevance, kind="stable")
    n = kernel.size
    if diversity < NO_DIVERSITY or n < 2:
        return by_relevance
    diversity = min(diversity, 1.0)
    pull = ((1.0 - diversity) / diversity) * relevance
    places = n if limit is None else min(limit, n)
    variance = np.ones(n)
    factors = np.zeros((places, n))
    order: list[int] = []
    while len(order) < places:
        gain = pull + np.log(np.maximum(variance, FLOOR))
        gain[variance <= FLOOR] = -np.inf
        best = int(np.argmax(gain))
        if gain[best] == -np.inf:
            break
        k = len(order)
        order.append(best)
        step = kernel.row(best) - factors[:k, best] @ factors[:k]
        factors[k] = step / np.sqrt(variance[best])
        variance -= factors[k] ** 2
        variance[best] = 0.0  # taken
    taken = set(order)
    rest = [int(i) for i in by_relevance if int(i) not in taken]
    return np.array(order + rest, dtype=np.int64)
