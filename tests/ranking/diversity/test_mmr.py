from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyversity import diversify
from pyversity.datatypes import Strategy

from es_rerank.ranking.diversity import mmr
from es_rerank.ranking.diversity.kernel import Kernel, KernelWeights, build_kernel
from es_rerank.ranking.diversity.mmr import order_by_mmr
from tests.ranking.diversity.windows import Matrix, large_windows, rounded_rows, windows


def plain_mmr(relevance: Matrix, kernel: Kernel, diversity: float) -> list[int]:
    similarity = kernel.square()
    left = sorted(range(kernel.size), key=lambda i: -relevance[i])
    order: list[int] = []
    while left and len(order) < mmr.PLACES:
        nearest = [max((similarity[i, j] for j in order), default=0.0) for i in left]
        gains = [
            (1 - diversity) * relevance[i] - diversity * max(near, 0.0)
            for i, near in zip(left, nearest, strict=True)
        ]
        order.append(left.pop(int(np.argmax(gains))))
    return order + left


@given(windows(), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_it_takes_the_best_each_time(window: tuple[Matrix, Kernel], diversity: float) -> None:
    relevance, kernel = window
    expected = plain_mmr(relevance, kernel, diversity)
    assert order_by_mmr(relevance, kernel, diversity).tolist() == expected


@given(large_windows(), st.sampled_from([0.1, 1.0]))
def test_the_order_is_a_permutation(window: tuple[Matrix, Kernel], diversity: float) -> None:
    relevance, kernel = window
    order = order_by_mmr(relevance, kernel, diversity)
    assert sorted(order) == list(range(kernel.size))


def test_large_windows_are_ordered_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    kernel = build_kernel(60, rounded_rows(rng, 60, 16), None, {}, KernelWeights())
    assert kernel is not None
    relevance = rng.random(60)
    at_once = order_by_mmr(relevance, kernel, 0.5).tolist()
    monkeypatch.setattr(mmr, "SQUARE", 10)
    assert order_by_mmr(relevance, kernel, 0.5).tolist() == at_once


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_pyversity_on_an_equal_kernel(seed: int) -> None:
    """Which scales relevance to 0..1 and takes the inner product of unit rows as similarity."""
    rng = np.random.default_rng(seed)
    n, k = 40, 15
    vectors = rounded_rows(rng, n, 24)
    relevance = rng.random(n)
    relevance = (relevance - relevance.min()) / (relevance.max() - relevance.min())
    kernel = build_kernel(n, vectors, None, {}, KernelWeights(1.0, 0.0))
    assert kernel is not None
    rows = np.hstack([np.ones((n, 1)), vectors])
    theirs = diversify(rows, relevance, k, strategy=Strategy.MMR, diversity=0.4)
    assert order_by_mmr(relevance, kernel, 0.4)[:k].tolist() == theirs.indices.tolist()
