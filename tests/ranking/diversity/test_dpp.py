from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyversity import diversify
from pyversity.datatypes import Strategy

from es_rerank.ranking.diversity.dpp import greedy_map
from es_rerank.ranking.diversity.kernel import Kernel, KernelWeights, build_kernel
from es_rerank.ranking.diversity.pool import RIDGE
from tests.ranking.diversity.oracle import plain_greedy_map
from tests.ranking.diversity.windows import (
    Matrix,
    Values,
    large_windows,
    log_det,
    rounded_rows,
    unit_rows,
    windows,
)

STRENGTHS = st.sampled_from([1e-11, 1e-4, 0.001, 0.05, 0.3, 0.9, 1.0])


def make_ell(relevance: Matrix, kernel: Kernel, diversity: float) -> Matrix:
    pull = (1 - diversity) / diversity * (relevance - relevance.max())
    ridge = RIDGE * np.eye(kernel.size)
    return np.asarray((kernel.square() + ridge) * np.exp(0.5 * np.add.outer(pull, pull)))


@settings(max_examples=40)
@given(large_windows(), STRENGTHS, st.sampled_from([1, 50, 200, None]), st.sampled_from([20, 100]))
def test_it_gives_the_order_of_the_plain_algorithm(
    window: tuple[Matrix, Kernel], diversity: float, limit: int | None, width: int
) -> None:
    relevance, kernel = window
    expected = plain_greedy_map(relevance, kernel, diversity, limit, width)
    assert greedy_map(relevance, kernel, diversity, limit, width).tolist() == expected.tolist()


@given(windows(), STRENGTHS | st.floats(0, 1), st.none() | st.integers(1, 15), st.integers(1, 12))
def test_a_small_window_gets_the_order_of_the_plain_algorithm(
    window: tuple[Matrix, Kernel], diversity: float, limit: int | None, width: int
) -> None:
    relevance, kernel = window
    expected = plain_greedy_map(relevance, kernel, diversity, limit, width)
    assert greedy_map(relevance, kernel, diversity, limit, width).tolist() == expected.tolist()


