"""Hits read as candidates."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.document import (
    MAX_TEXT_CHARS,
    clean_text,
    document_text,
    join_texts,
    join_values,
    read_text,
    read_values,
)
from es_rerank.cluster.fields import IndexFields
from es_rerank.proxy.search.seen import Seen
from es_rerank.proxy.search.window import (
    fold,
    gather,
    join_attribute,
    read_price,
    read_score,
    read_scores,
    read_shown,
)
from es_rerank.ranking.vectors import encode_codes

KEYS = st.sampled_from(["a", "b", "c", "a.b", "a.b.c", "b.a", "é"])
PATHS = st.sampled_from(["a", "b", "a.b", "a.b.c", "b.a", "é", "absent", "a.absent"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, "", "X", "y <b>z"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
HITS = st.lists(st.fixed_dictionaries({}, optional={"_source": OBJECTS, "fields": OBJECTS}))


def raw_hit(text: str) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def test_only_wanted_members_are_decoded() -> None:
    hit = raw_hit('{"_source":{"a":{"b":1,"z":9},"a.c":2,"a.b":3,"other":[1e999],"ab":3}}')
    shown = read_shown([hit], ["a.b"])
    assert shown.rows == [({"b": 1, "z": 9}, 3)]
    assert shown.values("a.b") == [[3, 1]]


def test_an_unreadable_object_shows_nothing() -> None:
    broken = raw_hit('{"_source":{"a":1,"b":1e999},"fields":{"a":[2]}}')
    listed = raw_hit('{"_source":[1],"fields":7}')
    assert read_shown([broken, listed], ["a", "b"]).values("a") == [[2], ()]


@given(HITS, st.lists(PATHS, max_size=4), st.booleans())
def test_values_are_those_of_the_whole_document(
    hits: list[dict[str, Any]], paths: list[str], coded: bool
) -> None:
    """However little is decoded, at each path lies what the document has there."""
    shown = read_shown([raw_hit(json.dumps(hit)) for hit in hits], paths, "k" if coded else None)
    documents = [{**hit.get("fields", {}), **hit.get("_source", {})} for hit in hits]
    for path in paths:
        expected = [list(read_values(document, path)) for document in documents]
        assert [list(values) for values in shown.values(path)] == expected
        assert shown.read(path, clean_text, join_values) == [read_text(d, path) for d in documents]
        assert shown.read(path, fold, join_attribute) == [
            join_texts([str(value) for value in values]).casefold() or None for values in expected
        ]
    assert shown.texts(paths) == [document_text(d, paths) or None for d in documents]


def test_long_values_are_cut() -> None:
    long = "x" * (MAX_TEXT_CHARS + 1)
    shown = read_shown([raw_hit(json.dumps({"_source": {"a": long, "b": [long]}}))], ["a", "b"])
    for path in "ab":
        assert shown.texts([path]) == [long[:-1]]
        assert shown.read(path, fold, join_attribute) == [long[:-1]]


@pytest.mark.parametrize("path", ['a"b', "a\\b", "a\nb.c", "", ".", "a..b"])
def test_any_path_may_be_asked_for(path: str) -> None:
    assert read_shown([raw_hit('{"_source":{"a":1}}')], [path]).texts([path]) == [None]


@pytest.mark.parametrize("every_text", [False, True])
def test_texts_are_read_where_they_are_needed(every_text: bool) -> None:
    code = encode_codes(np.array([[0.6, 0.8]], dtype=np.float32))[0]
    stored = '{"_score":2.0,"_source":{"title":"Red","brand":"A"},"fields":{"c":["CODE"]}}'
    hits = [
        raw_hit(stored.replace("CODE", code)),
        raw_hit('{"_score":1.0,"_source":{"title":"Blue","price":9,"size":"XL"}}'),
    ]
    fields = IndexFields(("title",), ("brand",), "price", None, "c", "m")
    found = gather(hits, fields, ["size"], 2, every_text, ["price"])
    assert list(found.texts) == (["Red", "Blue"] if every_text else [None, "Blue"])
    assert [found.texts[1], *found.texts[:0], len(found.texts)] == ["Blue", 2]
    assert found.first_stage.tolist() == [2.0, 1.0]
    assert found.has_vector is not None
    assert found.has_vector.tolist() == [True, False]
    assert found.attributes == {
        "brand": ["a", None],
        "size": [None, "xl"],
        "price band": [None, "3"],
    }
    assert [list(values) for values in found.values["price"]] == [[], [9]]
    by_length = gather(hits, fields, [], None, every_text)
    assert by_length.vectors is not None
    np.testing.assert_array_equal(by_length.vectors, found.vectors)
    without = gather(hits, fields, [], 0, every_text)
    assert without.vectors is None
    assert list(without.texts) == ["Red", "Blue"]


def test_texts_name_their_fields_where_that_is_wanted() -> None:
    hits = [
        raw_hit('{"_source":{"title":"Red shoe.","brand":"Acme","a":{"heel_height":"5 cm"}}}'),
        raw_hit('{"_source":{"title":"Acme","brand":"Acme"}}'),
        raw_hit('{"_source":{}}'),
    ]
    fields = IndexFields(("title", "brand", "a.heel_height"), (), None, None, None, "m")
    found = gather(hits, fields, [], 0, True, labelled=True)
    assert list(found.texts) == [
        "title: Red shoe. brand: Acme. heel height: 5 cm",
        "title: Acme",
        None,
    ]


@pytest.mark.parametrize(
    ("hit", "code"),
    [
        ('{"fields":{"c":["QUJD"],"d":[1]}}', "QUJD"),
        ('{"fields":{"c":[]}}', None),
        ('{"fields":{"c":[1]}}', None),
        ('{"fields":{"c":"QUJD"}}', None),
        ('{"fields":null}', None),
        ("{}", None),
    ],
)
def test_codes_are_read(hit: str, code: str | None) -> None:
    assert read_shown([raw_hit(hit)], ["a"], "c").codes == [code]


def test_scores_are_read() -> None:
    assert read_score(raw_hit('{"_score":1.5}')) == 1.5
    assert read_score(raw_hit('{"_score":null}')) == read_score({}) == 0.0
    hits = [raw_hit('{"_score":1.5}'), raw_hit('{"_score":null}'), {}, raw_hit('{"_score":2}')]
    assert read_scores(hits).tolist() == [1.5, 0.0, 0.0, 2.0]
    assert read_scores([*hits, raw_hit('{"_score":"NaN"}')]).tolist() == [1.5, 0.0, 0.0, 2.0, 0.0]
    assert read_scores([]).shape == (0,)


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
    shown = read_shown([raw_hit(json.dumps({"_source": document}))], ["title", "brand", "price"])
    assert shown.texts(["title"]) == [text]
    assert shown.read("brand", fold, join_attribute) == [brand]
    assert [read_price(values) for values in shown.values("price")] == [price]


CODES = encode_codes(np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32))
DOCUMENTS = st.fixed_dictionaries(
    {"_score": st.sampled_from([1.0, 2.0])},
    optional={
        "_source": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("title", "brand", "price", "size"), SCALARS)
        ),
        "fields": st.fixed_dictionaries({}, optional={"c": st.lists(st.sampled_from(CODES))}),
    },
)
FIELDS = IndexFields(("title",), ("brand",), "price", None, "c", "m")


@given(
    st.lists(st.lists(DOCUMENTS, max_size=5), max_size=6),
    st.sampled_from([1_000, 5_000, 16_000_000]),
    st.booleans(),
)
def test_what_was_read_lately_is_as_read_anew(
    windows: list[list[dict[str, Any]]], most: int, every_text: bool
) -> None:
    seen = Seen(most)
    for window in windows:
        hits = [raw_hit(json.dumps(hit)) for hit in window]
        again = gather(hits, FIELDS, ["size"], 2, every_text, ["price"], seen)
        anew = gather(hits, FIELDS, ["size"], 2, every_text, ["price"])
        assert list(again.texts) == list(anew.texts)
        assert again.attributes == anew.attributes
        assert again.values == anew.values
        np.testing.assert_array_equal(again.vectors, anew.vectors)
        np.testing.assert_array_equal(again.has_vector, anew.has_vector)
        np.testing.assert_array_equal(again.first_stage, anew.first_stage)
        assert seen._bytes == sum(one.weight for one in seen._kept.values()) <= most


def test_a_document_that_changed_is_read_anew_and_so_is_another_recipe() -> None:
    seen = Seen()
    hit = '{"_score":1.0,"_source":{"title":"Red","name":"Boot","brand":"A"}}'
    first = raw_hit(hit)
    assert list(gather([first], FIELDS, [], 2, True, (), seen).texts) == ["Red"]
    assert list(gather([first], FIELDS, [], 2, True, (), seen).texts) == ["Red"]
    assert len(seen._kept) == 1
    changed = raw_hit(hit.replace("Red", "Blue"))
    assert list(gather([changed], FIELDS, [], 2, True, (), seen).texts) == ["Blue"]
    others = IndexFields(("name",), (), None, None, None, None)
    found = gather([first], others, [], 2, True, (), seen)
    assert (list(found.texts), found.attributes) == (["Boot"], {})
