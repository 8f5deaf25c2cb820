"""The words of every kind of query that the engines take: the model is asked with them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, request
from tests.proxy.wire import RawUpstream, proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

INDEX = f"words-{uuid.uuid4().hex[:8]}"
MAPPING = {
    "properties": {
        "title": {"type": "text"},
        "text": {"type": "text"},
        "brand": {"type": "keyword"},
        "parts": {"type": "nested", "properties": {"name": {"type": "text"}}},
    }
}
Stand = tuple[str, RawUpstream]


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    sources = [
        {"title": f"red shoes {i}", "text": "for kids", "brand": "Acme", "parts": [{"name": "red"}]}
        for i in range(6)
    ]
    load(engine.url, INDEX, [json.dumps(source).encode() for source in sources], MAPPING)
    with reranker(lambda query, text: float(text.rsplit(maxsplit=1)[-1] == "kids")) as model:
        rerank = {"order_cache_s": 0}
        with serve_app(proxy_settings(engine.url, model.url, rerank=rerank)) as (proxied, _):
            yield proxied, model
    request(engine.url, "DELETE", f"/{INDEX}")


WORDS = {"title": "red shoes"}
ACME = {"term": {"brand": "Acme"}}
QUERIES: dict[str, tuple[Any, str, str]] = {
    "match": ({"match": WORDS}, "", "red shoes"),
    "match in full": ({"match": {"title": {"query": "red", "boost": 2}}}, "", "red"),
    "match_phrase": ({"match_phrase": WORDS}, "", "red shoes"),
    "match_phrase_prefix": ({"match_phrase_prefix": {"title": "red sho"}}, "", "red sho"),
    "match_bool_prefix": ({"match_bool_prefix": WORDS}, "", "red shoes"),
    "multi_match": ({"multi_match": {"query": "kids red", "fields": ["t*"]}}, "", "kids red"),
    "combined_fields": (
        {"combined_fields": {"query": "red kids", "fields": ["title", "text"]}},
        "",
        "red kids",
    ),
    "query_string": ({"query_string": {"query": "title:(red AND shoes) -green"}}, "", "red shoes"),
    "simple_query_string": (
        {"simple_query_string": {"query": '"red shoes" +kids -blue', "fields": ["title", "text"]}},
        "",
        "red shoes kids",
    ),
    "bool": (
        {
            "bool": {
                "must": [{"match": {"title": "red"}}],
                "should": {"match": {"text": "kids"}},
                "filter": ACME,
                "must_not": {"match": {"title": "blue"}},
            }
        },
        "",
        "red kids",
    ),
    "dis_max": (
        {"dis_max": {"queries": [{"match": {"title": "red"}}, {"match": {"text": "kids"}}]}},
        "",
        "red kids",
    ),
    "function_score": (
        {"function_score": {"query": {"match": WORDS}, "functions": [{"weight": 2}]}},
        "",
        "red shoes",
    ),
    "nested": ({"nested": {"path": "parts", "query": {"match": {"parts.name": "red"}}}}, "", "red"),
    "boosting": (
        {"boosting": {"positive": {"match": WORDS}, "negative": ACME, "negative_boost": 0.5}},
        "",
        "red shoes",
    ),
    "q": (None, "q=title:red+shoes", "red shoes"),
}


@pytest.mark.parametrize("kind", QUERIES)
def test_words_are_found(stand: Stand, kind: str) -> None:
    proxied, model = stand
    query, parameters, words = QUERIES[kind]
    model.requests.clear()
    body = None if query is None else {"query": query}
    answer = request(proxied, "POST", f"/{INDEX}/_search?{parameters}", body)
    if b"unknown query [combined_fields]" in answer.data:
        pytest.skip("OpenSearch 2.19 has no combined_fields")
    assert answer.status == 200, answer.data
    assert len(answer.json()["hits"]["hits"]) == 6
    assert answer.headers["X-Es-Rerank"] == "applied"
    (asked,) = model.requests
    assert json.loads(asked.body)["query"] == words


WORDLESS: dict[str, Any] = {
    "match_all": {"match_all": {}},
    "filters": {"bool": {"filter": [ACME]}},
    "constant_score": {"constant_score": {"filter": {"match": WORDS}}},
    "term": ACME,
    "exists": {"exists": {"field": "title"}},
}


@pytest.mark.parametrize("kind", WORDLESS)
def test_without_words_no_model_is_asked_but_diversity_and_crowding_hold(
    stand: Stand, kind: str
) -> None:
    proxied, model = stand
    model.requests.clear()
    block: dict[str, Any] = {"crowding": [{"field": "brand", "max_count": 1}]}
    body = {"query": WORDLESS[kind], "ext": {"es_rerank": block}}
    answer = request(proxied, "POST", f"/{INDEX}/_search", body)
    mark = answer.headers["X-Es-Rerank"]
    assert mark.startswith("applied; reason=no-query-text"), mark
    assert model.requests == []
    block["query_text"] = "shoes for kids"
    named = request(proxied, "POST", f"/{INDEX}/_search", body)
    assert named.headers["X-Es-Rerank"] == "applied"
    assert json.loads(model.requests[0].body)["query"] == "shoes for kids"
