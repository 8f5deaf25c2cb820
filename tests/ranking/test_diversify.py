from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyversity import diversify
from pyversity.datatypes import Strategy

from es_rerank.ranking.diversify import (
    CHUNK,
    FLOOR,
    Kernel,
    KernelWeights,
    build_kernel,
    greedy_map,
    number_values,
)
from tests.ranking.greedy_oracle import plain_greedy_map

Matrix = NDArray[np.float64]
Values = list[str | None]


def unit_rows(rng: np.random.Generator, n: int, d: int) -> Matrix:
    rows = rng.normal(size=(n, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def full(kernel: Kernel) -> Matrix:
    return kernel.columns(0, kernel.size)


def log_det(matrix: Matrix) -> float:
    sign, value = np.linalg.slogdet(matrix)
    return float(value) if sign > 0 else -np.inf


@st.composite
def windows(draw: st.DrawFn, max_size: int = 12) -> tuple[Matrix, Kernel]:
    """Relevance and a kernel: duplicates, missing vectors and missing values among them."""
    n = draw(st.integers(1, max_size))
    d = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = unit_rows(rng, n, d)
    vectors = vectors[draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))]
    has_vector = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    vectors[~has_vector] = 0.0
    value = st.none() | st.sampled_from("abc")
    attributes = {
        name: draw(st.lists(value, min_size=n, max_size=n))
        for name in ("brand", "type")[: draw(st.integers(0, 2))]
    }
    weights = KernelWeights(draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.sampled_from([0.0, 1])))
    kernel = build_kernel(n, vectors, has_vector, attributes, weights)
    relevance = rng.permutation(np.linspace(0, 1, n)).round(draw(st.sampled_from([1, 6])))
    return relevance, kernel or Kernel(n, np.zeros((n, 1)))


@given(windows(), st.data())
def test_columns_are_those_of_s(window: tuple[Matrix, Kernel], data: st.DataObject) -> None:
    kernel = window[1]
    whole = np.array([kernel.row(i) for i in range(kernel.size)])
    stop = data.draw(st.integers(1, kernel.size))
    start = data.draw(st.integers(0, stop - 1))
    assert np.allclose(kernel.columns(start, stop), whole[:stop, start:stop], atol=1e-12)
    order = np.array(data.draw(st.permutations(range(kernel.size))))
    assert np.allclose(full(kernel.reorder(order)), whole[np.ix_(order, order)], atol=1e-12)


