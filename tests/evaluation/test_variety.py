from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from es_rerank.evaluation.variety import coverage, entropy, exposure, gini, overlap

VALUES = st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), max_size=15)
KS = st.integers(1, 12)
EXPOSURES = arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1e6, width=32))


def test_coverage_by_hand() -> None:
    assert coverage(["a", "a", None, "b"], "abcd", k=4) == 0.5
    assert coverage(["a", "b", "c"], "abcdefgh", k=2) == 1.0  # two places show two values at most
    assert math.isnan(coverage([None], [None]))


@given(VALUES, VALUES, KS)
def test_coverage_is_a_share_blind_to_the_order(
    values: list[str | None], others: list[str | None], k: int
) -> None:
    found = coverage(values, [*values, *others], k)
    assert math.isnan(found) or 0 <= found <= 1
    turned = [*reversed(values[:k]), *values[k:]]
    assert coverage(turned, [*others, *values], k) == pytest.approx(found, nan_ok=True)
    if len({value for value in values[:k] if value}) == k:
        assert found == 1.0


def test_entropy_by_hand() -> None:
    assert entropy(["a", "b", None, "a", "b"], k=5) == 1.0
    assert entropy(["a", "a", "b"], k=2) == 0.0
    assert math.isnan(entropy([None, None]))


@given(VALUES, KS)
def test_entropy_lies_between_one_value_and_as_many_as_fit(
    values: list[str | None], k: int
) -> None:
    found = entropy(values, k)
    shown = [value for value in values[:k] if value]
    if not shown:
        assert math.isnan(found)
        return
    assert 0 <= found <= math.log2(len(set(shown))) + 1e-9
    assert (found < 1e-12) == (len(set(shown)) == 1)
    assert entropy([*reversed(values[:k])], k) == pytest.approx(found)


@given(VALUES.map(lambda v: [x for x in dict.fromkeys(v) if x]), KS)
def test_a_list_overlaps_itself_whole(ranking: list[str], k: int) -> None:
    assert overlap(ranking, ranking, k) == pytest.approx(1.0 if ranking else math.nan, nan_ok=True)
    assert overlap(ranking, [], k) == pytest.approx(0.0 if ranking else math.nan, nan_ok=True)
    assert overlap(ranking, ranking[::-1], 99) == pytest.approx(
        1.0 if ranking else math.nan, nan_ok=True
    )


def test_overlap_by_hand() -> None:
    assert overlap("abcd", "dxyz", k=4) == 0.25
    assert overlap("abcd", "dxyz", k=1) == 0.0


def test_exposure_by_hand() -> None:
    seen = exposure({"q": ["x", None, "x", "y"], "r": ["y"]}, ["x", "y", "z"], k=3)
    assert seen == pytest.approx(np.array([[1 + 1 / 2, 0, 0], [0, 1, 0]]))


def test_gini_by_hand() -> None:
    assert gini(np.array([1.0, 1.0, 1.0])) == pytest.approx(0)
    assert gini(np.array([0.0, 0.0, 0.0, 5.0])) == pytest.approx(3 / 4)
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert np.isnan(gini(np.zeros(3)))
    both = gini(np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert both == pytest.approx([0, 0.5])


@given(EXPOSURES, st.randoms())
def test_gini_is_in_its_range_and_blind_to_names_and_scale(
    values: np.ndarray[Any, Any], chance: Any
) -> None:
    found = float(gini(values))
    if not values.sum():
        assert math.isnan(found)
        return
    assert -1e-9 <= found <= (len(values) - 1) / len(values) + 1e-9
    order = list(range(len(values)))
    chance.shuffle(order)
    assert gini(values[order] * 4) == pytest.approx(found, abs=1e-9)


@given(EXPOSURES)
def test_gini_is_the_mean_difference(values: np.ndarray[Any, Any]) -> None:
    if values.sum() > 0:
        pairs = np.abs(values[:, None] - values[None, :]).mean()
        assert gini(values) == pytest.approx(pairs / (2 * values.mean()), abs=1e-9)
