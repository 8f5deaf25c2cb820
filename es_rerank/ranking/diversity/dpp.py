"""Diversity by a determinantal point process (DPP).

L = diag(q) (S + ε I) diag(q) with q_i = exp(a · r_i) and a = t / (2 (1 - t)), t = 1 - diversity,
so that log det(L_Y) = t / (1 - t) · Σ r_i + log det((S + ε I)_Y). Greedy MAP inference: Chen, Zhang
and Zhou, Fast Greedy MAP Inference for Determinantal Point Process to Improve Recommendation
Diversity, NeurIPS 2018; Kulesza and Taskar (2012) have the background. ε is what every candidate
has of its own, so that a copy of one before it still has a place by its relevance and the order is
complete.

Choosing the largest gain each time is a Cholesky decomposition of L with diagonal pivoting, which
LAPACK has (Hammarling, Higham and Lucas, LAPACK-Style Codes for Pivoted Cholesky and QR Updating,
2007). It is run on as few of the best candidates as can matter, since a gain only ever shrinks
(Minoux, Accelerated Greedy Algorithms for Maximizing Submodular Set Functions, 1978).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from es_rerank.ranking.diversity.kernel import Array, Ids, Kernel

RIDGE = 1e-6
"""ε: 2 · 10^-6 is the conditional variance of a copy."""
TIE = 1e-9
"""What each place further down costs in the logarithm of the gain, so that ties go to the first."""
NO_DIVERSITY = 1e-12
"""Diversity under which 1 / diversity would drown the rest in rounding."""
WINDOW = 100
"""Hits among which each is spread."""
SQUARE = 320
"""Candidates up to which all of S is computed."""
HOT = 160
"""Candidates with the largest gains, where there are more."""
SURE = 0.1 - math.log(RIDGE)
"""Difference in pull that no variance makes up for."""
WIDEST = 500.0
"""Range of pull within which its exponential neither vanishes nor overflows."""
LIKELY = 1.0
"""By how much variance lowers the gain of what is chosen, as a first guess."""


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
    left, given = np.arange(n), np.zeros(0, np.int64)
    chosen: list[int] = []
    while len(chosen) < places:
        start = len(chosen) // window * window
        if chosen:
            given = by_relevance[chosen[max(start - window, 0) :]]
        wanted = min(start + window, places) - len(chosen)
        pulls = pull[left] - (pull[left[0]] - TIE * left[0]) - TIE * left
        picks = choose(pulls, kernel, by_relevance[left], given, wanted)
        chosen += left[picks].tolist()
        kept = np.ones(len(left), np.bool_)
        kept[picks] = False
        left = left[kept]
    return by_relevance[np.concatenate([chosen, left]).astype(np.int64)]


def choose(pull: Array, kernel: Kernel, ids: Ids, given: Ids, places: int) -> Ids:
    """Choose some candidates, one at least and `places` at most, to follow those that are given.

    pull: (m,), falling from 0. ids: (m,) their positions in the kernel. Returns positions among
    the m.
    """
    n, g = len(pull), len(given)
    if n == 1 or pull[1] < -SURE:
        steps = pull[:-1] - pull[1:] > SURE
        return np.arange(min(places, n if steps.all() else int(steps.argmin())))
    falls = -pull
    reach = n if falls[-1] <= WIDEST else int(falls.searchsorted(WIDEST, side="right"))
    places = min(places, reach)
    known = int(falls[:reach].searchsorted(falls[places - 1] + LIKELY, side="right"))
    weight = np.exp(pull)
    if not g and known <= SQUARE:
        picks = pivot(kernel.square(ids[:known]), weight[:known], bound(weight, known))
        if len(picks) >= places:
            return picks[:places]
    return choose_by_rows(kernel, np.concatenate([given, ids]), g, weight, places, known, reach)


def pivot(similarity: Array, weight: Array, least: float) -> Ids:
    """Choose as long as the largest gain is above `least`.

    similarity: (m, m) S, or what is left of it given others; overwritten. weight: (m,) q².
    """
    add_ridge(similarity)
    quality = np.sqrt(weight)
    similarity *= quality[:, None]
    similarity *= quality
    _, order, rank, _ = dpstrf(similarity.T, tol=least, lower=1, overwrite_a=1)
    picks: Ids = order[:rank].astype(np.int64) - 1
    return picks


def add_ridge(similarity: Array) -> None:
    """Add ε to the diagonal."""
    diagonal = np.einsum("ii->i", similarity)
    diagonal += RIDGE


def bound(weight: Array, known: int) -> float:
    """What the gain of those not looked at is at most."""
    return float(weight[known]) if known < len(weight) else 0.0


def choose_by_rows(
    kernel: Kernel, ids: Ids, g: int, weight: Array, places: int, known: int, reach: int
) -> Ids:
    """As `choose`, with a row of S for each candidate chosen.

    ids: the g given ones, then the candidates. weight: (m,) q² of the candidates. known: how many
    are looked at to begin with; reach: how many at the most.
    """
    chosen = list(range(g))
    weight = np.concatenate([np.zeros(g), weight])
    factors = np.empty((g + places, len(ids)))
    variance = np.full(len(ids), 1.0 + RIDGE)
    seen, known = 0, known + g
    while True:
        part = kernel.take(ids[:known])
        if chosen:
            new, k = slice(seen, known), len(chosen)
            similarity = part.rows(np.array(chosen))
            if seen:
                own: Array = factors[:k, chosen].T
            else:  # those that were given
                within = similarity[:, :g].copy()
                add_ridge(within)
                own = np.asarray(np.linalg.cholesky(within), np.float64)
            factors[:k, new] = solve_triangular(own, similarity[:, new], lower=True)
            variance[new] -= np.einsum("ki,ki->i", factors[:k, new], factors[:k, new])
        seen, unseen = known, bound(weight, known)
        left, q2 = variance[:seen], weight[:seen]
        gain, scratch = q2 * left, np.empty(seen)
        while (best := int(gain.argmax())) >= 0 and gain[best] > unseen:
            k = len(chosen)
            row = part.row(best)
            np.dot(factors[:k, best], factors[:k, :seen], out=scratch)
            row -= scratch
            row /= math.sqrt(left[best])
            factors[k, :seen] = row
            np.multiply(row, row, out=scratch)
            left -= scratch
            q2[best] = 0.0
            np.multiply(q2, left, out=gain)
            chosen.append(best)
            if len(chosen) == g + places:
                break
        if len(chosen) == g + places or known == g + reach:  # further on float64 cannot tell
            return np.array(chosen[g:]) - g
        known = g + min(2 * (known - g), reach)
