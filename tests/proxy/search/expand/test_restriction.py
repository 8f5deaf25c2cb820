"""What a query restricts, told apart from the words it searches for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_rerank.proxy.search.expand.restriction import Words, decode_exact, find_restriction

WORDS = Words("red shoes", ("title", "description"))
ASKED = {"match": {"title": {"query": " Red  shoes", "operator": "and"}}}
MULTI = {"multi_match": {"query": "red shoes", "fields": ["brand", "title.stemmed^3"]}}
ACME = {"term": {"brand": "acme"}}
CHEAP = {"range": {"price": {"lt": 10.50}}}
SHOES = {"match": {"category": "shoes"}}
BIRCH = {"term": {"brand": "birch"}}


def any_of(*queries: Any) -> Any:
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


CASES: dict[str, tuple[Any, Any]] = {
    "the words alone": (ASKED, None),
    "several fields": (MULTI, None),
    "plain query string": (
        {"query_string": {"query": "red shoes", "default_field": "title"}},
        None,
    ),
    "filter": ({"bool": {"must": ASKED, "filter": ACME}}, ACME),
    "term in must": ({"bool": {"must": [MULTI, ACME]}}, ACME),
    "other words in must": ({"bool": {"must": [ASKED, SHOES]}}, SHOES),
    "must_not": (
        {"bool": {"must": [ASKED], "filter": [CHEAP], "must_not": [ACME]}},
        {"bool": {"filter": [CHEAP], "must_not": [ACME]}},
    ),
    "only must_not": (
        {"bool": {"should": [ASKED], "must_not": ACME}},
        {"bool": {"must_not": [ACME]}},
    ),
    "words or a term": ({"bool": {"should": [ASKED, ACME]}}, None),
    "words in must, boosts in should": ({"bool": {"must": [ASKED], "should": [ACME, SHOES]}}, None),
    "words in should, a filter": ({"bool": {"should": [ASKED], "filter": [ACME]}}, ACME),
    "at least one of terms": (
        {"bool": {"must": [ASKED], "should": [ACME, BIRCH], "minimum_should_match": 1}},
        any_of(ACME, BIRCH),
    ),
    "at least none": (
        {"bool": {"should": [ASKED, ACME], "minimum_should_match": 0}},
        None,
    ),
    "most of the words": (
        {"bool": {"should": [ASKED, MULTI], "minimum_should_match": "75%"}},
        None,
    ),
    "how many cannot be said": (
        {"bool": {"should": [ASKED, ACME, CHEAP], "minimum_should_match": 2}},
        {"bool": {"should": [ASKED, ACME, CHEAP], "minimum_should_match": "2"}},
    ),
    "dis_max": ({"dis_max": {"queries": [ASKED, MULTI]}}, None),
    "function_score": (
        {
            "function_score": {
                "query": {"bool": {"must": [ASKED], "filter": [ACME]}},
                "functions": [{"filter": BIRCH, "weight": 2}],
            }
        },
        ACME,
    ),
    "boosting": (
        {"boosting": {"positive": {"bool": {"must": [MULTI, ACME]}}, "negative": BIRCH}},
        ACME,
    ),
    "nested": (
        {
            "bool": {
                "must": [ASKED, {"nested": {"path": "offers", "query": ACME, "inner_hits": {}}}]
            }
        },
        {"nested": {"path": "offers", "query": ACME}},
    ),
    "a filter deep below": (
        {"bool": {"must": [{"bool": {"must": [ASKED], "filter": [ACME]}}], "filter": [CHEAP]}},
        {"bool": {"filter": [ACME, CHEAP]}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_words_are_taken_out(case: str) -> None:
    query, expected = CASES[case]
    restriction, found = find_restriction(decode_exact(json.dumps(query).encode()), WORDS)
    assert found
    assert json.loads(msgspec.json.encode(restriction)) == expected


KEPT: dict[str, Any] = {
    "other words": {"match": {"title": "blue hat"}},
    "a field that holds no text": SHOES,
    "the words in a keyword field": {"match": {"category": "red shoes"}},
    "syntax": {"query_string": {"query": "red shoes -brand:acme"}},
    "excluding": {"simple_query_string": {"query": "red -shoes"}},
    "constant_score": {"constant_score": {"filter": ASKED}},
    "a least score": {"script_score": {"query": ASKED, "script": "1", "min_score": 3}},
    "unknown": {"pinned": {"ids": ["1"], "organic": ASKED}},
    "no query": None,
    "a filter": {"bool": {"filter": [ASKED]}},
}


@pytest.mark.parametrize("case", KEPT)
def test_where_no_words_are_found_all_of_it_restricts(case: str) -> None:
    query = KEPT[case]
    _, found = find_restriction(query, WORDS)
    assert not found


def test_numbers_stay_as_they_are() -> None:
    raw = b'{"bool":{"must":[{"match":{"title":"red shoes"}}],"filter":{"term":{"version":1.10}}}}'
    restriction, _ = find_restriction(decode_exact(raw), WORDS)
    assert msgspec.json.encode(restriction) == b'{"term":{"version":1.10}}'


LEAVES = st.sampled_from([ASKED, MULTI, SHOES, ACME, BIRCH, CHEAP, {"match_all": {}}])


def bools(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, max_size=3)
    parts = st.fixed_dictionaries(
        {},
        optional={
            "must": some,
            "filter": some,
            "should": some,
            "must_not": st.lists(LEAVES, max_size=1),
            "minimum_should_match": st.sampled_from([0, 1, 2]),
        },
    )
    return st.one_of(
        parts.map(lambda clause: {"bool": clause}),
        st.lists(inner, min_size=1, max_size=3).map(lambda q: {"dis_max": {"queries": q}}),
        inner.map(lambda q: {"function_score": {"query": q}}),
    )


QUERIES = st.recursive(LEAVES, bools, max_leaves=8)
FACTS = ("words", "shoes", "acme", "birch", "cheap")


def matches(query: Any, facts: frozenset[str]) -> bool:
    """Whether a document of which these facts hold matches, as an engine would judge it."""
    ((kind, clause),) = query.items()
    if kind == "bool":
        musts = [*clause.get("must", []), *clause.get("filter", [])]
        shoulds = clause.get("should", [])
        least = int(clause.get("minimum_should_match", 0 if musts else 1))
        if not musts:
            least = max(least, 1)
        return (
            all(matches(item, facts) for item in musts)
            and not any(matches(item, facts) for item in clause.get("must_not", []))
            and (not shoulds or sum(matches(item, facts) for item in shoulds) >= least)
        )
    if kind == "dis_max":
        return any(matches(item, facts) for item in clause["queries"])
    if kind == "function_score":
        return matches(clause["query"], facts)
    if query in (ASKED, MULTI):
        return "words" in facts
    names = {"category": "shoes", "price": "cheap"}
    if kind == "match_all":
        return True
    ((field, value),) = clause.items()
    return names.get(field, value) in facts


@settings(max_examples=400, deadline=None)
@given(QUERIES, st.sets(st.sampled_from(FACTS)).map(frozenset))
def test_what_matches_the_query_satisfies_the_restriction(
    query: Any, facts: frozenset[str]
) -> None:
    """And what would match if it only bore the words does, so that nothing else is let in."""
    restriction, found = find_restriction(query, WORDS)
    satisfied = restriction is None or matches(restriction, facts)
    if matches(query, facts):
        assert satisfied
    if found and satisfied and not_negated(query):
        assert matches(query, facts | {"words"})


def not_negated(query: Any) -> bool:
    """Whether the words stand only where they must or may match, and once as a restriction never.

    A filter that bears the words itself, or excludes them, is a restriction of its own.
    """
    text = json.dumps(query)
    return '"filter"' not in text and '"must_not"' not in text and "minimum_should" not in text
