from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.diversity.kernel import (
    Kernel,
    KernelWeights,
    build_kernel,
    number_values,
    round_vectors,
)
from tests.ranking.diversity.windows import Matrix, Values, unit_rows, windows


@given(windows())
def test_s_is_positive_semi_definite_with_a_diagonal_of_1(window: tuple[Matrix, Kernel]) -> None:
    kernel = window[1]
    similarity = kernel.square()
    assert np.array_equal(similarity, similarity.T)
    assert np.array_equal(np.diag(similarity), np.ones(len(similarity)))
    assert similarity.min() >= (-1e-12 if kernel.facets is None else -1)
    assert similarity.max() <= 1 + 1e-12
    assert np.linalg.eigvalsh(similarity).min() >= -1e-9


@given(windows(), st.data())
def test_rows_and_parts_are_those_of_s(window: tuple[Matrix, Kernel], data: st.DataObject) -> None:
    """To the last bit: a tie is one however it is computed."""
    kernel = window[1]
    whole = kernel.square()
    ids = np.array(data.draw(st.permutations(range(kernel.size))))
    ids = ids[: data.draw(st.integers(1, kernel.size))]
    assert np.array_equal(kernel.rows(ids), whole[ids])
    assert np.array_equal(kernel.row(ids[0]), whole[ids[0]])
    assert np.array_equal(kernel.square(ids), whole[np.ix_(ids, ids)])
    assert np.array_equal(kernel.take(ids).square(), whole[np.ix_(ids, ids)])


@pytest.mark.parametrize("d", [2, 384, 5000])
@pytest.mark.parametrize("flat", [True, False])
def test_products_are_exact(d: int, flat: bool) -> None:
    """The longest that can be: all components alike, or but one."""
    rng = np.random.default_rng(d)
    vectors = np.sign(unit_rows(rng, 50, d)) if flat else np.eye(d)[rng.integers(0, d, 50)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = round_vectors(vectors, None)
    numbers = rounded.numbers.astype(np.int64)
    assert np.array_equal(rounded.numbers, numbers)
    dots = (rounded.numbers @ rounded.numbers.T).astype(np.int64)
    assert np.array_equal(dots, numbers @ numbers.T)
    assert dots.max() < 2**24


def test_rounding_changes_little() -> None:
    vectors = unit_rows(np.random.default_rng(1), 100, 384)
    cosines = round_vectors(vectors, None).cosines(None, 1.0)
    assert np.abs(cosines - vectors @ vectors.T).max() < 1e-3


def test_a_copy_is_as_alike_as_can_be() -> None:
    """And equally alike to all others, so that it cannot win a tie by rounding."""
    vectors = unit_rows(np.random.default_rng(2), 60, 100)
    vectors[30:] = vectors[:30]
    kernel = build_kernel(60, vectors, None, {}, KernelWeights())
    assert kernel is not None
    similarity = kernel.square()
    assert np.abs(similarity[np.arange(30), np.arange(30, 60)] - 1).max() < 1e-15
    assert np.array_equal(similarity[:30, :30], similarity[30:, 30:])


def test_weights_are_shared_out() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    facets = np.array([[1.0, 0.0], [-1.0, 0.0]])
    attributes: dict[str, Values] = {"brand": ["a", "a"], "type": ["x", "y"], "none": [None, None]}

    def similarity(
        weights: KernelWeights, has_vector: list[bool] | None = None, with_facets: bool = False
    ) -> float:
        present = None if has_vector is None else np.array(has_vector)
        shown = facets if with_facets else None
        kernel = build_kernel(2, vectors, present, attributes, weights, shown)
        assert kernel is not None
        return float(kernel.square()[0, 1])

    assert similarity(KernelWeights(1.0, 0.0)) == pytest.approx(0.5)  # (1 + cos 90°) / 2
    assert similarity(KernelWeights(0.0, 1.0)) == pytest.approx(0.5)  # brand alike, type not
    assert similarity(KernelWeights(3.0, 1.0)) == pytest.approx(0.75 * 0.5 + 0.25 * 0.5)
    assert similarity(KernelWeights(1.0, 0.0), [True, False]) == 0.0
    assert similarity(KernelWeights(1.0, 1.0), [False, False]) == pytest.approx(0.5)
    assert similarity(KernelWeights(0.0, 0.0, 1.0), None, True) == pytest.approx(-1.0)
    assert similarity(KernelWeights(1.0, 1.0, 2.0), None, True) == pytest.approx(0.25 - 0.5)


def test_nothing_to_compare() -> None:
    none: Values = [None, None]
    assert build_kernel(2, None, None, {}, KernelWeights()) is None
    assert build_kernel(2, None, None, {"brand": none}, KernelWeights()) is None
    absent = np.zeros(2, np.bool_)
    zeros = np.zeros((2, 3))
    assert build_kernel(2, zeros, absent, {}, KernelWeights(), zeros) is None
    assert build_kernel(2, np.eye(2), None, {"brand": ["a", "b"]}, KernelWeights(0, 0)) is None


def test_missing_values_are_all_different() -> None:
    codes = number_values(["a", None, "a", None, "b"])
    assert codes[0] == codes[2]
    assert len(set(codes)) == 4
