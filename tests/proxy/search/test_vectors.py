"""Vector searches: raised to the window where that is known to be right, left alone elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from es_rerank.proxy.answer import Header
from es_rerank.proxy.search.query_text import read_query_text
from es_rerank.proxy.search.request import SearchRequest, read_request
from es_rerank.proxy.search.vectors import VectorError, find_vectors, raise_vectors

TYPE: Header = (b"content-type", b"application/json")
V = [0.5, 1.0]
STANDARD = {"standard": {"query": {"match": {"t": "shoe"}}}}


def read(body: dict[str, Any]) -> SearchRequest:
    return read_request("POST", b"/_search", b"", [TYPE], json.dumps(body).encode(), 10**6)


def lifted(body: dict[str, Any], window: int = 100) -> tuple[Any, int | None]:
    raised = raise_vectors(read(body), window)
    return {name: raised.request.value(name) for name in body}, raised.reach


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int | None]] = {
    "section": (
        {"knn": {"field": "v", "query_vector": V, "k": 5, "num_candidates": 10}, "size": 3},
        {"knn": {"field": "v", "query_vector": V, "k": 100, "num_candidates": 150}, "size": 3},
        None,
    ),
    "sections, more than the window": (
        {"knn": [{"field": "v", "k": 300, "num_candidates": 900}, {"field": "w"}]},
        {
            "knn": [
                {"field": "v", "k": 300, "num_candidates": 900},
                {"field": "w", "k": 100, "num_candidates": 150},
            ]
        },
        None,
    ),
    "query of Elasticsearch": (
        {"query": {"knn": {"field": "v", "query_vector": V}}},
        {"query": {"knn": {"field": "v", "query_vector": V, "k": 100, "num_candidates": 150}}},
        None,
    ),
    "query of OpenSearch": (
        {
            "query": {
                "bool": {"should": [{"knn": {"v": {"vector": V, "k": 5}}}, {"term": {"a": 1}}]}
            }
        },
        {
            "query": {
                "bool": {"should": [{"knn": {"v": {"vector": V, "k": 100}}}, {"term": {"a": 1}}]}
            }
        },
        None,
    ),
    "radius": (
        {"query": {"knn": {"v": {"vector": V, "min_score": 0.5}}}},
        {"query": {"knn": {"v": {"vector": V, "min_score": 0.5}}}},
        None,
    ),
    "hybrid": (
        {
            "query": {
                "hybrid": {
                    "queries": [
                        {"match": {"t": "shoe"}},
                        {"neural": {"v": {"query_text": "shoe", "k": 5, "model_id": "m"}}},
                    ],
                    "pagination_depth": 20,
                }
            }
        },
        {
            "query": {
                "hybrid": {
                    "queries": [
                        {"match": {"t": "shoe"}},
                        {"neural": {"v": {"query_text": "shoe", "k": 100, "model_id": "m"}}},
                    ],
                    "pagination_depth": 100,
                }
            }
        },
        None,
    ),
    "hybrid without depth": (
        {"query": {"hybrid": {"queries": [{"match": {"t": "shoe"}}]}}},
        {"query": {"hybrid": {"queries": [{"match": {"t": "shoe"}}]}}},
        100,
    ),
    "sparse": (
        {"query": {"neural_sparse": {"s": {"query_tokens": {"a": 1.0}}}}},
        {"query": {"neural_sparse": {"s": {"query_tokens": {"a": 1.0}}}}},
        None,
    ),
    "standard retriever": ({"retriever": STANDARD}, {"retriever": STANDARD}, None),
    "rrf": (
        {"retriever": {"rrf": {"retrievers": [STANDARD, {"knn": {"field": "v", "k": 5}}]}}},
        {
            "retriever": {
                "rrf": {
                    "retrievers": [
                        STANDARD,
                        {"knn": {"field": "v", "k": 100, "num_candidates": 150}},
                    ],
                    "rank_window_size": 100,
                }
            }
        },
        100,
    ),
    "linear, more than the window": (
        {
            "retriever": {
                "linear": {
                    "rank_window_size": 200,
                    "retrievers": [{"retriever": STANDARD, "weight": 2.0, "normalizer": "minmax"}],
                }
            }
        },
        {
            "retriever": {
                "linear": {
                    "rank_window_size": 200,
                    "retrievers": [{"retriever": STANDARD, "weight": 2.0, "normalizer": "minmax"}],
                }
            }
        },
        200,
    ),
    "rank": (
        {
            "sub_searches": [{"query": {"match": {"t": "shoe"}}}],
            "knn": {"field": "v", "k": 5},
            "rank": {"rrf": {"rank_window_size": 50}},
        },
        {
            "sub_searches": [{"query": {"match": {"t": "shoe"}}}],
            "knn": {"field": "v", "k": 100, "num_candidates": 150},
            "rank": {"rrf": {"rank_window_size": 100}},
        },
        100,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_raised_together(case: str) -> None:
    body, expected, reach = CASES[case]
    assert find_vectors(read(body)) is not None
    assert lifted(body) == (expected, reach)


def test_candidates_end_at_what_engines_allow() -> None:
    body = {"knn": {"field": "v", "k": 10}}
    assert lifted(body, 9000)[0]["knn"] == {"field": "v", "k": 9000, "num_candidates": 10_000}


@pytest.mark.parametrize(
    "body",
    [
        {"query": {"bool": {"filter": [{"knn": {"v": {"vector": V, "k": 5}}}]}}},
        {"query": {"bool": {"must_not": {"knn": {"v": {"vector": V, "k": 5}}}}}},
        {"query": {"constant_score": {"filter": {"knn": {"field": "v"}}}}},
        {"query": {"function_score": {"query": {}, "functions": [{"filter": {"knn": {"a": {}}}}]}}},
        {"query": {"semantic": {"field": "s", "query": "shoe"}}},
        {"query": {"knn": {"v": {"vector": V, "k": "5"}}}},
        {"query": {"knn": {"field": "v", "k": True}}},
        {"query": {"knn": {"v": {"vector": V, "k": 5, "filter": {"knn": {"w": {"k": 1}}}}}}},
        {"query": {"neural": {"v": {"k": 2.5}}}},
        {"retriever": {"text_similarity_reranker": {"retriever": STANDARD}}},
        {"retriever": {"rescorer": {"retriever": STANDARD}}},
        {"retriever": {"standard": {"query": {}, "sort": ["price"]}}},
        {"retriever": {}},
        {"retriever": []},
        {"retriever": {"rrf": {"retrievers": [{"pinned": {}}]}}},
        {"rank": {"other": {}}},
        {"knn": "x"},
        {"sub_searches": [1]},
    ],
)
def test_what_cannot_be_raised_for_certain(body: dict[str, Any]) -> None:
    assert find_vectors(read(body)) is not None
    with pytest.raises(VectorError):
        lifted(body)


def test_words_lie_in_retrievers_too() -> None:
    words = {"standard": {"query": {"match": {"t": "red"}}}}
    inner = {"linear": {"retrievers": [{"retriever": words, "weight": 1}, STANDARD]}}
    assert read_query_text(read({"retriever": {"rrf": {"retrievers": [inner]}}})) == "red shoe"
    searches = [{"query": {"match": {"t": "boots"}}}, {"query": {"knn": {}}}]
    assert read_query_text(read({"sub_searches": searches})) == "boots"
    assert read_query_text(read({"knn": {"field": "v", "query_vector": V}})) is None


def test_plain_searches_have_no_vectors() -> None:
    assert find_vectors(read({"query": {"match": {"knn": "shoe"}}})) is None
    assert find_vectors(read({"query": {"term": {"knn": {"value": "shoe"}}}})) is None
