"""The sample shop's benchmark, on lists made here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.judging import paired_rows
from benchmarks.quality.sample import cover_intents, measure
from es_rerank.demo import sample


@pytest.fixture(scope="module")
def ideal() -> dict[str, list[str]]:
    """Every query's documents, best grade first."""
    return {
        query: sorted(graded, key=lambda document: -graded[document])
        for query, graded in sample.load_qrels().items()
    }


def test_the_ideal_order_is_measured_as_one(ideal: dict[str, list[str]]) -> None:
    queries = sample.load_queries()
    documents = {p["id"]: p for p in sample.load_products(with_reviews=False)}
    vectors = dict.fromkeys(documents, np.array([1.0, 0.0]))
    found = measure(ideal, queries, documents, vectors)
    assert set(found["nDCG@10"].values()) == {1.0}
    assert len(found["nDCG@10"]) == len(queries)
    assert set(found["chinese | nDCG@10"]) < set(found["nDCG@10"])
    assert max(value for value in found["ILD@10"].values() if np.isfinite(value)) == 0
    rows = paired_rows({"engine order": found, "again": found}, "engine order")
    assert {row.ratio for row in rows if row.what == "again | nDCG@10"} == {1.0}


def test_a_list_of_one_intent_covers_less_than_one_of_all(ideal: dict[str, list[str]]) -> None:
    query = next(q for q in sample.load_queries() if q.text == "mouse")
    intents = sample.load_intent_qrels()[query.id]
    best = {
        intent: sorted(graded, key=lambda document: -graded[document])
        for intent, graded in intents.items()
    }
    assert len(best) > 1
    one = next(iter(best.values()))[:10]
    mixed = list(dict.fromkeys(d for row in zip(*best.values(), strict=False) for d in row))[:10]
    found = [cover_intents({query.id: top}, [query])[query.id] for top in (one, mixed)]
    assert found[0] < found[1]
