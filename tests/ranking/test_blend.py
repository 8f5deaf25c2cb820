from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.blend import NOISE, Weights, blend, scale

NAN = float("nan")
ANY = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from(
    [NAN, float("inf"), float("-inf")]
)
SCORES = st.lists(ANY, max_size=20).map(lambda x: np.array(x, dtype=np.float64))


@given(SCORES)
def test_scale_fills_0_to_1_and_keeps_the_order(scores: np.ndarray) -> None:
    scaled = scale(scores)
    finite = np.isfinite(scores)
    assert np.array_equal(np.isfinite(scaled), finite)
    kept, original = scaled[finite], scores[finite]
    if len(set(original)) > 1 and np.ptp(original) > NOISE * abs(original).max():
        assert (kept.min(), kept.max()) == (0.0, 1.0)
        assert (np.diff(kept[np.argsort(original, kind="stable")]) >= 0).all()
    else:
        assert (kept == 0.5).all()


def test_rounding_decides_nothing() -> None:
    relevance = np.full(3, -1.0811591148376465)
    relevance[2] += 1.2e-7  # the same text, summed in another order
    assert list(scale(relevance)) == [0.5, 0.5, 0.5]
    first_stage = np.array([3.0, 2.0, 1.0])
    assert list(np.argsort(-blend(first_stage, relevance, Weights(1.0, 0.0)))) == [0, 1, 2]
    assert list(scale(np.array([1.0, 1.0 + 1e-5]))) == [0.0, 1.0]


@given(st.data(), st.integers(0, 20), st.floats(0, 10), st.floats(0, 10))
def test_blended_scores_lie_between_0_and_1(
    data: st.DataObject, n: int, relevance: float, first_stage: float
) -> None:
    lists = st.lists(ANY, min_size=n, max_size=n)
    base = np.array(data.draw(lists), dtype=np.float64)
    model = np.array(data.draw(lists), dtype=np.float64)
    for blended in (
        blend(base, model, Weights(relevance, first_stage)),
        blend(base, None, Weights(relevance, first_stage)),
    ):
        assert blended.shape == (n,)
        assert ((blended >= 0) & (blended <= 1)).all()


def test_the_weighted_mean_of_both_scales() -> None:
    base, model = np.array([10.0, 20.0, 30.0]), np.array([2.0, -2.0, 0.0])
    assert blend(base, model, Weights(0.5, 0.5)) == pytest.approx([0.5, 0.25, 0.75])
    assert blend(base, model, Weights(3.0, 1.0)) == pytest.approx([0.75, 0.125, 0.625])
    assert blend(base, model, Weights(1.0, 0.0)) == pytest.approx([1.0, 0.0, 0.5])
    assert blend(base, model, Weights(0.0, 1.0)) == pytest.approx([0.0, 0.5, 1.0])


def test_what_is_unscored_is_judged_by_the_first_stage() -> None:
    base, model = np.array([20.0, 10.0, 30.0]), np.array([NAN, 1.0, 0.0])
    assert blend(base, model, Weights(3.0, 1.0)) == pytest.approx([0.5, 0.75, 0.25])
    assert blend(base, model, Weights(1.0, 0.0)) == pytest.approx([0.5, 1.0, 0.0])
    unscored = np.full(3, NAN)
    assert blend(base, unscored, Weights()) == pytest.approx([0.5, 0.0, 1.0])
    assert blend(base, None, Weights()) == pytest.approx([0.5, 0.0, 1.0])


def test_a_search_without_scores() -> None:
    """A search sorted by a field answers `_score: null`."""
    base, model = np.array([NAN, NAN]), np.array([0.1, 0.2])
    assert blend(base, None, Weights()).tolist() == [0.0, 0.0]
    assert blend(base, model, Weights()) == pytest.approx([0.0, 0.5])


@given(st.data(), st.integers(1, 12), st.floats(0, 5))
def test_signals_count_by_their_weight_where_they_are_known(
    data: st.DataObject, n: int, weight: float
) -> None:
    base = np.array(data.draw(st.lists(ANY, min_size=n, max_size=n)), dtype=np.float64)
    unit = st.floats(0, 1) | st.just(NAN)
    signal = np.array(data.draw(st.lists(unit, min_size=n, max_size=n)))
    plain = blend(base, None, Weights())
    mixed = blend(base, None, Weights(), [(signal, weight)])
    unknown = np.isnan(signal)
    assert mixed[unknown] == pytest.approx(plain[unknown])
    expected = (plain + weight * signal) / (1 + weight)
    assert mixed[~unknown] == pytest.approx(expected[~unknown])


def test_a_signal_alone_decides_where_nothing_else_weighs() -> None:
    signal = np.array([0.1, 0.9, NAN])
    mixed = blend(np.array([3.0, 2.0, 1.0]), None, Weights(0.0, 0.0), [(signal, 1.0)])
    assert mixed == pytest.approx([0.1, 0.9, 0.0])
