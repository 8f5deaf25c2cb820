"""The benchmark of suggestions, on queries made here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.suggest import Asked, compare_budget, describe, measure, serve, teach
from es_rerank.training.catalogue import Product
from es_rerank.training.suggest.choice import Pool


def make_asked(seed: int, count: int = 12) -> list[Asked]:
    """Queries whose third feature alone tells what is good."""
    chance = np.random.default_rng(seed)
    asked = []
    for q in range(count):
        words, vectors, telling = chance.random((3, 30))
        ids = [f"d{i}" for i in range(30)]
        served = (words + vectors) / 2
        pool = Pool(f"q{q}", ids, ids, {"words": words, "vectors": vectors}, served)
        features = np.column_stack([words, vectors, telling])
        best = np.argsort(-telling)[:5]
        asked.append(Asked(pool, features, {ids[i]: 3 for i in best}))
    return asked


def test_a_model_learns_from_what_is_judged() -> None:
    asked = make_asked(1)
    pairs = [(each.pool.query, key) for each in asked for key in each.pool.ids]
    before = measure(np.array([4.0, 4.0, 0.0]), asked)
    assert measure(teach(asked, pairs, (4.0, 4.0)), asked) > before + 0.2


def test_a_row_compares_equal_numbers() -> None:
    row = compare_budget(make_asked(2), 40, 3, "words", (8.0, 0.0))
    assert (row.what, row.rival, row.n) == ("words, 40 judged pairs | nDCG@10", "random pairs", 3)
    assert row.spread is not None
    assert row.spread.low <= row.ours - row.theirs <= row.spread.high


def test_what_is_served_before() -> None:
    (asked,) = make_asked(3, 1)
    assert serve(asked, (8.0, 0.0)).pool.served == pytest.approx(asked.pool.scores["words"])
    assert serve(asked, (4.0, 4.0)).pool.served == pytest.approx(asked.pool.served)


def test_what_a_model_sees_of_a_pair() -> None:
    product = Product("1", "Acme sun hat", "Acme sun hat. Wide", "Acme", "sun hat", True, {})
    brands, types = {("acme",), ("bolt",)}, {("sun", "hat"), ("shoe", "rack")}
    assert describe("acme sun hats", product, brands, types) == pytest.approx([1, 1, 1, 1, 0, 1, 0])
    other = describe("bolt shoe rack", product, brands, types)
    assert other == pytest.approx([0, 0, 0, 0, 1, 0, 1])
