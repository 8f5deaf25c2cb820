"""How alike candidates are: the kernel S, positive semi-definite by construction.

S_ij = v · (1 + cos_ij) / 2 + f · z_i · z_j + Σ_a w_a · [value_a(i) = value_a(j)], the shares v, f
and w_a adding up to 1. Each term is a matrix of inner products, hence so is S. A candidate that
lacks a vector or a value agrees with no other in that term; S_ii is 1.

Vectors are rounded to multiples of about 1 / 4096. The inner product of two unit vectors in whole
multiples is at most 2^24, and so is every part of the sum (Cauchy and Schwarz): in float32 it is
exact, in whatever order it is added up. So equal vectors are equally alike to all others to the
last bit, on every machine, and yet as fast as float32 is; lengths and what follows are float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

WHOLE = 128
"""Candidates up to which all of S is computed, once: how much a search leaves open asks for it, and
then what spreads its hits."""
FINEST = 4096.0
"""Its square is the largest whole number up to which float32 knows all."""

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class KernelWeights:
    """Shares of the similarity: cosine of the vectors, agreement spread over the attributes, and
    agreement of the facets, which are the vectors z that depend on the query."""

    vector: float = 0.5
    attributes: float = 0.5
    facets: float = 0.5


@dataclass(frozen=True)
class Rounded:
    """Vectors as whole numbers, (n, d) float32, with 1 / length, (n,), 0 where there is none."""

    numbers: NDArray[np.float32]
    inverse: Array

    def compare(self, rows: slice | Ids, columns: slice | Ids) -> Array:
        """Cosines, float64; 0 where a vector is missing."""
        cosines: Array = self.inverse[rows][:, None] * self.inverse[columns]
        first = self.numbers[rows]
        # Of A · Aᵀ numpy computes one half.
        second = first if rows is columns else self.numbers[columns]
        cosines *= first @ second.T
        return cosines


def round_vectors(vectors: NDArray[np.floating], present: NDArray[np.bool_] | None) -> Rounded:
    """Round (n, d) rows of length 1 or 0. present: (n,), which of them count."""
    scale = FINEST - math.sqrt(vectors.shape[1])  # rounding may make a vector longer
    numbers = np.multiply(vectors, scale, dtype=np.float32)
    np.rint(numbers, out=numbers)
    lengths = np.sqrt(np.einsum("ij,ij->i", numbers, numbers), dtype=np.float64)
    if present is not None:
        lengths[~present] = 0.0
    if lengths.all():
        return Rounded(numbers, 1.0 / lengths)
    return Rounded(numbers, np.divide(1.0, lengths, out=lengths, where=lengths > 0))


@dataclass(frozen=True)
class Kernel:
    """S in its parts, so that only what is looked at of it is computed.

    vectors: (n, d) unit rows; has_vector: (n,) bool, None when every row counts. facets: (n, e)
    unit rows, zeros where there is none. codes: (m, n), a number per value of each attribute;
    code_weight: the share of each of them. names: the attributes' names.
    """

    size: int
    vectors: NDArray[np.floating] | None = None
    has_vector: NDArray[np.bool_] | None = None
    vector_weight: float = 0.0
    facets: NDArray[np.floating] | None = None
    facet_weight: float = 0.0
    codes: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    code_weight: float = 0.0
    names: tuple[str, ...] = ()

    def row(self, i: int) -> Array:
        """S_i, (n,) float64."""
        similarity: Array = self.rows(np.array([i]))[0]
        return similarity

    def rows(self, ids: Ids) -> Array:
        """The rows of S of some candidates, (k, n) float64."""
        similarity = self._combine(ids, slice(0, self.size))
        similarity[np.arange(len(ids)), ids] = 1.0
        return similarity

    def square(self, ids: Ids | None = None) -> Array:
        """S of some candidates, in that order, or of all; (k, k) float64."""
        if self.size <= WHOLE:
            return self._square.copy() if ids is None else self._square[np.ix_(ids, ids)]
        return self._compute_square(slice(0, self.size) if ids is None else ids)

    def take(self, ids: Ids) -> Kernel:
        """S of some candidates alone, in that order."""
        return Kernel(
            len(ids),
            None if self.vectors is None else self.vectors[ids],
            None if self.has_vector is None else self.has_vector[ids],
            self.vector_weight,
            None if self.facets is None else self.facets[ids],
            self.facet_weight,
            self.codes[:, ids] if len(self.codes) else self.codes,
            self.code_weight,
            self.names,
        )

    @cached_property
    def _rounded(self) -> Rounded | None:
        if self.vectors is None or not self.vector_weight:
            return None
        return round_vectors(self.vectors, self.has_vector)

    @cached_property
    def _rounded_facets(self) -> Rounded | None:
        if self.facets is None or not self.facet_weight:
            return None
        return round_vectors(self.facets, None)

    @cached_property
    def _square(self) -> Array:
        return self._compute_square(slice(0, self.size))

    def _compute_square(self, ids: slice | Ids) -> Array:
        similarity = self._combine(ids, ids)
        similarity.ravel()[:: len(similarity) + 1] = 1.0
        return similarity

    def _combine(self, rows: slice | Ids, columns: slice | Ids) -> Array:
        parts = []
        if (rounded := self._rounded) is not None:
            part = rounded.compare(rows, columns)
            there = rounded.inverse > 0
            part += 1.0 if there.all() else there[rows][:, None] & there[columns]
            part *= 0.5 * self.vector_weight
            parts.append(part)
        if (rounded := self._rounded_facets) is not None:
            part = rounded.compare(rows, columns)
            part *= self.facet_weight
            parts.append(part)
        if len(self.codes) and self.code_weight:
            agreeing = sum(
                (own[rows][:, None] == own[columns]).view(np.uint8) for own in self.codes
            )
            parts.append(np.multiply(agreeing, self.code_weight, dtype=np.float64))
        if not parts:
            everyone = np.arange(self.size)
            return np.zeros((len(everyone[rows]), len(everyone[columns])))
        for part in parts[1:]:
            parts[0] += part
        return parts[0]


def build_kernel(
    size: int,
    vectors: NDArray[np.floating] | None,
    has_vector: NDArray[np.bool_] | None,
    attributes: Mapping[str, Sequence[str | None]],
    weights: KernelWeights,
    facets: NDArray[np.floating] | None = None,
) -> Kernel | None:
    """Build S from unit vectors (n, d), attribute values, and facets (n, e).

    Returns None when there is nothing to compare.
    """
    shown = {
        name: values for name, values in attributes.items() if any(v is not None for v in values)
    }
    with_vectors = vectors is not None and (has_vector is None or bool(has_vector.any()))
    vector_share = weights.vector if with_vectors else 0.0
    facet_share = weights.facets if facets is not None and bool(facets.any()) else 0.0
    attribute_share = weights.attributes if shown else 0.0
    total = vector_share + facet_share + attribute_share
    if total <= 0:
        return None
    return Kernel(
        size=size,
        vectors=vectors if vector_share else None,
        has_vector=has_vector if vector_share else None,
        vector_weight=vector_share / total,
        facets=facets if facet_share else None,
        facet_weight=facet_share / total,
        codes=np.array([number_values(values) for values in shown.values()], dtype=np.int32),
        code_weight=attribute_share / total / max(len(shown), 1),
        names=tuple(shown),
    )


def number_values(values: Sequence[str | None]) -> NDArray[np.int32]:
    """Number equal values alike; every missing value gets a number of its own."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    coded = np.fromiter(map(numbers.__getitem__, values), np.int32, len(values))
    if None in numbers:
        missing = np.flatnonzero(coded == numbers[None])
        coded[missing] = -1 - missing
    return coded
