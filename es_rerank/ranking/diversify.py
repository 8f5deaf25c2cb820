"""Diversity by a determinantal point process (DPP).

L = diag(q) S diag(q) with q_i = exp(a · r_i) and a = t / (2 (1 - t)), t = 1 - diversity, so that
log det(L_Y) = t / (1 - t) · Σ r_i + log det(S_Y). Greedy MAP inference with the incremental
Cholesky update: Chen, Zhang and Zhou, Fast Greedy MAP Inference for Determinantal Point Process to
Improve Recommendation Diversity, NeurIPS 2018. Kulesza and Taskar (2012) have the background. Many
candidates are looked at lazily: Minoux, Accelerated Greedy Algorithms for Maximizing Submodular Set
Functions, 1978.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-6
"""Conditional variance under which a candidate is a repetition of those already chosen."""
NO_DIVERSITY = 1e-12
"""Diversity under which 1 / diversity would drown the rest in rounding."""
PLACES = 200
"""Places that the DPP decides; nobody reads further, and each costs as much as all before it."""
CHUNK = 128
"""Candidates looked at together."""
WIDEST_PULL = 600.0
"""Range of pull within which exp(pull) neither vanishes nor overflows."""


@dataclass(frozen=True)
class KernelWeights:
    """Shares of the similarity: embedding cosine, and agreement spread over the attributes."""

    vector: float = 0.5
    attributes: float = 0.5


@dataclass(frozen=True)
class Kernel:
    """S in factors, so that only what is looked at of it is computed.

    S_ij = v · (1 + cos_ij) / 2 + Σ_a w_a · [value_a(i) = value_a(j)], with v + Σ w_a = 1. Each term
    is positive semi-definite with a diagonal of 1, hence so is S. A candidate that lacks the vector
    or the value agrees with no other in that term.

    vectors: (n, d) unit rows. codes: (m, n), a number per value of each attribute. code_weights:
    (m,). has_vector: (n,) bool, None when every row counts.
    """

    size: int
    vectors: NDArray[np.float64]
    vector_weight: float = 0.0
    codes: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    code_weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    has_vector: NDArray[np.bool_] | None = None

    def row(self, i: int) -> NDArray[np.float64]:
        """S_i, (n,) float64."""
        similarity = np.zeros(self.size)
        if self.vector_weight:
            term = 0.5 + 0.5 * (self.vectors @ self.vectors[i])
            if self.has_vector is not None:
                term = np.where(self.has_vector & self.has_vector[i], term, 0.0)
            similarity += self.vector_weight * term
        if len(self.codes):
            similarity += self.code_weights @ (self.codes == self.codes[:, i : i + 1])
        similarity[i] = 1.0
        return similarity

    def columns(self, start: int, stop: int) -> NDArray[np.float64]:
        """S_ij for i < stop and start <= j < stop, (stop, stop - start) float64."""
        if self.vector_weight:
            # From 0 on this is A · Aᵀ, of which numpy computes one half.
            similarity = self.vectors[:stop] @ self.vectors[start:stop].T
            similarity += 1.0
            similarity *= 0.5 * self.vector_weight
            if self.has_vector is not None and not self.has_vector.all():
                similarity *= self.has_vector[:stop, None] & self.has_vector[start:stop]
        else:
            similarity = np.zeros((stop, stop - start))
        for codes, weight in zip(self.codes, self.code_weights, strict=True):
            similarity += weight * (codes[:stop, None] == codes[start:stop])
        np.fill_diagonal(similarity[start:], 1.0)
        return similarity

    def reorder(self, order: NDArray[np.int64]) -> Kernel:
        """The same S with its candidates in another order."""
        return replace(
            self,
            vectors=self.vectors[order],
            codes=self.codes[:, order] if len(self.codes) else self.codes,
            has_vector=None if self.has_vector is None else self.has_vector[order],
        )


def build_kernel(
    size: int,
    vectors: NDArray[np.floating] | None,
    has_vector: NDArray[np.bool_] | None,
    attributes: Mapping[str, Sequence[str | None]],
    weights: KernelWeights,
) -> Kernel | None:
    """Build S from unit vectors (n, d) and attribute values; None when there is neither."""
    shown = {
        name: values for name, values in attributes.items() if any(v is not None for v in values)
    }
    with_vectors = vectors is not None and (has_vector is None or bool(has_vector.any()))
    vector_share = weights.vector if with_vectors else 0.0
    attribute_share = weights.attributes if shown else 0.0
    total = vector_share + attribute_share
    if total <= 0:
        return None
    each = attribute_share / total / max(len(shown), 1)
    return Kernel(
        size=size,
        vectors=np.zeros((size, 1)) if vectors is None else np.asarray(vectors, dtype=np.float64),
        vector_weight=vector_share / total,
        codes=np.array([number_values(values) for values in shown.values()], dtype=np.int32),
        code_weights=np.full(len(shown), each),
        has_vector=has_vector,
    )


def number_values(values: Sequence[str | None]) -> NDArray[np.int32]:
    """Number equal values alike; every missing value gets a number of its own."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    coded = np.fromiter(map(numbers.__getitem__, values), np.int32, len(values))
    if None in numbers:
        missing = np.flatnonzero(coded == numbers[None])
        coded[missing] = -1 - missing
    return coded


