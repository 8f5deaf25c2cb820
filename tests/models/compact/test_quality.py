from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from es_rerank.errors import DataError, QualityError
from es_rerank.models.compact.labels import read_labels, split
from es_rerank.models.compact.quality import Comparison, Measured, check, kendall, ndcg

NUMBERS = st.lists(st.integers(0, 3).map(float), min_size=2, max_size=12)


def test_ndcg_by_hand() -> None:
    gains = np.array([0.0, 3.0, 1.0])
    best = 3 + 1 / math.log2(3)
    assert ndcg(gains, np.array([1.0, 3.0, 2.0])) == pytest.approx(1.0)
    assert ndcg(gains, np.array([3.0, 2.0, 1.0])) == pytest.approx((3 / math.log2(3) + 0.5) / best)
    assert ndcg(gains, np.array([3.0, 2.0, 1.0]), depth=1) == 0.0
    assert ndcg(np.zeros(3), np.arange(3.0)) == 1.0


@given(NUMBERS, st.data())
def test_ndcg_is_a_share_and_whole_for_the_best_order(gains: list[float], data: Any) -> None:
    given = np.array(gains)
    scores = np.array(data.draw(st.permutations(range(len(gains)))), float)
    assert 0 <= ndcg(given, scores) <= 1 + 1e-12
    assert ndcg(given, given) == pytest.approx(1.0)


@given(NUMBERS, st.data())
def test_kendall_is_scipys(one: list[float], data: Any) -> None:
    other = data.draw(st.lists(st.integers(0, 3).map(float), min_size=len(one), max_size=len(one)))
    found = kendall(np.array(one), np.array(other))
    if len(set(one)) > 1 and len(set(other)) > 1:
        assert found == pytest.approx(kendalltau(one, other).statistic, abs=1e-9)
    else:
        assert found == (1.0 if len(set(one)) == len(set(other)) == 1 else 0.0)


def test_labels_are_read_and_what_tells_nothing_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(
        '{"query": "a", "texts": ["x", "y"], "gains": [1, 0], "more": 1}\n\n'
        '{"query": "b", "texts": ["x", "y"], "gains": [1, 1]}\n'
        '{"query": "c", "texts": ["x", "y", "z"], "gains": [0, 0.5, 3]}\n'
    )
    lists = read_labels(file)
    assert [each.query for each in lists] == ["a", "c"]
    assert lists[1].gains.tolist() == [0, 0.5, 3]
    chosen_by, held_out = split(lists)
    assert ([each.query for each in chosen_by], [each.query for each in held_out]) == (["a"], ["c"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", r"labels\.jsonl, line 1 is no"),
        ('{"query": "a"}', "KeyError 'texts'"),
        ('{"query": "a", "texts": ["x"], "gains": [1, 2]}', "1 texts want 1 gains"),
        ('{"query": "a", "texts": ["x", "y"], "gains": [-1, 2]}', "each 0 or more"),
        ('{"query": "a", "texts": [1, 2], "gains": [1, 2]}', "texts a list of texts"),
        ('{"query": "a", "texts": ["x", "y"], "gains": ["b", "c"]}', "is no"),
        ('{"query": "a", "texts": ["x", "y"], "gains": [1, 1]}', "one text is better"),
        ("", "one text is better"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(line)
    with pytest.raises(DataError, match=told):
        read_labels(file)


@pytest.mark.parametrize(("after", "good"), [(0.9, True), (0.8951, True), (0.8949, False)])
def test_the_gate(after: float, good: bool) -> None:
    comparison = Comparison(Measured(1, 1, 0.9), Measured(1, 1, after), 1.0, 40)
    if good:
        check(comparison)
        return
    with pytest.raises(QualityError, match=r"loses 0\.0051 nDCG@10 on 40 held-out lists.*--force"):
        check(comparison)
