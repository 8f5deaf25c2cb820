from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.candidate import Candidates, band_prices

NAN = float("nan")


def test_a_band_is_a_doubling() -> None:
    assert band_prices([10.0, 15.9, 16.0, 31.9, 32.0]) == ["3", "3", "4", "4", "5"]
    assert band_prices([510.0, 520.0]) == ["8", "9"]  # 512 lies between them
    assert band_prices([0.3]) == ["-2"]


def test_finer_bands() -> None:
    assert band_prices([16.0, 22.0, 23.0, 32.0], per_doubling=2) == ["8", "8", "9", "10"]


@pytest.mark.parametrize("price", [None, 0.0, -5.0, NAN, float("inf")])
def test_what_is_no_price_has_no_band(price: float | None) -> None:
    assert band_prices([price]) == [None]


@given(st.lists(st.floats(1e-300, 1e300), min_size=1), st.integers(1, 8))
def test_bands_rise_with_the_price(prices: list[float], per_doubling: int) -> None:
    bands = [int(band or "") for band in band_prices(sorted(prices), per_doubling)]
    assert bands == sorted(bands)
    assert bands[-1] - bands[0] <= per_doubling * np.log2(max(prices) / min(prices)) + 1


def test_length() -> None:
    assert len(Candidates(np.zeros(3), ["a", None, ""])) == 3
