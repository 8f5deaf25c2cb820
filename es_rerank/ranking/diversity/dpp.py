"""Diversity by a determinantal point process (DPP).

L = diag(q) (S + ε I) diag(q) with q_i = exp(a · r_i) and a = t / (2 (1 - t)), t = 1 - diversity,
so that log det(L_Y) = t / (1 - t) · Σ r_i + log det((S + ε I)_Y). Greedy MAP inference: Chen, Zhang
and Zhou, Fast Greedy MAP Inference for Determinantal Point Process to Improve Recommendation
Diversity, NeurIPS 2018; Kulesza and Taskar (2012) have the background. ε is what every candidate
has of its own, so that a copy of one before it still has a place by its relevance and the order is
complete.

Choosing the largest gain each time is a Cholesky decomposition of L with diagonal pivoting, which
LAPACK has (Hammarling, Higham and Lucas, LAPACK-Style Codes for Pivoted Cholesky and QR Updating,
2007). It is run on as few of the best candidates as can matter; `pool` has what is done where these
are many.
"""

from __future__ import annotations

import math

import numpy as np

from es_rerank.ranking.diversity.kernel import Array, Ids, Kernel
from es_rerank.ranking.diversity.pool import MOST, NONE, RIDGE, Pool, expect, pivot

TIE = 1e-9
"""What each place further down costs in the logarithm of the gain, so that ties go to the first."""
NO_DIVERSITY = 1e-12
"""Diversity under which 1 / diversity would drown the rest in rounding."""
WINDOW = 100
"""Hits among which each is spread."""
SURE = 0.1 - math.log(RIDGE)
"""Difference in pull that no variance makes up for."""
WIDEST = 500.0
"""Range of pull within which its exponential neither vanishes nor overflows."""


def greedy_map(
    relevance: Array,
    kernel: Kernel,
    diversity: float,
    limit: int | None = None,
    window: int = WINDOW,
) -> Ids:
    """Order all candidates greedily by the DPP.

    relevance: (n,) in 0..1. diversity: 0 is pure relevance, 1 pure variety. limit: how many places
    the DPP decides at most, None for all; the rest follow by relevance. window: each hit is spread
    from all of the first `window`, and further down from the last `window` to 2 · `window` - 1
    before it (Chen et al. let the oldest go at each place, here it is `window` of them at a time).
    Returns (n,) positions, a permutation; ties go to the more relevant, then to the first.
    """
    n = kernel.size
    by_relevance = np.argsort(-relevance, kind="stable")
    if diversity < NO_DIVERSITY or n < 2:
        return by_relevance
    diversity = min(diversity, 1.0)
    pull = ((1.0 - diversity) / diversity) * relevance[by_relevance]
    places = n if limit is None else min(limit, n)
    wanted = min(window, places)
    chosen = choose(level(pull), kernel, by_relevance, NONE, wanted)
    while len(chosen) < places:
        start = len(chosen) // window * window
        given = by_relevance[chosen[max(start - window, 0) :]]
        wanted = min(start + window, places) - len(chosen)
        left = leave(chosen, n)
        picks = choose(level(pull[left], left), kernel, by_relevance[left], given, wanted)
        chosen = np.concatenate([chosen, left[picks]])
    order: Ids = by_relevance[np.concatenate([chosen, leave(chosen, n)])]
    return order


def level(pull: Array, places: Ids | None = None) -> Array:
    """Pull as it falls from 0, with what places cost; all of them by default."""
    levelled: Array = pull - pull[0]
    levelled -= TIE * (np.arange(len(pull)) if places is None else places - places[0])
    return levelled


def leave(chosen: Ids, n: int) -> Ids:
    """Those of n that were not chosen, in order."""
    left = np.ones(n, np.bool_)
    left[chosen] = False
    return left.nonzero()[0]


def choose(pull: Array, kernel: Kernel, ids: Ids, given: Ids, places: int) -> Ids:
    """Choose some candidates, one at least and `places` at most, to follow those that are given.

    pull: (m,), falling from 0. ids: (m,) their positions in the kernel. Returns positions among
    the m.
    """
    n = len(pull)
    if n == 1 or pull[1] < -SURE:
        steps = pull[:-1] - pull[1:] > SURE
        return np.arange(min(places, n if steps.all() else int(steps.argmin())))
    falls = -pull
    reach = n if falls[-1] <= WIDEST else int(falls.searchsorted(WIDEST, side="right"))
    places = min(places, reach)
    if not len(given):
        likely = falls[places - 1] - math.log(expect(0, places))
        known = min(int(falls.searchsorted(likely, side="right")), reach)
        if known <= MOST and known < kernel.size:
            weight = np.exp(pull[: known + 1])
            least = float(weight[known]) if known < n else 0.0
            picks, _ = pivot(kernel.square(ids[:known]), weight[:known], least)
            if len(picks) >= places:
                return picks[:places]
    weight = np.zeros(kernel.size)
    weight[ids[:reach]] = np.exp(pull[:reach])
    if not len(given) and reach == kernel.size <= MOST:
        picks, _ = pivot(kernel.square(), weight, 0.0)
    else:
        least = math.exp(pull[reach]) if reach < n else 0.0  # further on float64 cannot tell
        picks = Pool.start(kernel, weight, places + len(given)).choose(places, least, given)
    where = np.empty(kernel.size, np.int64)
    where[ids] = np.arange(n)
    return where[picks[:places]]