@pytest.mark.parametrize("diversity", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3, 3.0])
def test_a_large_window_gets_the_order_of_the_plain_algorithm(
    spread: float, diversity: float
) -> None:
    """Copies, near copies, and what is generic; relevance of all, of groups, and of none alike."""
    rng = np.random.default_rng(int(100 * spread))
    n, groups = 1500, 60
    own = rng.integers(0, groups, n)
    vectors = unit_rows(rng, groups, 64)[own] + spread * unit_rows(rng, n, 64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kernel = build_kernel(n, vectors, None, {}, KernelWeights())
    assert kernel is not None
    for relevance in (rng.random(n), rng.random(groups)[own], np.full(n, 0.5)):
        expected = plain_greedy_map(relevance, kernel, diversity, 110)
        assert greedy_map(relevance, kernel, diversity, 110).tolist() == expected.tolist()


@given(windows(), st.floats(0, 1), st.none() | st.integers(1, 15))
def test_the_order_is_a_permutation(
    window: tuple[Matrix, Kernel], diversity: float, limit: int | None
) -> None:
    relevance, kernel = window
    order = greedy_map(relevance, kernel, diversity, limit)
    assert sorted(order) == list(range(kernel.size))
    assert order.dtype == np.int64


@given(windows(), st.sampled_from([0.0, -0.1, 5e-324, 1e-15]))
def test_without_diversity_it_is_a_stable_sort_by_relevance(
    window: tuple[Matrix, Kernel], diversity: float
) -> None:
    relevance, kernel = window
    expected = sorted(range(kernel.size), key=lambda i: -relevance[i])
    assert greedy_map(relevance, kernel, diversity).tolist() == expected


@given(windows(max_size=9), st.sampled_from([0.05, 0.3, 0.5, 0.8, 1.0]))
def test_gains_only_fall(window: tuple[Matrix, Kernel], diversity: float) -> None:
    """So no determinant of a longer slate grows by more than a shorter one's did."""
    relevance, kernel = window
    order = greedy_map(relevance, kernel, diversity)
    ell = make_ell(relevance, kernel, diversity)[np.ix_(order, order)]
    sizes = range(1, len(order) + 1)
    log_dets = [0.0, *(log_det(ell[:k, :k]) for k in sizes)]
    gains = np.diff(log_dets)
    assert (np.diff(gains) <= 1e-5).all()


@given(windows(max_size=10), st.sampled_from([0.05, 0.5, 1.0]), st.data())
def test_the_order_does_not_depend_on_how_candidates_come(
    window: tuple[Matrix, Kernel], diversity: float, data: st.DataObject
) -> None:
    """But for ties, of which there are none with relevance all different and no copies."""
    _, kernel = window
    relevance = np.random.default_rng(kernel.size).random(kernel.size)
    moved = np.array(data.draw(st.permutations(range(kernel.size))))
    order = greedy_map(relevance, kernel, diversity)
    again = moved[greedy_map(relevance[moved], kernel.take(moved), diversity)]
    if again.tolist() != order.tolist():  # then both were equally good
        k = int(np.argmax(again != order))
        ell = make_ell(relevance, kernel, diversity)
        first, second = (log_det(ell[np.ix_(s, s)]) for s in (order[: k + 1], again[: k + 1]))
        assert first == pytest.approx(second, abs=1e-4)


def naive_greedy(ell: Matrix) -> list[int]:
    """Greedy MAP as it is defined: log det of every extension, computed anew."""
    chosen: list[int] = []
    while len(chosen) < len(ell):
        gains = [
            -np.inf if i in chosen else log_det(ell[np.ix_([*chosen, i], [*chosen, i])])
            for i in range(len(ell))
        ]
        chosen.append(int(np.argmax(np.array(gains) > max(gains) - 1e-9)))
    return chosen


@pytest.mark.parametrize("diversity", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_it_equals_naive_greedy(seed: int, diversity: float) -> None:
    rng = np.random.default_rng(seed)
    n = 14
    has_vector = rng.random(n) > 0.2
    vectors = np.where(has_vector[:, None], unit_rows(rng, n, 20), 0.0)
    brands: Values = [None if x == 4 else str(x) for x in rng.integers(0, 5, n)]
    facets = unit_rows(rng, n, 32)
    kernel = build_kernel(n, vectors, has_vector, {"brand": brands}, KernelWeights(), facets)
    assert kernel is not None
    relevance = np.sort(rng.random(n))[::-1]  # at diversity 1 the more relevant wins a tie
    expected = naive_greedy(make_ell(relevance, kernel, diversity))
    assert greedy_map(relevance, kernel, diversity).tolist() == expected


@given(windows(max_size=9), st.integers(1, 4), st.sampled_from([0.2, 0.5, 1.0]))
def test_greedy_keeps_its_bounds(window: tuple[Matrix, Kernel], k: int, diversity: float) -> None:
    """Against the best of all slates of k.

    det L_Y of greedy is at least 1 / k!² of the optimum (Civril and Magdon-Ismail, On Selecting a
    Maximum Volume Sub-matrix of a Matrix and Related Problems, 2009). Scaled so that no eigenvalue
    is below 1, log det is monotone and submodular, and greedy has 1 - 1/e of the optimum
    (Nemhauser, Wolsey and Fisher, 1978). The first place is always the best there is.
    """
    relevance, kernel = window
    k = min(k, kernel.size)
    ell = make_ell(relevance, kernel, diversity)
    ell /= np.linalg.eigvalsh(ell).min()
    slates = combinations(range(kernel.size), k)
    best = max(log_det(ell[np.ix_(slate, slate)]) for slate in slates)
    chosen = greedy_map(relevance, kernel, diversity)[:k]
    greedy = log_det(ell[np.ix_(chosen, chosen)])
    assert greedy >= best - 2 * math.log(math.factorial(k)) - 1e-6
    assert greedy >= (1 - 1 / math.e) * best - 1e-6
    if k == 1:
        assert greedy == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_greedy_is_near_the_optimum(seed: int) -> None:
    """Among all 126 slates of 4 out of 9 no more than one in ten is better; of 1, none."""
    rng = np.random.default_rng(seed)
    n, k, diversity = 9, 4, 0.5
    kernel = build_kernel(n, unit_rows(rng, n, 8), None, {}, KernelWeights())
    assert kernel is not None
    relevance = rng.random(n)
    ell = make_ell(relevance, kernel, diversity)

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
    ell = make_ell(relevance, kernel, 0.5)
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
    vectors = rounded_rows(rng, n, 24)
    kernel = build_kernel(n, vectors, None, {}, KernelWeights(1.0, 0.0))
    assert kernel is not None
    theirs = diversify(
        np.hstack([np.ones((n, 1)), vectors]), np.ones(n), k, strategy=Strategy.DPP, diversity=1.0
    )
    ours = greedy_map(np.ones(n), kernel, 1.0, limit=k)
    assert ours[:k].tolist() == theirs.indices.tolist()


@pytest.mark.parametrize("n", [40, 700])
@pytest.mark.parametrize("seed", range(10))
def test_it_equals_pyversity_with_quality(seed: int, n: int) -> None:
    """q = exp(β z) with z = (r - mean) / std, so that 2 β / std is our (1 - d) / d."""
    rng = np.random.default_rng(seed)
    k, beta = 15, 0.7
    vectors = rounded_rows(rng, n, 24)
    relevance = rng.random(n)
    kernel = build_kernel(n, vectors, None, {}, KernelWeights(1.0, 0.0))
    assert kernel is not None
    rows = np.hstack([np.ones((n, 1)), vectors])
    theirs = diversify(rows, relevance, k, strategy=Strategy.DPP, diversity=1.0 - beta)
    pull = 2 * beta / float(relevance.std())
    ours = greedy_map(relevance, kernel, 1 / (1 + pull), limit=k)
    assert ours[:k].tolist() == theirs.indices.tolist()


def test_copies_go_down() -> None:
    """Three prints of one shirt and two others: one of each first, then the copies."""
    vectors = np.eye(3)[[0, 0, 0, 1, 2]]
    relevance = np.array([1.0, 0.99, 0.98, 0.5, 0.4])
    kernel = build_kernel(5, vectors, None, {}, KernelWeights())
    assert kernel is not None
    assert greedy_map(relevance, kernel, 0.5).tolist() == [0, 3, 4, 1, 2]


def test_a_copy_stands_before_what_hardly_fits() -> None:
    """It costs 13 of pull: at .05 the best is 19 above the worst."""
    vectors = np.eye(3)[[0, 0, 1, 2]]
    relevance = np.array([1.0, 0.99, 0.6, 0.1])
    kernel = build_kernel(4, vectors, None, {}, KernelWeights())
    assert kernel is not None
    assert greedy_map(relevance, kernel, 0.05).tolist() == [0, 2, 1, 3]


def test_a_near_duplicate_is_no_copy() -> None:
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


def test_what_the_query_leaves_open_is_spread() -> None:
    """By facets alone, two lists of the same products come in different orders."""
    relevance = np.array([1.0, 0.9, 0.8])
    orders = []
    for rows in ([0, 0, 1], [0, 1, 0]):
        kernel = build_kernel(3, None, None, {}, KernelWeights(), np.eye(2)[rows])
        assert kernel is not None
        orders.append(greedy_map(relevance, kernel, 0.5).tolist())
    assert orders == [[0, 2, 1], [0, 1, 2]]


@pytest.mark.parametrize("diversity", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [30, 700])
def test_ties_go_to_the_first(diversity: float, n: int) -> None:
    alone: Values = [str(i) for i in range(n)]
    for values in (alone, ["same"] * n, [None] * (n - 1) + ["x"]):
        kernel = build_kernel(n, None, None, {"a": values}, KernelWeights())
        assert kernel is not None
        assert greedy_map(np.full(n, 0.5), kernel, diversity, 100).tolist() == list(range(n))


def test_further_down_the_first_hits_are_forgotten() -> None:
    """Two brands in turn; the only one of its brand in the last two is new again."""
    brands: Values = ["a", "b", "c", "a"]
    kernel = build_kernel(4, None, None, {"brand": brands}, KernelWeights())
    assert kernel is not None
    relevance = np.array([1.0, 0.9, 0.3, 0.8])
    assert greedy_map(relevance, kernel, 0.5).tolist() == [0, 1, 2, 3]
    assert greedy_map(relevance, kernel, 0.5, window=1).tolist() == [0, 1, 3, 2]


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
    similarity = kernel.square()

    def spread(diversity: float) -> tuple[float, float]:
        top = greedy_map(relevance, kernel, diversity)[:k]
        return log_det(similarity[np.ix_(top, top)]), float(relevance[top].mean())

    varied, relevant = zip(*(spread(d) for d in (0.0, 0.2, 0.5, 1.0)), strict=True)
    assert sorted(varied) == list(varied)
    assert sorted(relevant, reverse=True) == list(relevant)
