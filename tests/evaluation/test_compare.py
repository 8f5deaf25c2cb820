from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.evaluation.compare import bootstrap_interval, compare, randomization_test

VALUES = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


def test_compare_pairs_by_query() -> None:
    ours = {"a": 0.5, "b": 0.9, "only ours": 1.0, "undefined": math.nan}
    theirs = {"b": 0.6, "a": 0.4, "only theirs": 0.0, "undefined": 0.1}
    found = compare(ours, theirs)
    assert found.n == 2
    assert found.ours == pytest.approx(0.7)
    assert found.theirs == pytest.approx(0.5)
    assert found.difference == pytest.approx(0.2)
    # of two differences a resample's mean is .1, .2 or .3
    assert [found.low, found.high] == pytest.approx([0.1, 0.3])


def test_compare_needs_a_shared_query() -> None:
    with pytest.raises(ValueError, match="no query"):
        compare({"a": 1.0}, {"b": 1.0})
    with pytest.raises(ValueError, match="no query"):
        compare({"a": math.nan}, {"a": 1.0})


def test_compare_is_repeatable() -> None:
    generator = np.random.default_rng(0)
    ours = {str(i): float(v) for i, v in enumerate(generator.normal(size=30))}
    theirs = dict.fromkeys(ours, 0.0)
    assert compare(ours, theirs) == compare(ours, theirs)
    assert compare(ours, theirs, seed=1) != compare(ours, theirs)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        low, high = bootstrap_interval(
            generator.normal(3, 1, size=56), resamples=600, seed=trial, confidence=0.95
        )
        covered += low <= 3 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_interval_takes_other_statistics() -> None:
    low, high = bootstrap_interval([1, 1, 1, 100], lambda samples: np.median(samples, axis=1))
    assert [low, high] == pytest.approx([1, 100])


@given(VALUES)
def test_interval_lies_within_the_values(values: list[float]) -> None:
    low, high = bootstrap_interval(values, resamples=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_resampling_in_parts_changes_no_size() -> None:
    # 100,000 values are drawn in parts of 40 resamples
    low, high = bootstrap_interval(np.arange(100_000) % 2, resamples=100)
    assert 0.49 < low < high < 0.51


@pytest.mark.parametrize("values", [[], [math.nan], [[1.0]]])
def test_a_sample_is_a_list_of_finite_numbers(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(values)
    with pytest.raises(ValueError, match="finite"):
        randomization_test(values)


def test_randomization_by_counting() -> None:
    # all 8 sign patterns of three equal differences: 2 of them are as extreme as the one seen
    assert randomization_test([1.0, 1.0, 1.0]) == pytest.approx(2 / 8, abs=0.02)
    assert randomization_test([0.1] * 6) == pytest.approx(2 / 64, abs=0.01)


def test_randomization_agrees_with_the_t_test_on_normal_differences() -> None:
    from scipy import stats

    differences = np.random.default_rng(3).normal(0.3, 1, size=60)
    expected = stats.ttest_1samp(differences, 0.0).pvalue
    assert randomization_test(differences) == pytest.approx(expected, abs=0.01)


@given(VALUES)
def test_p_is_a_probability_and_blind_to_the_sign(values: list[float]) -> None:
    p = randomization_test(values, resamples=200)
    assert 0 < p <= 1
    assert randomization_test([-value for value in values], resamples=200) == p


def test_no_difference_is_never_significant() -> None:
    assert randomization_test([0.0] * 20) == 1.0
