"""Diversity by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

Each place takes the candidate with the largest (1 - diversity) · r_i - diversity · max_j S_ij, j
being those above it. Elasticsearch's `lambda` is 1 - diversity.
"""

from __future__ import annotations

import numpy as np

from es_rerank.ranking.diversity.kernel import Array, Ids, Kernel

PLACES = 200
"""Places that are decided at most; each costs a look at all candidates."""
SQUARE = 512
"""Candidates up to which all of S is computed at once."""


def order_by_mmr(relevance: Array, kernel: Kernel, diversity: float) -> Ids:
    """Order all candidates by maximal marginal relevance, past the 200th place by relevance.

    relevance: (n,) in 0..1. diversity: 0 is pure relevance, 1 pure variety. Returns (n,) positions,
    a permutation; ties go to the more relevant, then to the first.
    """
    by_relevance = np.argsort(-relevance, kind="stable")
    n = kernel.size
    if diversity <= 0 or n < 2:
        return by_relevance
    ordered = kernel.take(by_relevance)
    similarity = ordered.square() if n <= SQUARE else None
    merit = (1.0 - diversity) * relevance[by_relevance]
    nearest, gain = np.zeros(n), np.empty(n)
    chosen = []
    for _ in range(min(n, PLACES)):
        np.multiply(nearest, -diversity, out=gain)
        gain += merit
        best = int(gain.argmax())
        chosen.append(best)
        merit[best] = -np.inf
        row = ordered.row(best) if similarity is None else similarity[best]
        np.maximum(nearest, row, out=nearest)
    left = np.ones(n, np.bool_)
    left[chosen] = False
    places = np.concatenate([np.array(chosen), np.flatnonzero(left)])
    order: Ids = by_relevance[places]
    return order
