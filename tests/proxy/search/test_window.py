"""Hits read as candidates."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from es_rerank.cluster.fields import IndexFields
from es_rerank.proxy.search.window import (
    gather,
    read_attribute,
    read_candidate_text,
    read_code,
    read_document,
    read_price,
    read_score,
)
from es_rerank.ranking.vectors import encode_codes


def raw_hit(text: str) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def test_only_wanted_members_are_decoded() -> None:
    hit = raw_hit('{"_source":{"a":{"b":1},"a.c":2,"other":[1,2],"ab":3}}')
    assert read_document(hit, {"a"}) == {"a": {"b": 1}, "a.c": 2}


@pytest.mark.parametrize("every_text", [False, True])
def test_texts_are_read_where_they_are_needed(every_text: bool) -> None:
    code = encode_codes(np.array([[0.6, 0.8]], dtype=np.float32))[0]
    stored = '{"_score":2.0,"_source":{"title":"Red","brand":"A"},"fields":{"c":["CODE"]}}'
    hits = [
        raw_hit(stored.replace("CODE", code)),
        raw_hit('{"_score":1.0,"_source":{"title":"Blue","price":9,"size":"XL"}}'),
    ]
    fields = IndexFields(("title",), ("brand",), "price", None, "c", "m")
    found = gather(hits, fields, ["size"], 2, every_text)
    assert found.texts == (["Red", "Blue"] if every_text else [None, "Blue"])
    assert found.first_stage.tolist() == [2.0, 1.0]
    assert found.has_vector is not None
    assert found.has_vector.tolist() == [True, False]
    assert found.attributes == {
        "brand": ["a", None],
        "size": [None, "xl"],
        "price band": [None, "3"],
    }


def test_hits_are_read() -> None:
    assert read_score(raw_hit('{"_score":1.5}')) == 1.5
    assert read_score(raw_hit('{"_score":null}')) == read_score({}) == 0.0
    assert read_code(raw_hit('{"fields":{"c":["QUJD"]}}'), "c") == "QUJD"
    for odd in ('{"fields":{"c":[]}}', '{"fields":{"c":[1]}}', "{}", '{"fields":null}'):
        assert read_code(raw_hit(odd), "c") is None
    shown = read_document(raw_hit('{"_source":{"a":1},"fields":{"a":[2],"b":[3]}}'), {"a", "b"})
    assert shown == {"a": 1, "b": [3]}
    assert read_document({}, {"a"}) == {}


@pytest.mark.parametrize(
    ("document", "text", "brand", "price"),
    [
        ({"title": "Red", "brand": "Acme", "price": 3}, "Red", "acme", 3.0),
        (
            {"title": ["Red", "Shoe"], "brand": ["A", "B"], "price": ["4.5"]},
            "Red, Shoe",
            "a. b",
            4.5,
        ),
        ({"title": "", "brand": "", "price": "cheap"}, None, None, None),
        ({"title": None}, None, None, None),
        ({}, None, None, None),
        ({"title": {"en": "Red"}, "brand": 7, "price": [{"x": 1}]}, None, "7", None),
    ],
)
def test_documents_are_read(
    document: dict[str, Any], text: str | None, brand: str | None, price: float | None
) -> None:
    assert read_candidate_text(document, ["title"]) == text
    assert read_attribute(document, "brand") == brand
    assert read_price(document, "price") == price
