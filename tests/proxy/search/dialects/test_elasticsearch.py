"""Retrievers unwrapped to the query inside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from es_rerank.errors import RequestError
from es_rerank.proxy.search.dialects.dialect import read_dialects
from es_rerank.proxy.search.request import SearchRequest, read_request

MATCH = {"match": {"title": "moon"}}
SIMILAR: dict[str, Any] = {"field": "title", "inference_text": "how often", "inference_id": "x"}


def read(body: dict[str, Any], *dialects: str) -> SearchRequest:
    raw = json.dumps(body).encode()
    kind = [(b"content-type", b"application/json")]
    request = read_request("POST", b"/_search", b"", kind, raw, 10_000)
    return read_dialects(request, dialects or ("elasticsearch",))


def similar(inner: Any, **more: Any) -> dict[str, Any]:
    return {"text_similarity_reranker": {"retriever": inner, **SIMILAR, **more}}


def diverse(inner: Any, **more: Any) -> dict[str, Any]:
    body = {"type": "mmr", "field": "vector", "lambda": 0.7, "retriever": inner, **more}
    return {"diversify": body}


def standard(**keys: Any) -> dict[str, Any]:
    return {"standard": keys}


def parts(request: SearchRequest) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in request.body.items()}


def test_a_reranker_is_its_query_and_our_words() -> None:
    request = read(
        {
            "size": 3,
            "retriever": similar(standard(query=MATCH), rank_window_size=50, min_score=0.5),
        }
    )
    assert parts(request) == {"size": 3, "query": MATCH}
    assert request.edited
    assert request.block == {
        "query_text": "how often",
        "fields": ["title"],
        "rank_window_size": 50,
        "min_score": 0.5,
    }


def test_lambda_runs_the_other_way() -> None:
    request = read({"retriever": diverse(standard(query=MATCH), size=3, query_vector=[0.1])})
    assert (parts(request), request.block) == ({"query": MATCH}, {"diversity": 0.3})


@pytest.mark.parametrize("outer", [True, False])
def test_they_nest_either_way_and_the_larger_window_counts(outer: bool) -> None:
    inner = standard(query=MATCH)
    retriever = (
        diverse(similar(inner, rank_window_size=30), rank_window_size=20)
        if outer
        else similar(diverse(inner, rank_window_size=30))
    )
    block = read({"retriever": retriever}).block
    assert block == {
        "query_text": "how often",
        "fields": ["title"],
        "diversity": 0.3,
        "rank_window_size": 30,
    }


def test_filters_of_every_level_are_joined() -> None:
    a, b, c = ({"term": {"brand": name}} for name in "abc")
    inner = standard(query=MATCH, filter=[a, b], min_score=0.2, collapse={"field": "brand"})
    request = read({"retriever": similar(inner, filter=c), "aggs": {}})
    assert parts(request) == {
        "aggs": {},
        "query": {"bool": {"must": [MATCH], "filter": [c, a, b]}},
        "min_score": 0.2,
        "collapse": {"field": "brand"},
    }


def test_numbers_keep_their_bytes() -> None:
    inner = b'{"standard":{"query":{"term":{"n":123456789012345678901234567890}}}}'
    outer = json.dumps({"retriever": similar("INNER")}).encode()
    raw = outer.replace(b'"INNER"', inner)
    kind = [(b"content-type", b"application/json")]
    request = read_request("POST", b"/_search", b"", kind, raw, 10_000)
    assert b"123456789012345678901234567890" in bytes(
        read_dialects(request, ["elasticsearch"]).body["query"]
    )


def test_the_requests_own_block_goes_first() -> None:
    own = {"es_rerank": {"query_text": "mine", "diversity": 0.9}}
    request = read({"retriever": similar(standard(query=MATCH)), "ext": own})
    assert request.block == {"query_text": "mine", "fields": ["title"], "diversity": 0.9}


@pytest.mark.parametrize(
    "body",
    [
        {"retriever": standard(query=MATCH)},
        {"retriever": {"rrf": {"retrievers": []}}},
        {"retriever": similar({"rrf": {"retrievers": []}})},
        {"retriever": similar({"linear": {}})},
        {"retriever": similar({"knn": {"field": "v", "query_vector": [1], "k": 1}})},
        {"retriever": similar(standard(query={"knn": {"field": "v", "query_vector": [1]}}))},
        {"retriever": similar(standard(query=MATCH, sort=["price"]))},
        {"retriever": similar(standard(query=MATCH, search_after=[1]))},
        {"retriever": similar(standard(query=MATCH)), "query": MATCH},
        {"retriever": {**similar(standard(query=MATCH)), "standard": {}}},
        {"retriever": "nothing"},
        {"query": MATCH},
    ],
)
def test_what_is_left_to_the_engine(body: dict[str, Any]) -> None:
    request = read(body)
    assert not request.edited
    assert parts(request) == body
    assert request.block is None


def test_off_it_is_the_engines() -> None:
    body = {"retriever": similar(standard(query=MATCH))}
    assert not read(body, "opensearch").edited


@pytest.mark.parametrize(
    ("retriever", "kind", "reason"),
    [
        (
            similar(standard(query=MATCH), foo=1),
            "x_content_parse_exception",
            "[text_similarity_reranker] unknown field [foo]",
        ),
        (
            similar(standard(query=MATCH, foo=1)),
            "x_content_parse_exception",
            "[standard] unknown field [foo]",
        ),
        (
            diverse(standard(query=MATCH), bar=1),
            "x_content_parse_exception",
            "[diversify] unknown field [bar]",
        ),
        (
            {"text_similarity_reranker": {"field": "a", "retriever": standard()}},
            "illegal_argument_exception",
            "[text_similarity_reranker] Required [inference_text]",
        ),
        (
            {"text_similarity_reranker": SIMILAR},
            "illegal_argument_exception",
            "[text_similarity_reranker] Required [retriever]",
        ),
        (
            diverse(standard(query=MATCH), **{"lambda": 2}),
            "illegal_argument_exception",
            "[diversify] [lambda] must be between 0 and 1",
        ),
        (
            diverse(standard(query=MATCH), type="dpp"),
            "illegal_argument_exception",
            "[diversify] [type] must be [mmr]",
        ),
        (
            similar(standard(query=MATCH), min_score=7),
            "illegal_argument_exception",
            "[text_similarity_reranker] [min_score] must be between 0 and 1",
        ),
        (
            similar(standard(query=MATCH), rank_window_size=0),
            "illegal_argument_exception",
            "[text_similarity_reranker] [rank_window_size] must be a whole number from 1",
        ),
        ({"diversify": 3}, "parsing_exception", "[diversify] must be an object"),
    ],
)
def test_what_the_engine_would_refuse(retriever: Any, kind: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        read({"retriever": retriever})
    assert (caught.value.kind, str(caught.value)) == (kind, reason)
