"""Windows to spread, made at random."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.ranking.diversity.kernel import (
    Kernel,
    KernelWeights,
    build_kernel,
    round_vectors,
)

Matrix = NDArray[np.float64]
Values = list[str | None]


def unit_rows(rng: np.random.Generator, n: int, d: int) -> Matrix:
    rows = rng.normal(size=(n, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def rounded_rows(rng: np.random.Generator, n: int, d: int) -> Matrix:
    """Unit rows that a kernel takes as they are."""
    rows = round_vectors(unit_rows(rng, n, d), None).numbers.astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def log_det(matrix: Matrix) -> float:
    sign, value = np.linalg.slogdet(matrix)
    return float(value) if sign > 0 else -np.inf


@st.composite
def windows(draw: st.DrawFn, max_size: int = 12) -> tuple[Matrix, Kernel]:
    """Relevance and a kernel: duplicates, missing vectors and missing values among them."""
    n = draw(st.integers(1, max_size))
    d = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    copied = draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    vectors = unit_rows(rng, n, d)[copied]
    facets = unit_rows(rng, n, 3) if draw(st.booleans()) else None
    has_vector = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    vectors[~has_vector] = 0.0
    if facets is not None:
        facets[~has_vector[::-1]] = 0.0
    value = st.none() | st.sampled_from("abc")
    attributes = {
        name: draw(st.lists(value, min_size=n, max_size=n))
        for name in ("brand", "type")[: draw(st.integers(0, 2))]
    }
    weights = KernelWeights(draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.sampled_from([0.0, 1])))
    kernel = build_kernel(n, vectors, has_vector, attributes, weights, facets)
    relevance = rng.permutation(np.linspace(0, 1, n)).round(draw(st.sampled_from([1, 6])))
    return relevance, kernel or Kernel(n)


@st.composite
def large_windows(draw: st.DrawFn) -> tuple[Matrix, Kernel]:
    """Windows of all sizes: generic vectors, twins, missing ones, attributes, equal relevance."""
    n = draw(st.sampled_from([2, 100, 128, 400, 700]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = unit_rows(rng, n, draw(st.sampled_from([8, 64, 200])))
    has_vector = rng.random(n) >= draw(st.sampled_from([0.0, 0.1]))
    vectors[~has_vector] = 0.0
    brands: Values = [None if x < 3 else str(x) for x in rng.integers(0, 40, n)]
    relevance = rng.random(n) ** draw(st.sampled_from([0, 1, 4]))
    if draw(st.booleans()) and n > 20:
        vectors[n - 5 :] = vectors[:5]
        has_vector[n - 5 :] = has_vector[:5]
        brands[n - 5 :] = brands[:5]
    kernel = build_kernel(n, vectors, has_vector, {"brand": brands}, KernelWeights())
    assert kernel is not None
    if draw(st.booleans()):
        relevance = np.sort(relevance)[::-1]
    return relevance, kernel
