"""The loader of the bundled sample catalogue, on the shipped files."""

from __future__ import annotations

from typing import Any

import pytest

from es_rerank.cluster.fields import find_fields
from es_rerank.demo import sample
from es_rerank.demo.sample import DEMO_QUERIES, MAPPING
from es_rerank.errors import DataError


@pytest.fixture(scope="module")
def products() -> list[dict[str, Any]]:
    return sample.load_products()


def test_reviews_are_joined_in(products: list[dict[str, Any]]) -> None:
    assert sum(p["review_count"] for p in products) == sum(len(p["reviews"]) for p in products)
    for product in products:
        ratings = [review["rating"] for review in product["reviews"]]
        assert product["rating"] == pytest.approx(sum(ratings) / len(ratings), abs=0.051)
        assert set(product["reviews"][0]) == {"rating", "text", "date"}


def test_reviews_can_be_left_out() -> None:
    assert all("reviews" not in product for product in sample.load_products(with_reviews=False))


def test_every_field_of_a_product_is_mapped(products: list[dict[str, Any]]) -> None:
    seen = {name for product in products for name in product}
    assert seen == set(MAPPING["properties"])


def test_field_detection_understands_the_mapping() -> None:
    fields = find_fields(MAPPING)
    assert fields.text == ("title", "description")
    assert {"brand", "type", "colour", "seller", "family"} <= set(fields.attributes)
    assert fields.price == "price"


def test_judgments_point_to_products(products: list[dict[str, Any]]) -> None:
    ids = {product["id"] for product in products}
    qrels = sample.load_qrels()
    assert set(qrels) == {query.id for query in sample.load_queries()}
    assert all(set(grades) <= ids for grades in qrels.values())
    assert all(0 <= g <= 3 for grades in qrels.values() for g in grades.values())


def test_intent_judgments_belong_to_intents_and_agree_with_the_grades() -> None:
    qrels, by_intent = sample.load_qrels(), sample.load_intent_qrels()
    for query in sample.load_queries():
        intents = by_intent[query.id]
        assert set(intents) <= set(query.intents)
        for document, grade in qrels[query.id].items():
            assert grade == max(grades.get(document, 0) for grades in intents.values())


def test_demo_queries_are_the_first_of_their_kind() -> None:
    first: dict[str, str] = {}
    for query in sample.load_queries():
        first.setdefault(query.kinds[0], query.id)
    assert {kind: first[kind] for kind in DEMO_QUERIES} == DEMO_QUERIES


def test_missing_files_say_how_to_mend_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(sample, "DATA", tmp_path)
    with pytest.raises(DataError, match=r"python -m es_rerank\.demo\.catalogue"):
        sample.load_products()
