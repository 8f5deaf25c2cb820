from __future__ import annotations

import numpy as np

from es_rerank.ranking.diversity.cap import Capper
from es_rerank.ranking.diversity.kernel import Kernel, KernelWeights, build_kernel

BRANDS = ["a", "a", "a", "b", None, "a", "c"]
RELEVANCE = np.linspace(1, 0, 7)


def kernel(name: str = "brand", weights: KernelWeights | None = None) -> Kernel:
    vectors = np.eye(7)
    built = build_kernel(
        7, vectors, None, {"x": ["y"] * 7, name: BRANDS}, weights or KernelWeights()
    )
    assert built is not None
    return built


def test_at_most_so_many_of_a_brand() -> None:
    cap = Capper(max_count=2, per=4)
    assert cap(RELEVANCE, kernel(), 0.05).tolist() == [0, 1, 3, 4, 2, 5, 6]
    assert cap(RELEVANCE[::-1], kernel(), 0.05).tolist() == [6, 5, 4, 3, 2, 1, 0]


def test_shares_do_not_matter() -> None:
    """Not even where attributes have none in what counts as alike."""
    cap = Capper(max_count=2, per=4)
    without = kernel(weights=KernelWeights(1.0, 0.0))
    assert cap(RELEVANCE, without, 0.05).tolist() == [0, 1, 3, 4, 2, 5, 6]


def test_the_first_attribute_stands_in() -> None:
    first = build_kernel(7, None, None, {"maker": BRANDS, "x": ["y"] * 7}, KernelWeights())
    assert first is not None
    assert Capper(2, 4)(RELEVANCE, first, 1.0).tolist() == [0, 1, 3, 4, 2, 5, 6]


def test_nothing_is_capped() -> None:
    assert Capper(1, 10)(RELEVANCE, kernel(), 0.0).tolist() == list(range(7))
    bare = build_kernel(7, np.eye(7), None, {}, KernelWeights())
    assert bare is not None
    assert Capper(1, 10)(RELEVANCE, bare, 0.5).tolist() == list(range(7))