@st.composite
def large_windows(draw: st.DrawFn) -> tuple[Matrix, Kernel]:
    """Windows of several chunks: generic vectors, twins, missing ones, attributes."""
    n = draw(st.sampled_from([2, 100, CHUNK, CHUNK + 1, 400]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = unit_rows(rng, n, draw(st.sampled_from([8, 64, 200])))
    has_vector = rng.random(n) >= draw(st.sampled_from([0.0, 0.1]))
    vectors[~has_vector] = 0.0
    twins = draw(st.booleans())
    brands: Values = [None if x < 3 else str(x) for x in rng.integers(0, 40, n)]
    relevance = rng.random(n) ** draw(st.sampled_from([1, 4]))
    if twins and n > 20:
        vectors[n - 5 :] = vectors[:5]
        has_vector[n - 5 :] = has_vector[:5]
        brands[n - 5 :] = brands[:5]
    kernel = build_kernel(n, vectors, has_vector, {"brand": brands}, KernelWeights())
    assert kernel is not None
    if draw(st.booleans()):
        relevance = np.sort(relevance)[::-1]
    return relevance, kernel


@settings(max_examples=30, deadline=None)
@given(
    large_windows(),
    st.sampled_from([1e-11, 0.001, 0.05, 0.3, 0.9, 1.0]),
    st.sampled_from([1, 50, 200, None]),
)
def test_it_gives_the_order_of_the_plain_algorithm(
    window: tuple[Matrix, Kernel], diversity: float, limit: int | None
) -> None:
    relevance, kernel = window
    expected = plain_greedy_map(relevance, kernel, diversity, limit)
    assert greedy_map(relevance, kernel, diversity, limit).tolist() == expected.tolist()


@given(windows(), st.floats(0, 1), st.none() | st.integers(1, 15))
def test_a_small_window_gets_the_order_of_the_plain_algorithm(
    window: tuple[Matrix, Kernel], diversity: float, limit: int | None
) -> None:
    """The windows here have many exact ties, which rounding may break one way or the other."""
    relevance, kernel = window
    expected = plain_greedy_map(relevance, kernel, diversity, limit).tolist()
    found = greedy_map(relevance, kernel, diversity, limit).tolist()
    if found != expected:
        k = next(i for i in range(len(found)) if found[i] != expected[i])
        ell = full(kernel) * np.exp(
            0.5 * (1 - diversity) / diversity * np.add.outer(*[relevance] * 2)
        )
        sets = [[*found[:k], one[k]] for one in (found, expected)]
        first, second = (log_det(ell[np.ix_(s, s)]) for s in sets)
        assert first == pytest.approx(second, abs=1e-6) or max(first, second) < np.log(FLOOR) / 2


def naive_greedy(relevance: Matrix, similarity: Matrix, diversity: float) -> list[int]:
    """Greedy MAP as it is defined: log det of every extension, computed anew."""
    quality = np.exp(0.5 * (1 - diversity) / diversity * relevance)
    ell = similarity * np.outer(quality, quality)
    chosen: list[int] = []
    while len(chosen) < len(relevance):
        gains = [
            -np.inf if i in chosen else log_det(ell[np.ix_([*chosen, i], [*chosen, i])])
            for i in range(len(relevance))
        ]
        best = max(gains)
        if not np.isfinite(best):
            break
        chosen.append(gains.index(best))
    return chosen


@given(windows())
def test_the_kernel_is_positive_semi_definite_with_a_diagonal_of_1(
    window: tuple[Matrix, Kernel],
) -> None:
    similarity = full(window[1])
    assert np.allclose(similarity, similarity.T)
    assert np.array_equal(np.diag(similarity), np.ones(len(similarity)))
    assert similarity.min() >= -1e-12
    assert similarity.max() <= 1 + 1e-12
    assert np.linalg.eigvalsh(similarity).min() >= -1e-9


@given(windows(), st.floats(0, 1), st.none() | st.integers(1, 15))
def test_the_order_is_a_permutation(
    window: tuple[Matrix, Kernel], diversity: float, limit: int | None
) -> None:
    relevance, kernel = window
    order = greedy_map(relevance, kernel, diversity, limit)
    assert sorted(order) == list(range(kernel.size))


@given(windows(), st.sampled_from([0.0, -0.1, 5e-324, 1e-15]))
def test_without_diversity_it_is_a_stable_sort_by_relevance(
    window: tuple[Matrix, Kernel], diversity: float
) -> None:
    relevance, kernel = window
    expected = sorted(range(kernel.size), key=lambda i: -relevance[i])
    assert greedy_map(relevance, kernel, diversity).tolist() == expected


@settings(max_examples=60)
@given(windows(max_size=8), st.sampled_from([0.05, 0.3, 0.5, 0.8, 1.0]))
def test_no_step_has_a_better_extension(window: tuple[Matrix, Kernel], diversity: float) -> None:
    """Each step's gain in log det L_Y, computed anew, is the best there is, but for rounding."""
    relevance, kernel = window
    pull = (1 - diversity) / diversity * relevance
    similarity = full(kernel)

    def variance(chosen: list[int], i: int) -> float:
        with_i = [*chosen, i]
        before, after = (log_det(similarity[np.ix_(s, s)]) for s in (chosen, with_i))
        return float(np.exp(after - before))

    order = greedy_map(relevance, kernel, diversity).tolist()
    for k in range(len(order)):
        new = {i: variance(order[:k], i) for i in order[k:]}
        if max(new.values()) < FLOOR / 2:  # only repetitions are left: they follow by relevance
            rest = relevance[order[k:]].tolist()
            assert rest == sorted(rest, reverse=True)
            break
        if max(new.values()) < 2 * FLOOR:  # so near the floor rounding decides
            break
        gains = [pull[i] + np.log(v) for i, v in new.items() if v > 2 * FLOOR]
        assert new[order[k]] > FLOOR / 2
        assert pull[order[k]] + np.log(new[order[k]]) >= max(gains) - 1e-6


@pytest.mark.parametrize("diversity", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_it_equals_naive_greedy(seed: int, diversity: float) -> None:
    rng = np.random.default_rng(seed)
    n = 14
    has_vector = rng.random(n) > 0.2
    vectors = np.where(has_vector[:, None], unit_rows(rng, n, 20), 0.0)
    brands: Values = [None if x == 4 else str(x) for x in rng.integers(0, 5, n)]
    kernel = build_kernel(n, vectors, has_vector, {"brand": brands}, KernelWeights())
    assert kernel is not None
    relevance = rng.random(n)
    expected = naive_greedy(relevance, full(kernel), diversity)
    assert len(expected) == n
    assert greedy_map(relevance, kernel, diversity).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_greedy_is_near_the_optimum(seed: int) -> None:
    """Among all 126 slates of 4 out of 9 no more than one in ten is better; of 1, none."""
    rng = np.random.default_rng(seed)
    n, k, diversity = 9, 4, 0.5
    kernel = build_kernel(n, unit_rows(rng, n, 8), None, {}, KernelWeights())
    assert kernel is not None
    relevance = rng.random(n)
    ell = full(kernel) * np.exp(0.5 * np.add.outer(relevance, relevance))

    def objective(slate: tuple[int, ...]) -> float:
        return log_det(ell[np.ix_(slate, slate)])

    order = tuple(int(i) for i in greedy_map(relevance, kernel, diversity))
    slates = list(combinations(range(n), k))
    greedy = objective(order[:k])
    assert sum(objective(slate) > greedy + 1e-9 for slate in slates) <= len(slates) / 10
    assert order[0] == int(np.argmax(relevance))


@pytest.mark.parametrize("seed", range(10))
def test_greedy_is_the_optimum_where_groups_are_apart(seed: int) -> None:
    """With S block-diagonal and flat within its blocks the best slate is the best of each block."""
    rng = np.random.default_rng(seed)
    brands: Values = ["a", "b", "c", "d", *rng.choice(["a", "b", "c", "d"], 6)]
    kernel = build_kernel(10, None, None, {"brand": brands}, KernelWeights())
    assert kernel is not None
    relevance = rng.random(10)
    ell = full(kernel) * np.exp(0.5 * np.add.outer(relevance, relevance))
    slates = combinations(range(10), 4)
    best = max(slates, key=lambda slate: log_det(ell[np.ix_(slate, slate)]))
    assert set(greedy_map(relevance, kernel, 0.5)[:4].tolist()) == set(best)


@pytest.mark.parametrize("seed", range(10))
def test_it_equals_pyversity_on_an_equal_kernel(seed: int) -> None:
    """pyversity takes the inner product of unit rows as S, and exp(β · z-score) as quality.

    Rows (1, v) / √2 make its S our (1 + cos) / 2; at β = 0 and diversity 1 quality is flat in both.
    """
    rng = np.random.default_rng(seed)
    n, k = 40, 15
    vectors = unit_rows(rng, n, 24)
    kernel = build_kernel(n, vectors, None, {}, KernelWeights(1.0, 0.0))
    assert kernel is not None
    theirs = diversify(
        np.hstack([np.ones((n, 1)), vectors]), np.ones(n), k, strategy=Strategy.DPP, diversity=1.0
    )
    ours = greedy_map(np.ones(n), kernel, 1.0, limit=k)
    assert ours[:k].tolist() == theirs.indices.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_it_equals_pyversity_with_quality(seed: int) -> None:
    """q = exp(β z) with z = (r - mean) / std, so that 2 β / std is our (1 - d) / d."""
    rng = np.random.default_rng(seed)
    n, k, beta = 40, 15, 0.7
    vectors = unit_rows(rng, n, 24)
    relevance = rng.random(n)
    kernel = build_kernel(n, vectors, None, {}, KernelWeights(1.0, 0.0))
    assert kernel is not None
    rows = np.hstack([np.ones((n, 1)), vectors])
    theirs = diversify(rows, relevance, k, strategy=Strategy.DPP, diversity=1.0 - beta)
    pull = 2 * beta / float(relevance.std())
    ours = greedy_map(relevance, kernel, 1 / (1 + pull), limit=k)
    assert ours[:k].tolist() == theirs.indices.tolist()


def test_duplicates_go_down() -> None:
    """Three prints of one shirt and two others: one of each first, then the repetitions."""
    vectors = np.eye(3)[[0, 0, 0, 1, 2]]
    relevance = np.array([1.0, 0.99, 0.98, 0.5, 0.4])
    kernel = build_kernel(5, vectors, None, {}, KernelWeights())
    assert kernel is not None
    assert greedy_map(relevance, kernel, 0.5).tolist() == [0, 3, 4, 1, 2]


def test_a_near_duplicate_is_no_repetition() -> None:
    """S = 0.9995 leaves a variance of 0.001: little, but enough where relevance weighs more."""
    near = np.array([0.999, np.sqrt(1 - 0.999**2), 0.0])
    vectors = np.array([[1.0, 0.0, 0.0], near, [0.0, 0.0, 1.0]])
    kernel = build_kernel(3, vectors, None, {}, KernelWeights())
    assert kernel is not None
    relevance = np.array([1.0, 1.0, 0.0])
    assert greedy_map(relevance, kernel, 0.1).tolist() == [0, 1, 2]
    assert greedy_map(relevance, kernel, 0.5).tolist() == [0, 2, 1]


def test_a_brand_is_spread() -> None:
    kernel = build_kernel(4, None, None, {"brand": ["a", "a", "b", None]}, KernelWeights())
    assert kernel is not None
    assert greedy_map(np.array([1.0, 0.9, 0.5, 0.4]), kernel, 0.5).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("diversity", [0.1, 0.5, 1.0])
def test_ties_go_to_the_first(diversity: float) -> None:
    n = 30
    alone: Values = [str(i) for i in range(n)]
    for values in (alone, ["same"] * n, [None] * (n - 1) + ["x"]):
        kernel = build_kernel(n, None, None, {"a": values}, KernelWeights())
        assert kernel is not None
        assert greedy_map(np.full(n, 0.5), kernel, diversity).tolist() == list(range(n))


@given(windows(), st.integers(1, 12))
def test_beyond_the_limit_the_order_is_by_relevance(
    window: tuple[Matrix, Kernel], limit: int
) -> None:
    relevance, kernel = window
    everything = greedy_map(relevance, kernel, 0.6).tolist()
    limited = greedy_map(relevance, kernel, 0.6, limit).tolist()
    assert limited[:limit] == everything[:limit]
    rest = set(limited[limit:])
    assert limited[limit:] == [i for i in np.argsort(-relevance, kind="stable") if i in rest]


def test_more_diversity_is_less_alike() -> None:
    rng = np.random.default_rng(3)
    n, k = 60, 10
    vectors = unit_rows(rng, n, 16)
    relevance = 0.5 + 0.5 * vectors @ vectors[0]
    kernel = build_kernel(n, vectors, None, {}, KernelWeights())
    assert kernel is not None
    similarity = full(kernel)

    def spread(diversity: float) -> tuple[float, float]:
        top = greedy_map(relevance, kernel, diversity)[:k]
        return float(similarity[np.ix_(top, top)].mean()), float(relevance[top].mean())

    alike, relevant = zip(*(spread(d) for d in (0.0, 0.2, 0.5, 0.8, 1.0)), strict=True)
    assert sorted(alike, reverse=True) == list(alike)
    assert sorted(relevant, reverse=True) == list(relevant)


def test_weights_are_shared_out() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    attributes: dict[str, Values] = {"brand": ["a", "a"], "type": ["x", "y"], "none": [None, None]}

    def similarity(weights: KernelWeights, has_vector: list[bool] | None = None) -> float:
        present = None if has_vector is None else np.array(has_vector)
        kernel = build_kernel(2, vectors, present, attributes, weights)
        assert kernel is not None
        return float(kernel.columns(0, 2)[0, 1])

    assert similarity(KernelWeights(1.0, 0.0)) == pytest.approx(0.5)  # (1 + cos 90°) / 2
    assert similarity(KernelWeights(0.0, 1.0)) == pytest.approx(0.5)  # brand alike, type not
    assert similarity(KernelWeights(3.0, 1.0)) == pytest.approx(0.75 * 0.5 + 0.25 * 0.5)
    assert similarity(KernelWeights(1.0, 0.0), [True, False]) == 0.0
    assert similarity(KernelWeights(1.0, 1.0), [False, False]) == pytest.approx(0.5)


def test_nothing_to_compare() -> None:
    none: Values = [None, None]
    assert build_kernel(2, None, None, {}, KernelWeights()) is None
    assert build_kernel(2, None, None, {"brand": none}, KernelWeights()) is None
    absent = np.zeros(2, np.bool_)
    assert build_kernel(2, np.zeros((2, 3)), absent, {}, KernelWeights()) is None
    assert build_kernel(2, np.eye(2), None, {"brand": ["a", "b"]}, KernelWeights(0, 0)) is None


def test_missing_values_are_all_different() -> None:
    codes = number_values(["a", None, "a", None, "b"])
    assert codes[0] == codes[2]
    assert len(set(codes)) == 4
