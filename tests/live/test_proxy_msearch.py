"""`_msearch` on real engines: each search as it is alone, and byte for byte where it is off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread
from tests.live.test_proxy_pages import BLOCKS, QUERIES
from tests.proxy.catalogue import load, make_sources, request, without_took
from tests.proxy.wire import proxy_settings, serve_app

pytestmark = pytest.mark.live

INDEX = "msearch-cases"
PROPERTY = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
NDJSON = {"content-type": "application/x-ndjson"}


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str
    off: str
    kind: str


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    load(engine.url, INDEX, make_sources(150, seed=5), number_of_shards=2)
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000},
    }
    off = proxy_settings(engine.url, rerank={"enabled": False})
    with serve_in_thread(load_settings(None, tables)) as proxied, serve_app(off) as (plain, _):
        yield Stand(engine.url, proxied, plain, engine.kind)
    request(engine.url, "DELETE", f"/{INDEX}")


HEADERS = st.sampled_from(
    [
        {},
        {"index": INDEX},
        {"index": [INDEX], "preference": "_local"},
        {"index": "not-there", "ignore_unavailable": True},
        {"index": "not-there"},
        {"search_type": "dfs_query_then_fetch", "routing": "x"},
    ]
)
SEARCHES = st.fixed_dictionaries(
    {"query": st.sampled_from(QUERIES)},
    optional={
        "size": st.integers(0, 20),
        "from": st.integers(0, 130),
        "sort": st.sampled_from(["_score", ["price"]]),
        "aggs": st.just({"brands": {"terms": {"field": "brand"}}}),
        "_source": st.sampled_from([False, ["title"]]),
        "highlight": st.just({"fields": {"title": {}}}),
    },
)
PAIRS = st.lists(st.tuples(HEADERS, SEARCHES), min_size=1, max_size=5)
PARAMETERS = st.lists(
    st.sampled_from(
        ["typed_keys=true", "rest_total_hits_as_int=true", "max_concurrent_searches=1"]
    ),
    unique=True,
    max_size=2,
)


def write(pairs: list[tuple[dict[str, Any], dict[str, Any]]], empty: bool = False) -> bytes:
    return b"".join(
        (b"" if empty and i and not header else json.dumps(header).encode())
        + b"\n"
        + json.dumps(body).encode()
        + b"\n"
        for i, (header, body) in enumerate(pairs)
    )


@PROPERTY
@given(pairs=PAIRS, parameters=PARAMETERS, empty=st.booleans())
def test_with_reranking_off_bodies_are_the_engines_bytes(
    stand: Stand, pairs: Any, parameters: list[str], empty: bool
) -> None:
    path = f"/{INDEX}/_msearch?{'&'.join(parameters)}"
    sent = write(pairs, empty)
    direct = request(stand.direct, "POST", path, sent, **NDJSON)
    answer = request(stand.off, "POST", path, sent, **NDJSON)
    assert answer.status == direct.status
    assert without_took(answer.data) == without_took(direct.data)
    assert answer.headers["X-Es-Rerank"].startswith("skipped; items=")
    assert answer.headers.get("content-type") == direct.headers.get("content-type")


@PROPERTY
@given(pairs=PAIRS, blocks=st.lists(st.none() | BLOCKS, min_size=5, max_size=5))
def test_each_search_is_as_it_is_alone(stand: Stand, pairs: Any, blocks: list[Any]) -> None:
    pairs = [
        (header, body if block is None else {**body, "ext": {"es_rerank": block}})
        for (header, body), block in zip(pairs, blocks, strict=False)
    ]
    answer = request(stand.proxied, "POST", f"/{INDEX}/_msearch", write(pairs), **NDJSON)
    assert answer.status == 200, answer.data
    responses = answer.json()["responses"]
    marks = answer.headers["X-Es-Rerank-Items"].split(", ")
    assert len(responses) == len(marks) == len(pairs)
    for (header, body), response, mark in zip(pairs, responses, marks, strict=True):
        index = header.get("index", INDEX)
        index = index if isinstance(index, str) else ",".join(index)
        rest = {k: str(v).lower() for k, v in header.items() if k != "index"}
        query = "&".join(f"{key}={value}" for key, value in rest.items())
        alone = request(stand.proxied, "POST", f"/{index}/_search?{query}", body)
        value = alone.json()
        assert response.pop("status") == alone.status
        value.pop("status", None)
        assert {**response, "took": 0} == {**value, "took": 0}
        own = alone.headers.get("X-Es-Rerank", "error").split("; ")
        told = [part for part in own if not part.startswith(("unknown=", "clamped="))]
        assert mark == ";".join(told).replace(",", "+")


def test_the_official_clients_helpers(engine: Node, stand: Stand) -> None:
    """`msearch` of each engine's own client, with what it sends of its own."""
    searches: list[Any] = []
    for query in QUERIES[:3]:
        searches += [{"index": INDEX}, {"query": query, "size": 5}]
    if engine.kind == "elasticsearch":
        with Elasticsearch(stand.proxied, http_compress=True, max_retries=0) as client:
            answer: Any = client.msearch(searches=searches, typed_keys=True)
            headers = answer.meta.headers
            alone = [
                client.search(index=INDEX, query=query, size=5)["hits"] for query in QUERIES[:3]
            ]
        assert headers["x-es-rerank"] == "applied; items=3; applied=3"
    else:
        with OpenSearch(stand.proxied, http_compress=True, max_retries=0) as other:
            answer = other.msearch(body=searches, params={"typed_keys": "true"})
            alone = [
                other.search(index=INDEX, body={"query": query, "size": 5})["hits"]
                for query in QUERIES[:3]
            ]
    assert [part["hits"] for part in answer["responses"]] == alone
    assert [part["status"] for part in answer["responses"]] == [200] * 3
