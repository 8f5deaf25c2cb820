from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.diversity.adaptive import (
    MOST,
    count_words,
    measure_openness,
    measure_spread,
)
from es_rerank.ranking.diversity.kernel import Kernel, KernelWeights, build_kernel
from tests.ranking.diversity.windows import Matrix, windows


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("gift for dad", 3),
        ("dell laptop charger 65w", 4),
        ("bass", 1),
        ("跑步鞋", 1.5),
        ("无线鼠标 静音", 3),
        ("iphone 15 手机壳", 3.5),
        ("überzieh-schuhe", 2),
        ("?!", 1),
    ],
)
def test_words(query: str, words: float) -> None:
    assert count_words(query) == words


def of_types(types: Sequence[str | None]) -> Kernel:
    kernel = build_kernel(len(types), None, None, {"type": types}, KernelWeights())
    assert kernel is not None
    return kernel


def test_spread_is_the_chance_that_two_hits_differ() -> None:
    equal = np.ones(4)
    assert measure_spread(equal, of_types(["a"] * 4)) == pytest.approx(0.0)
    assert measure_spread(equal, of_types(["a", "a", "b", "b"])) == pytest.approx(0.5)
    assert measure_spread(equal, of_types(list("abcd"))) == pytest.approx(0.75)
    # What hardly fits does not count.
    assert measure_spread(np.array([1.0, 1.0, 0.0, 0.0]), of_types(list("aabc"))) < 0.001


@given(windows(), st.none() | st.text(max_size=40))
def test_openness_has_its_bounds(window: tuple[Matrix, Kernel], query: str | None) -> None:
    assert 0.0 <= measure_openness(query, *window) <= MOST


def test_a_gift_is_open_and_a_charger_is_not() -> None:
    relevance = np.linspace(1.0, 0.8, 10)
    gifts, chargers = of_types(list("abcdefghij")), of_types(["charger"] * 9 + ["laptop"])
    assert measure_openness("gift for dad", relevance, gifts) > 1.5
    assert measure_openness("dell laptop charger 65w", relevance, chargers) < 0.4
    assert measure_openness(None, relevance, gifts) > 1.5
