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
CACHED = 2**15
"""Numbers that are rounded at a time: they stay in the processor's cache meanwhile."""
FEW = 2
"""Rows that are columns in a product, which is faster."""
FINEST = 4096.0
"""Its square is the largest whole number up to which float32 knows all."""

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
NO_CODES = np.zeros((0, 0), np.int32)


@dataclass(frozen=True)
class KernelWeights:
    """Shares of the similarity: cosine of the vectors, agreement spread over the attributes, and
    agreement of the facets, which are the vectors z that depend on the query."""

    vector: float = 0.5
    attributes: float = 0.5
    facets: float = 0.5


@dataclass(frozen=True)
class Rounded:
    """Vectors as whole numbers, (n, d) float32, with 1 / length, (n,), 0 where there is none.

    whole: whether none is missing.
    """

    numbers: NDArray[np.float32]
    inverse: Array
    whole: bool

    def take(self, ids: Ids) -> Rounded:
        """Some of them, in that order."""
        return Rounded(self.numbers[ids], self.inverse[ids], self.whole)

    def cosines(self, ids: Ids | None, weight: float, least: float = 0.0) -> Array:
        """weight · (cosine + least) of some with all, or of all; 0 where a vector is missing."""
        return self.scale(self.multiply(ids), ids, weight, least)

    def multiply(self, ids: Ids | None) -> NDArray[np.float32]:
        """Inner products of the numbers of some, or all, with all; A · Aᵀ costs half."""
        own = self.numbers if ids is None else self.numbers[ids]
        # With few rows the second product takes half the time of the first.
        return own @ self.numbers.T if len(own) > FEW else (self.numbers @ own.T).T

    def scale(
        self, products: NDArray[np.float32], ids: Ids | None, weight: float, least: float
    ) -> Array:
        """`cosines` from inner products."""
        lengths = self.inverse * math.sqrt(weight)
        own = lengths if ids is None else lengths[ids]
        cosines: Array = own[:, None] * lengths
        cosines *= products
        if least and self.whole:
            cosines += weight * least
        elif least:
            there = self.inverse > 0
            cosines += (weight * least) * ((there if ids is None else there[ids])[:, None] & there)
        return cosines


