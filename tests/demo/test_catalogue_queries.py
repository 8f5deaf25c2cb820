"""Queries and judgments against the ground truth of the generator."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from es_rerank.demo import sample
from es_rerank.demo.catalogue.files import SEED
from es_rerank.demo.catalogue.judgments import judge
from es_rerank.demo.catalogue.products import Product, make_products
from es_rerank.demo.catalogue.queries import make_logged_queries, make_queries
from es_rerank.demo.catalogue.retrieval import Bm25
from es_rerank.demo.catalogue.vocabulary import read_vocabulary


@pytest.fixture(scope="module")
def products() -> dict[str, Product]:
    return {product.id: product for product in make_products(read_vocabulary(), SEED)}


def graded(text: str) -> dict[str, int]:
    query = next(q for q in sample.load_queries() if q.text == text)
    return sample.load_qrels()[query.id]


def test_counts_and_kinds() -> None:
    queries = sample.load_queries()
    assert len(queries) >= 80
    assert len({q.id for q in queries}) == len({q.text for q in queries}) == len(queries)
    kinds = Counter(kind for q in queries for kind in q.kinds)
    wanted = {"head", "tail", "ambiguous", "brand", "attribute", "misspelt", "chinese", "natural"}
    assert set(kinds) == wanted
    assert all(count >= 6 for count in kinds.values())
    assert all((q.language == "zh") == ("chinese" in q.kinds) for q in queries)


def test_every_query_can_be_answered() -> None:
    qrels = sample.load_qrels()
    relevant = {q: sum(g >= 2 for g in grades.values()) for q, grades in qrels.items()}
    assert min(relevant.values()) >= 1
    assert sum(count > 10 for count in relevant.values()) > 0.6 * len(relevant)


def test_ambiguous_queries_have_several_answerable_intents() -> None:
    by_intent = sample.load_intent_qrels()
    for query in sample.load_queries():
        if "ambiguous" in query.kinds:
            assert len(query.intents) >= 2
            for intent in query.intents:
                assert any(g >= 2 for g in by_intent[query.id][intent].values()), (query, intent)


def test_shipped_grades_are_the_ground_truths(products: dict[str, Product]) -> None:
    qrels = sample.load_qrels()
    for spec in make_queries(read_vocabulary()):
        assert judge(spec, products.values())[0] == qrels[spec.id]


def test_rain_needs_waterproof_shoes(products: dict[str, Product]) -> None:
    for document, grade in graded("shoes for jogging in the rain").items():
        family = products[document].family
        dry = family.attributes.get("waterproof") == "yes"
        if family.language == "zh":
            assert grade <= 1
        elif grade == 3:
            assert family.kind.key == "running_shoes" and dry
        elif family.kind.key == "running_shoes":
            assert grade == 1 and not dry
        elif family.kind.key in ("insoles", "shoe_care"):
            assert grade == 0


def test_accessories_are_hard_negatives(products: dict[str, Product]) -> None:
    grades = graded("laptop")
    for document, product in products.items():
        if product.family.language == "en":
            if product.family.kind.key == "laptop":
                assert grades[document] == 3
            if product.family.kind.key in ("laptop_bag", "laptop_charger"):
                assert grades[document] == 0


def test_misspelt_queries_are_judged_like_the_right_ones() -> None:
    assert graded("runing shoes") == graded("running shoes")


def test_facets_cover_their_query() -> None:
    query = next(q for q in sample.load_queries() if q.text == "running shoes")
    intents = sample.load_intent_qrels()[query.id]
    assert len(intents) > 3
    wanted = {d for d, g in sample.load_qrels()[query.id].items() if g == 3}
    assert wanted == {d for grades in intents.values() for d, g in grades.items() if g == 3}


def test_first_stage_is_crowded_and_misses_synonyms(products: dict[str, Product]) -> None:
    """The disease: few different items in the first ten, and natural language answered badly."""
    rows = [(p.id, p.document["title"], p.document["description"]) for p in products.values()]
    index = Bm25(rows)
    qrels = sample.load_qrels()
    families: list[int] = []
    good: dict[str, list[float]] = {"head": [], "natural": []}
    for query in sample.load_queries():
        top = index.search(query.text, 10)
        if len(top) == 10:
            families.append(len({products[d].family.id for d in top}))
        share = sum(qrels[query.id].get(d, 0) >= 2 for d in top) / 10
        if query.kinds[0] in good:
            good[query.kinds[0]].append(share)
    assert sum(families) / len(families) < 5.5
    assert sum(good["head"]) / len(good["head"]) > 0.8
    assert sum(good["natural"]) / len(good["natural"]) < 0.5


def test_logged_queries_are_not_judged_ones() -> None:
    vocabulary = read_vocabulary()
    judged = {q.text.lower() for q in make_queries(vocabulary)}
    logged: list[Any] = make_logged_queries(vocabulary)
    assert len(logged) > 100
    assert not judged.intersection(q.text for q in logged)
