"""The shopper's words, out of the query shapes that shops send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.search.query_text import (
    find_query_fields,
    find_query_text,
    has_vector_query,
    read_query_string,
)

MATCH = {"match": {"title": "red shoes"}}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (None, None),
        ({"match_all": {}}, None),
        ({"term": {"brand": "acme"}}, None),
        (MATCH, "red shoes"),
        ({"match": {"title": {"query": "  red \n shoes ", "operator": "and"}}}, "red shoes"),
        ({"match": {"size": 42}}, "42"),
        ({"match": {"sold": True}}, None),
        ({"match_phrase": {"title": {"query": "red shoes", "slop": 2}}}, "red shoes"),
        ({"match_phrase_prefix": {"title": "red sh"}}, "red sh"),
        ({"match_bool_prefix": {"title": "red sh"}}, "red sh"),
        ({"multi_match": {"query": "red shoes", "fields": ["title^3", "brand"]}}, "red shoes"),
        ({"combined_fields": {"query": "red shoes", "fields": ["title"]}}, "red shoes"),
        ({"query_string": {"query": 'title:"red shoes"^2 AND brand:acme*'}}, "red shoes acme"),
        ({"simple_query_string": {"query": "red +shoes | boots~2"}}, "red shoes boots"),
        ({"bool": {"must": [MATCH], "filter": [{"match": {"brand": "acme"}}]}}, "red shoes"),
        ({"bool": {"must": MATCH, "must_not": {"match": {"title": "blue"}}}}, "red shoes"),
        (
            {
                "bool": {
                    "should": [MATCH, {"match": {"body": "RED shoes"}}, {"match": {"x": "run"}}]
                }
            },
            "red shoes run",
        ),
        ({"dis_max": {"queries": [MATCH, {"match": {"body": "boots"}}]}}, "red shoes boots"),
        ({"function_score": {"query": {"bool": {"must": [MATCH]}}}}, "red shoes"),
        ({"script_score": {"query": MATCH, "script": {"source": "1"}}}, "red shoes"),
        ({"boosting": {"positive": MATCH, "negative": {"match": {"t": "blue"}}}}, "red shoes"),
        ({"nested": {"path": "variants", "query": MATCH}}, "red shoes"),
        ({"hybrid": {"queries": [MATCH, {"knn": {"v": {"vector": [1.0], "k": 2}}}]}}, "red shoes"),
        ({"neural": {"v": {"query_text": "red shoes", "model_id": "m"}}}, "red shoes"),
        ({"constant_score": {"filter": MATCH}}, None),
        ({"match": {"title": {"query": ["a"]}}}, None),
        ({"match": "broken"}, None),
        ({"bool": []}, None),
        (["match"], None),
    ],
)
def test_words_are_found(query: Any, text: str | None) -> None:
    assert find_query_text(query) == text


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("red shoes", "red shoes"),
        ("title:(red OR blue) AND price:[10 TO 20]", "red blue"),
        ('"red shoes"~2 +new -used', "red shoes new"),
        ("shoes NOT used (-brand:acme !old) -(a b)", "shoes"),
        ("sho?s bo*ts /regex/", "sho s bo ts regex"),
        ("price:>10 shoes^2.5", "shoes"),
        ("date:{2020-01-01 TO *}", ""),
        ("wi-fi router", "wi fi router"),
        ("鞋 красные", "鞋 красные"),
    ],
)
def test_query_syntax_is_taken_off(syntax: str, words: str) -> None:
    assert read_query_string(syntax) == words


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (MATCH, ["title"]),
        (
            {"multi_match": {"query": "a", "fields": ["title^3", "text.*", "brand"]}},
            ["title", "brand"],
        ),
        ({"query_string": {"query": "a", "default_field": "body"}}, ["body"]),
        ({"bool": {"must": [MATCH, MATCH], "filter": [{"match": {"brand": "x"}}]}}, ["title"]),
        ({"multi_match": {"query": "a", "fields": "title"}}, ["title"]),
        ({"multi_match": {"query": "a"}}, []),
        ({"multi_match": {"query": "a", "fields": True}}, []),
        (None, []),
    ],
)
def test_fields_are_found(query: Any, fields: list[str]) -> None:
    assert find_query_fields(query) == fields


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"knn": {"field": "v", "query_vector": [1.0]}}, True),
        ({"bool": {"should": [MATCH, {"knn": {"field": "v", "query_vector": [1.0]}}]}}, True),
        ({"bool": {"filter": {"neural": {"v": {"query_text": "a"}}}}}, True),
        ({"function_score": {"query": {"semantic": {"field": "t", "query": "a"}}}}, True),
        ({"match": {"knn": {"query": "red"}}}, False),
        ({"term": {"hybrid": {"value": "yes"}}}, False),
        ({"match": {"title": "hybrid bike"}}, False),
        ({"multi_match": {"query": "knn", "fields": ["hybrid"]}}, False),
        (None, False),
    ],
)
def test_vector_queries_are_seen_at_any_depth(query: Any, holds: bool) -> None:
    assert has_vector_query(query) is holds


def test_depth_is_bounded() -> None:
    query: dict[str, Any] = MATCH
    for _ in range(5000):
        query = {"bool": {"must": [query]}}
    assert find_query_text(query) is None
    assert find_query_fields(query) == []
    assert has_vector_query(query)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "bool",
                    "must",
                    "should",
                    "query",
                    "match",
                    "multi_match",
                    "fields",
                    "neural",
                    "dis_max",
                    "queries",
                    "title",
                    "query_string",
                    "nested",
                    "knn",
                    "default_field",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_shape_breaks_it(query: Any) -> None:
    text = find_query_text(query)
    assert text is None or text.strip() == text != ""
    assert all(isinstance(name, str) for name in find_query_fields(query))
    assert has_vector_query(query) in {True, False}
