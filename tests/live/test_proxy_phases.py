"""Two phases show byte for byte what one search shows, on real engines."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, make_sources, raw_hits, request, without_took
from tests.proxy.wire import proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

INDEX = f"phases-{uuid.uuid4().hex[:8]}"
MATCH: dict[str, Any] = {"match": {"description": "red waterproof leather shoes"}}


@dataclass(frozen=True)
class Stand:
    direct: str
    one: str
    two: str
    kind: str


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    load(engine.url, INDEX, make_sources(150, seed=9), number_of_shards=2)
    rerank = {"order_cache_s": 0, "relevance_weight": 1.0, "diversify": {"diversity": 0.0}}
    with reranker(lambda query, text: float(zlib.crc32(text.encode()))) as model:
        one = proxy_settings(engine.url, model.url, rerank=rerank)
        two = proxy_settings(engine.url, model.url, rerank={**rerank, "two_phases": True})
        with serve_app(one) as (first, _), serve_app(two) as (second, _):
            yield Stand(engine.url, first, second, engine.kind)
    request(engine.url, "DELETE", f"/{INDEX}")


HIGHLIGHT: dict[str, Any] = {"fields": {"description": {}}}
NESTED = {
    "bool": {
        "must": MATCH,
        "should": {
            "nested": {
                "path": "variants",
                "query": {"term": {"variants.colour": "red"}},
                "inner_hits": {},
            }
        },
    }
}
BODIES: dict[str, dict[str, Any]] = {
    "highlight": {"highlight": HIGHLIGHT},
    "any field": {
        "highlight": {"require_field_match": False, "fields": {"title": {}, "description": {}}}
    },
    "whole field": {"highlight": {"number_of_fragments": 0, "fields": {"*": {}}}},
    "plain": {"highlight": {"type": "plain", "fields": {"description": {"fragment_size": 20}}}},
    "by score": {"highlight": {"order": "score", "fields": {"description": {}}}},
    "another query": {
        "highlight": {"highlight_query": {"match": {"description": "warm"}}, **HIGHLIGHT}
    },
    "post filter": {"highlight": HIGHLIGHT, "post_filter": {"term": {"category": "red"}}},
    "nested": {"query": NESTED, "highlight": HIGHLIGHT},
    "aggregations": {
        "highlight": HIGHLIGHT,
        "aggs": {"brands": {"terms": {"field": "brand"}}},
        "suggest": {"s": {"text": "rde", "term": {"field": "title"}}},
        "track_total_hits": 7,
    },
    "source off": {"highlight": HIGHLIGHT, "_source": False},
    "source and fields": {"highlight": HIGHLIGHT, "_source": ["title"], "fields": ["brand"]},
    "explain": {"highlight": HIGHLIGHT, "explain": True},
    "our explain": {"highlight": HIGHLIGHT, "ext": {"es_rerank": {"explain": True}}},
    "named": {
        "query": {"match": {"description": {"query": "red shoes", "_name": "words"}}},
        "highlight": HIGHLIGHT,
        "version": True,
        "seq_no_primary_term": True,
    },
    "second page": {"highlight": HIGHLIGHT, "from": 13, "size": 9},
    "min score": {"highlight": HIGHLIGHT, "min_score": 0.5},
    "nothing": {"query": {"match": {"title": "unheard"}}, "highlight": HIGHLIGHT},
    "script": {"script_fields": {"twice": {"script": "params._source.price"}}},
    "script of doc values": {"script_fields": {"s": {"script": "doc['price'].size() + 1"}}},
}
ONE_SEARCH: dict[str, dict[str, Any]] = {
    "collapse": {"highlight": HIGHLIGHT, "collapse": {"field": "category"}},
    "profile": {"highlight": HIGHLIGHT, "profile": True},
    "large page": {"highlight": HIGHLIGHT, "size": 50},
    "nothing dear": {},
}


def search(url: str, body: dict[str, Any], query: str = "") -> Any:
    return request(url, "POST", f"/{INDEX}/_search?{query}", {"query": MATCH, **body})


def stages(answer: Any) -> list[str]:
    return [part.split(";")[0] for part in answer.headers["Server-Timing"].split(", ")]


@pytest.mark.parametrize("query", ["", "pretty&preference=_local"])
@pytest.mark.parametrize("name", BODIES)
def test_two_phases_show_what_one_search_shows(stand: Stand, name: str, query: str) -> None:
    if "script" in name and stand.kind == "elasticsearch":
        pytest.skip("this Elasticsearch has no script language")
    body = BODIES[name]
    one, two = search(stand.one, body, query), search(stand.two, body, query)
    assert (one.status, one.headers["X-Es-Rerank"]) == (200, two.headers["X-Es-Rerank"]), one.data
    assert without_took(two.data) == without_took(one.data)
    assert "show" not in stages(one)
    hits = raw_hits(two.data)
    assert ("show" in stages(two)) is bool(hits)
    if "highlight" in body and hits and name not in {"another query", "post filter"}:
        assert any("highlight" in hit for hit in hits)


@pytest.mark.parametrize("name", ONE_SEARCH)
def test_where_in_doubt_one_search_does(stand: Stand, name: str) -> None:
    two = search(stand.two, ONE_SEARCH[name])
    assert two.headers["X-Es-Rerank"] == "applied"
    assert "show" not in stages(two)


def test_one_id_in_many_indices_falls_back_to_one_search(stand: Stand) -> None:
    """More hits bear the page's ids than are asked for: the answer is whole all the same."""
    copies = [f"{INDEX}-{i}" for i in range(7)]
    sources = [json.dumps({"description": f"red shoes {i}"}).encode() for i in range(4)]
    for copy in copies:
        load(stand.direct, copy, sources)
    try:
        path = f"/{INDEX}-*/_search"
        body = {"query": MATCH, "size": 4, "highlight": HIGHLIGHT, "_source": False}
        one = request(stand.one, "POST", path, body)
        two = request(stand.two, "POST", path, body)
        assert without_took(two.data) == without_took(one.data)
    finally:
        for copy in copies:
            request(stand.direct, "DELETE", f"/{copy}")