def round_vectors(vectors: NDArray[np.floating], present: NDArray[np.bool_] | None) -> Rounded:
    """Round (n, d) rows of length 1 or 0. present: (n,), which of them count."""
    n, d = vectors.shape
    numbers, squares = np.empty((n, d), np.float32), np.empty(n, np.float32)
    step = max(CACHED // d, 1)
    for start in range(0, n, step):
        some = slice(start, start + step)
        part = round_numbers(vectors[some], numbers[some])
        np.einsum("ij,ij->i", part, part, out=squares[some])
    return Rounded(numbers, *invert(squares, present))


def round_numbers(
    vectors: NDArray[np.floating], numbers: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The whole numbers of (n, d) rows."""
    scale = FINEST - math.sqrt(vectors.shape[1])  # rounding may make a vector longer
    numbers = np.multiply(vectors, scale, dtype=np.float32, out=numbers)
    return np.rint(numbers, out=numbers)


def invert(squares: NDArray[np.float32], present: NDArray[np.bool_] | None) -> tuple[Array, bool]:
    """1 / length from its square, 0 where there is none, and whether none is missing.

    present: (n,), which of them count.
    """
    lengths = np.sqrt(squares, dtype=np.float64)
    if present is not None:
        lengths[~present] = 0.0
    if lengths.all():
        return np.divide(1.0, lengths, out=lengths), True
    return np.divide(1.0, lengths, out=lengths, where=lengths > 0), False


@dataclass(frozen=True)
class Directions:
    """Vectors to be compared, (n, d) unit rows, rounded when they first are.

    present: (n,) bool, None when every row counts; else a row of zeros is none.
    """

    vectors: NDArray[np.floating]
    present: NDArray[np.bool_] | None = None

    @cached_property
    def rounded(self) -> Rounded:
        """The same, rounded."""
        return round_vectors(self.vectors, self.present)

    def rows(self, ids: Ids, weight: float, least: float = 0.0) -> Array:
        """weight · (cosine + least) of some with all, float64; 0 where a vector is missing."""
        return self.rounded.cosines(ids, weight, least)

    def square(self, ids: Ids | None, weight: float, least: float = 0.0) -> Array:
        """The same among some, or all."""
        if "rounded" in vars(self):
            rounded = self.rounded if ids is None else self.rounded.take(ids)
            return rounded.cosines(None, weight, least)
        numbers = round_numbers(self.vectors if ids is None else self.vectors[ids])
        products = numbers @ numbers.T
        present = self.present if ids is None or self.present is None else self.present[ids]
        # What a vector has with itself is its length's square.
        rounded = Rounded(numbers, *invert(products.diagonal(), present))
        if ids is None:
            vars(self)["rounded"] = rounded
        return rounded.scale(products, None, weight, least)

    def take(self, ids: Ids) -> Directions:
        """Some of them, in that order."""
        if "rounded" not in vars(self):
            present = None if self.present is None else self.present[ids]
            return Directions(self.vectors[ids], present)
        rounded = self.rounded.take(ids)
        directions = Directions(rounded.numbers)
        vars(directions)["rounded"] = rounded
        return directions


@dataclass(frozen=True)
class Kernel:
    """S in its parts, so that only what is looked at of it is computed.

    codes: (m, n), a number per value of each attribute; code_weight: the share of each of them.
    names: the attributes' names.
    """

    size: int
    vectors: Directions | None = None
    vector_weight: float = 0.0
    facets: Directions | None = None
    facet_weight: float = 0.0
    codes: NDArray[np.int32] = field(default_factory=lambda: NO_CODES)
    code_weight: float = 0.0
    names: tuple[str, ...] = ()

    def row(self, i: int) -> Array:
        """S_i, (n,) float64."""
        similarity: Array = self.rows(np.array([i]))[0]
        return similarity

    def rows(self, ids: Ids) -> Array:
        """The rows of S of some candidates, (k, n) float64."""
        parts = []
        if self.vectors is not None:
            parts.append(self.vectors.rows(ids, 0.5 * self.vector_weight, 1.0))
        if self.facets is not None:
            parts.append(self.facets.rows(ids, self.facet_weight))
        if len(self.codes):
            parts += self._agree(self.codes[:, ids], self.codes)
        similarity = add(parts, (len(ids), self.size))
        similarity[np.arange(len(ids)), ids] = 1.0
        return similarity

    def square(self, ids: Ids | None = None) -> Array:
        """S of some candidates, in that order, or of all; (k, k) float64."""
        if self.size <= WHOLE and (ids is None or "_square" in vars(self)):
            return self._square.copy() if ids is None else self._square[np.ix_(ids, ids)]
        return self._compute_square(ids)

    def take(self, ids: Ids) -> Kernel:
        """S of some candidates alone, in that order."""
        return Kernel(
            len(ids),
            None if self.vectors is None else self.vectors.take(ids),
            self.vector_weight,
            None if self.facets is None else self.facets.take(ids),
            self.facet_weight,
            self.codes[:, ids] if len(self.codes) else self.codes,
            self.code_weight,
            self.names,
        )

    @cached_property
    def _square(self) -> Array:
        return self._compute_square(None)

    def _compute_square(self, ids: Ids | None) -> Array:
        parts = []
        if self.vectors is not None:
            parts.append(self.vectors.square(ids, 0.5 * self.vector_weight, 1.0))
        if self.facets is not None:
            parts.append(self.facets.square(ids, self.facet_weight))
        if len(self.codes):
            some = self.codes if ids is None else self.codes[:, ids]
            parts += self._agree(some, some)
        k = self.size if ids is None else len(ids)
        similarity = add(parts, (k, k))
        similarity.reshape(-1)[:: k + 1] = 1.0
        return similarity

    def _agree(self, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> list[Array]:
        if not self.code_weight:
            return []
        agreeing = sum(
            (own[:, None] == other).view(np.uint8) for own, other in zip(rows, columns, strict=True)
        )
        return [np.multiply(agreeing, self.code_weight, dtype=np.float64)]


def add(parts: list[Array], shape: tuple[int, int]) -> Array:
    """The sum of matrices, in the first of them."""
    if not parts:
        return np.zeros(shape)
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
        vectors=Directions(vectors, has_vector) if vectors is not None and vector_share else None,
        vector_weight=vector_share / total,
        facets=Directions(facets) if facets is not None and facet_share else None,
        facet_weight=facet_share / total,
        codes=np.array([number_values(values) for values in shown.values()], dtype=np.int32)
        if shown
        else NO_CODES,
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
