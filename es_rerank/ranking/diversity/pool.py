"""Greedy choice where a kernel is too large to be computed whole.

Gains only fall, so what a gain was bounds what it is (Minoux, Accelerated Greedy Algorithms for
Maximizing Submodular Set Functions, 1978). What is lazy here is blocks instead of single
candidates, since a product of matrices costs a small part of what its rows cost one by one:

- The places left are chosen from the candidates that they are likely among, as long as none of the
  others can have more. These are caught up with only where they are needed, all at once.
- Where the likely ones are too many, the next few places are chosen from a few whose gains are the
  largest, further than is sure; then it is seen which of the others would have come before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpstrf

from es_rerank.ranking.diversity.kernel import Array, Ids, Kernel

RIDGE = 1e-6
"""ε: 2 · 10^-6 is the conditional variance of a copy."""
MARGIN = 0.25
"""By how much lower a gain may be that is still likely to be chosen, to begin with."""
MOST = 192
"""Candidates that are compared with each other at most."""
FIRST = 8
"""Places that are tried at once, to begin with."""
HOT = 8
"""Candidates that each place is tried with."""
LEAST = 64
"""How many these are at least."""
EQUAL = 0.999
"""Share of the largest gain from which one tells nothing of what comes next."""
NONE = np.zeros(0, np.int64)


def expect(count: int, places: int) -> float:
    """The least gain that so many more places are likely to have, beside what it is before them.

    Where all are alike by 1/2, k places leave a variance of (k + 2) / (2 k + 2).
    """
    last = count + places
    fall = (last + 2) / (last + 1) * (count + 1) / (count + 2)
    return fall * (1.0 - MARGIN * places / (places + count / 2))


def pivot(similarity: Array, weight: Array, least: float) -> tuple[Ids, Array]:
    """Choose as long as the largest gain is above `least`.

    similarity: (m, m) S, or what is left of it given others; overwritten. weight: (m,) q². Returns
    the positions of those chosen, and the roots of their gains.
    """
    add_ridge(similarity)
    quality = np.sqrt(weight)
    similarity *= quality[:, None]
    similarity *= quality
    factor, order, rank, _ = dpstrf(similarity.T, tol=least, lower=1, overwrite_a=1)
    if rank == 1 and factor[0, 0] ** 2 <= least:  # LAPACK takes the first whatever it is
        rank = 0
    picks: Ids = order[:rank].astype(np.int64)
    picks -= 1
    return picks, factor.diagonal()[:rank]


def add_ridge(similarity: Array) -> None:
    """Add ε to the diagonal, in place."""
    similarity.reshape(-1)[:: len(similarity) + 1] += RIDGE


@dataclass
class Pool:
    """Candidates, and what those chosen tell about them.

    weight: (m,) q², 0 for those that were chosen. variance: (m,) given what was chosen. factors:
    (places, m), of which `count` rows are Cholesky factors.
    """

    kernel: Kernel
    weight: Array
    variance: Array
    factors: Array
    count: int = 0

    @classmethod
    def start(cls, kernel: Kernel, weight: Array, places: int) -> Pool:
        """Nothing is chosen."""
        n = kernel.size
        return cls(kernel, weight, np.full(n, 1.0 + RIDGE), np.empty((places, n)))

    def take(self, ids: Ids) -> Pool:
        """Some of them."""
        factors = np.empty((len(self.factors), len(ids)))
        if self.count:
            np.take(self.factors[: self.count], ids, axis=1, out=factors[: self.count])
        kernel = self.kernel.take(ids)
        return Pool(kernel, self.weight[ids], self.variance[ids], factors, self.count)

    def pivot(self, ids: Ids, least: float) -> tuple[Ids, Array]:
        """As `pivot`, from some of them."""
        similarity = self.kernel.square(ids)
        if self.count:
            own = self.factors[: self.count, ids]
            similarity -= own.T @ own
        return pivot(similarity, self.weight[ids], least)

    def condition(self, picks: Ids) -> Array:
        """Rows of Cholesky factors for more that are chosen; (k, m), not counted yet."""
        count = self.count
        rows = self.kernel.rows(picks)
        if count:
            rows -= self.factors[:count, picks].T @ self.factors[:count]
        within = np.take(rows, picks, axis=1)
        add_ridge(within)
        own = np.linalg.cholesky(within)
        # In Fortran's order rows are columns, and X · ownᵀ = rowsᵀ.
        dtrsm(1.0, own, rows.T, side=1, lower=1, trans_a=1, overwrite_b=1)
        return rows

    def accept(self, picks: Ids, rows: Array) -> None:
        """Count them as chosen."""
        self.factors[self.count : self.count + len(picks)] = rows
        self.count += len(picks)
        self.variance -= np.einsum("ij,ij->j", rows, rows)
        self.weight[picks] = 0.0

    def choose(self, places: int, least: float, given: Ids = NONE) -> Ids:
        """Choose up to `places` in order, as long as the largest gain is above `least`.

        given: those that were chosen before and are not counted yet.
        """
        pending, chosen, left, block = given, [NONE], places, FIRST
        gain = self.weight * self.variance  # from now on at most
        while left and gain.max() > least:
            hot = self.find_hot(gain, self.count + len(pending), left)
            picks = NONE if hot is None else self.choose_from(hot, gain, pending, left, least)
            if len(picks):
                pending = np.concatenate([pending, picks])
            elif len(pending):
                self.accept(pending, self.condition(pending))
                gain, pending = self.weight * self.variance, NONE
            else:
                picks = self.try_block(min(block, left), left, least)
                if not len(picks):  # above by rounding alone
                    break
                gain, block = self.weight * self.variance, 2 * len(picks)
            chosen.append(picks)
            left -= len(picks)
        return np.concatenate(chosen)

    def find_hot(self, gain: Array, count: int, left: int) -> Ids | None:
        """Those that the places left are likely among, where they are few or much fewer than all.

        gain: (m,), at most.
        """
        m = len(gain)
        low = 0.0
        if left < m:
            low = float(np.partition(gain, m - left)[m - left]) * expect(count, left)
        hot = (gain >= low if low else gain).nonzero()[0]
        return hot if len(hot) <= MOST or 2 * len(hot) <= m else None

    def choose_from(self, hot: Ids, gain: Array, pending: Ids, left: int, least: float) -> Ids:
        """Choose from some of them, as long as no other can have more.

        gain: (m,), at most; what is found out about it is noted.
        """
        others = gain.copy()
        others[hot] = 0.0
        least = max(least, float(others.max()))
        g, pool, ids = len(pending), self, hot
        if g or len(hot) > MOST:
            pool = self.take(np.concatenate([pending, hot]))
            ids = np.arange(g, g + len(hot))
        if g:
            first = np.arange(g)
            pool.accept(first, pool.condition(first))
            gain[hot] = pool.weight[g:] * pool.variance[g:]
        if len(hot) <= MOST:
            picks = hot[pool.pivot(ids, least)[0][:left]]
        else:
            picks = hot[pool.choose(left, least) - g]
        if len(picks) < left:  # none has more now
            gain[hot] = np.minimum(gain[hot], least)
        gain[picks] = 0.0
        return picks

    def try_block(self, block: int, left: int, least: float) -> Ids:
        """Choose a block, as far as it holds; none where no gain is above `least`."""
        gain = self.weight * self.variance
        m, size = len(gain), min(max(HOT * block, LEAST), MOST)
        hot = np.argpartition(gain, m - size)[m - size :]
        if block == 1 or (not self.count and gain[hot].min() > EQUAL * gain.max()):
            hot, block = np.array([gain.argmax()]), 1
        order, roots = self.pivot(hot, least)
        picks, gains = hot[order[:block]], np.square(roots[:block])
        if not len(picks):
            return picks
        gain[hot] = 0.0
        rivals = (gain > gains[-1]).nonzero()[0]
        rows = None
        if len(rivals):
            b = len(picks)
            if 4 * len(rivals) < m:
                pool = self.take(np.concatenate([picks, rivals]))
                good = self.verify(rivals, gains, pool.condition(np.arange(b))[:, b:])
            else:
                rows = self.condition(picks)
                good = self.verify(rivals, gains, rows[:, rivals])
                rows = rows[:good]
            picks = picks[:good]
        if len(picks) < left:
            self.accept(picks, self.condition(picks) if rows is None else rows)
        return picks

    def verify(self, rivals: Ids, gains: Array, rows: Array) -> int:
        """How many of a block none of the rivals had overtaken.

        gains: of the block's picks. rows: (k, r) factors of the picks.
        """
        weight, left, scratch = self.weight[rivals], self.variance[rivals], np.empty(len(rivals))
        for k in range(1, len(gains)):
            np.square(rows[k - 1], out=scratch)
            left -= scratch
            np.multiply(weight, left, out=scratch)
            if scratch.max() > gains[k]:
                return k
        return len(gains)
