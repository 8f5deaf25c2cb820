"""Diversity by a determinantal point process (DPP).

L = diag(q) S diag(q) with q_i = exp(a · r_i) and a = t / (2 (1 - t)), t = 1 - diversity, so that
log det(L_Y) = t / (1 - t) · Σ r_i + log det(S_Y). Greedy MAP inference with the incremental
Cholesky update: Chen, Zhang and Zhou, Fast Greedy MAP Inference for Determinantal Point Process to
Improve Recommendation Diversity, NeurIPS 2018. Kulesza and Taskar (2012) have the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-6
"""Conditional variance under which a candidate is a repetition of those already chosen."""
NO_DIVERSITY = 1e-12
"""Diversity under which 1 / diversity would drown the rest in rounding."""


@dataclass(frozen=True)
class KernelWeights:
    """Shares of the similarity: embedding cosine, and agreement spread over the attributes."""

    vector: float = 0.5
    attributes: float = 0.5


@dataclass(frozen=True)
class Kernel:
    """S in factors, so that a row costs O(n · d) and the full matrix is never needed.

    S_ij = v · (1 + cos_ij) / 2 + Σ_a w_a · [value_a(i) = value_a(j)], with v + Σ w_a = 1. Each term
    is positive semi-definite with a diagonal of 1, hence so is S. A candidate that lacks the vector
    or the value agrees with no other in that term.

    vectors: (n, d) unit rows. codes: (m, n), a number per value of each attribute. code_weights:
    (m,). has_vector: (n,) bool, None when every row counts.
    """

    size: int
    vectors: NDArray[np.float64]
    vector_weight: float = 0.0
    codes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    code_weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    has_vector: NDArray[np.bool_] | None = None

    def row(self, i: int) -> NDArray[np.float64]:
        """S_i, (n,) float64."""
        similarity = np.zeros(self.size)
        if self.vector_weight:
            cosine = self.vectors @ self.vectors[i]
            term = 0.5 + 0.5 * cosine
            if self.has_vector is not None:
                term = np.where(self.has_vector & self.has_vector[i], term, 0.0)
            similarity += self.vector_weight * term
        if len(self.codes):
            similarity += self.code_weights @ (self.codes == self.codes[:, i : i + 1])
        similarity[i] = 1.0
        return similarity


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
        codes=np.array([number_values(values) for values in shown.values()], dtype=np.int64),
        code_weights=np.full(len(shown), each),
        has_vector=has_vector,
    )


def number_values(values: Sequence[str | None]) -> NDArray[np.int64]:
    """Number equal values alike; every missing value gets a number of its own."""
    numbers: dict[str, int] = {}
    coded = np.empty(len(values), dtype=np.int64)
    for i, value in enumerate(values):
        coded[i] = -1 - i if value is None else numbers.setdefault(value, len(numbers))
    return coded


def greedy_map(
    relevance: NDArray[np.float64], kernel: Kernel, diversity: float, limit: int | None = None
) -> NDArray[np.int64]:
    """Order all candidates: greedily by the DPP, and by relevance where nothing new is left.

    relevance: (n,) in 0..1. diversity: 0 is pure relevance, 1 pure variety. limit: how many places
    the DPP decides at most, all by default. Returns (n,) positions, a permutation; ties go to the
    candidate that stood first.
    """
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