def greedy_map(
    relevance: NDArray[np.float64], kernel: Kernel, diversity: float, limit: int | None = PLACES
) -> NDArray[np.int64]:
    """Order all candidates: greedily by the DPP, and by relevance where nothing new is left.

    relevance: (n,) in 0..1. diversity: 0 is pure relevance, 1 pure variety. limit: how many places
    the DPP decides at most, None for all; the rest follow by relevance. Returns (n,) positions, a
    permutation; ties go to the candidate that stood first.
    """
    by_relevance = np.argsort(-relevance, kind="stable")
    n = kernel.size
    if diversity < NO_DIVERSITY or n < 2:
        return by_relevance
    diversity = min(diversity, 1.0)
    pull = ((1.0 - diversity) / diversity) * relevance
    places = n if limit is None else min(limit, n)
    if n <= CHUNK:
        chosen = np.array(choose(pull, kernel, places), dtype=np.int64)
    else:
        by_pull = np.argsort(-pull, kind="stable")
        chosen = by_pull[choose(pull[by_pull], kernel.reorder(by_pull), places)]
    rest = np.ones(n, dtype=np.bool_)
    rest[chosen] = False
    return np.concatenate([chosen, by_relevance[rest[by_relevance]]])


def choose(pull: NDArray[np.float64], kernel: Kernel, places: int) -> list[int]:
    """Choose at most `places` candidates, each the one whose gain `pull + log variance` is largest.

    The conditional variance starts at 1 and only ever shrinks. So a chunk of candidates, where
    there are several and `pull` falls along them, is not looked at before the best gain of those
    before it has come down to its first pull.
    """
    n = len(pull)
    pull = pull - pull.max()
    wide = bool(pull.min() < -WIDEST_PULL)
    bound = pull if wide else np.exp(pull)
    similarity, factors = np.empty((n, n)), np.empty((places, n))
    variance, gain, scratch = np.ones(n), np.empty(n), np.empty(n)
    chosen: list[int] = []
    scales: list[float] = []

    def look_at(start: int, stop: int) -> None:
        columns = kernel.columns(start, stop)
        similarity[:stop, start:stop] = columns
        similarity[start:stop, :start] = columns[:start].T
        for k, i in enumerate(chosen):
            factors[k, start:stop] = scales[k] * (
                similarity[i, start:stop] - factors[:k, i] @ factors[:k, start:stop]
            )
            variance[start:stop] -= factors[k, start:stop] ** 2

    known = min(CHUNK, n)
    look_at(0, known)
    v, g, s = variance[:known], gain[:known], scratch[:known]
    while len(chosen) < places:
        if wide:
            np.log(np.maximum(v, FLOOR), out=g)
            g += pull[:known]
            g[v <= FLOOR] = -np.inf
        else:
            np.multiply(v, bound[:known], out=g)
        best = int(g.argmax())
        if known < n and g[best] <= bound[known]:
            start, known = known, min(known + CHUNK, n)
            look_at(start, known)
            v, g, s = variance[:known], gain[:known], scratch[:known]
        elif (left := float(v[best])) > FLOOR:
            k = len(chosen)
            scales.append(1.0 / math.sqrt(left))
            row = factors[k, :known]
            np.dot(factors[:k, best], factors[:k, :known], out=s)
            np.subtract(similarity[best, :known], s, out=row)
            row *= scales[k]
            np.multiply(row, row, out=s)
            v -= s
            v[best] = -np.inf
            chosen.append(best)
        elif g[best] > -np.inf:
            v[v <= FLOOR] = -np.inf  # repetitions, for good
        else:
            break
    return chosen
