"""The invariant, on real engines: pages put together are the engine's hits, each exactly once."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread
from tests.proxy.catalogue import load, make_sources, raw_hits, request, without_took
from tests.proxy.wire import proxy_settings, serve_app

pytestmark = pytest.mark.live

DOCUMENTS = 300
INDEX = f"pages-invariant-{uuid.uuid4().hex[:8]}"
PROPERTY = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


@dataclass(frozen=True)
class Stand:
    """An engine, a proxy that reranks before it, and one that does not."""

    direct: str
    proxied: str
    off: str


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    load(engine.url, INDEX, make_sources(DOCUMENTS), number_of_shards=3)
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000},
    }
    off = proxy_settings(engine.url, rerank={"enabled": False})
    with serve_in_thread(load_settings(None, tables)) as proxied, serve_app(off) as (plain, _):
        yield Stand(engine.url, proxied, plain)
    request(engine.url, "DELETE", f"/{INDEX}")


QUERIES: list[dict[str, Any]] = [
    {"match": {"title": "red running shoes"}},
    {"multi_match": {"query": "waterproof winter boots", "fields": ["title^2", "description"]}},
    {"bool": {"should": [{"match": {"title": "kids"}}, {"match": {"description": "wool"}}]}},
    {"match_all": {}},
    {"bool": {"filter": {"term": {"brand": "Acme"}}, "must": {"match": {"description": "light"}}}},
    {"match": {"description": "jacket"}},
    {"match": {"title": "nothing that is there"}},
]
AGGREGATIONS = {"brands": {"terms": {"field": "brand"}}, "mean": {"avg": {"field": "price"}}}
CAPS = st.fixed_dictionaries(
    {"field": st.sampled_from(["brand", "category", "absent"]), "max_count": st.integers(1, 3)},
    optional={"per": st.integers(1, 12)},
)
BLOCKS = st.fixed_dictionaries(
    {"rank_window_size": st.integers(1, 120)},
    optional={
        "diversity": st.sampled_from([0.0, 0.05, 0.3, 0.9, 1.0]),
        "crowding": st.lists(CAPS, max_size=2),
        "weights": st.sampled_from(
            [{"relevance": 1.0, "first_stage": 0.0}, {"relevance": 0.0, "first_stage": 0.0}]
        ),
        "min_score": st.sampled_from([0.2, 0.7]),
        "similarity": st.sampled_from([{"vector": 0.0, "attributes": 1.0}]),
        "query_text": st.sampled_from(["blue sandals", "zzz", "鞋"]),
    },
)
EXTRAS = st.sampled_from(
    [
        {},
        {"aggs": AGGREGATIONS},
        {"_source": False},
        {"_source": ["price", "note"], "fields": ["brand"]},
        {"track_total_hits": False},
        {"sort": ["_score"], "explain": True},
        {"min_score": 0.5},
    ]
)


PAGES: dict[str, Any] = {
    "query": st.sampled_from(QUERIES),
    "block": BLOCKS,
    "extra": EXTRAS,
    "sizes": st.lists(st.integers(1, 60), min_size=1, max_size=4).filter(
        lambda s: sum(s) > 12 * len(s)
    ),
    "in_url": st.booleans(),
}


def check_pages(
    stand: Stand,
    query: dict[str, Any],
    block: dict[str, Any],
    extra: dict[str, Any],
    sizes: list[int],
    in_url: bool,
) -> None:
    """Uneven pages over the window's edge and past the end, whatever the ranking is asked to do."""
    body = {"query": query, **extra}
    path = f"/{INDEX}/_search"
    direct = request(stand.direct, "POST", path, {**body, "size": DOCUMENTS})
    reference, engines = direct.json(), raw_hits(direct.data)
    places = {hit["_id"]: place for place, hit in enumerate(engines)}
    window = block["rank_window_size"]

    final: list[dict[str, bytes]] = []
    start, turns = 0, itertools.cycle(sizes)
    while start < min(window + 40, DOCUMENTS) and len(final) == start:
        size = next(turns)
        page = {"from": start, "size": size}
        sent = {**body, "ext": {"es_rerank": block}, **({} if in_url else page)}
        target = f"{path}?from={start}&size={size}" if in_url else path
        answer = request(stand.proxied, "POST", target, sent)
        assert answer.status == 200, answer.data
        value = answer.json()
        mark = answer.headers["X-Es-Rerank"]
        if start >= window:
            assert mark == "skipped; reason=beyond-window"
        elif len(engines) > 1 and window > 1:
            assert mark.startswith("applied"), mark
        assert value["hits"].get("total") == reference["hits"].get("total")
        assert value["hits"]["max_score"] == reference["hits"]["max_score"]
        assert value.get("aggregations") == reference.get("aggregations")
        assert value["_shards"] == reference["_shards"]
        final += raw_hits(answer.data)
        start += size

    ids = [hit["_id"] for hit in final]
    assert len(set(ids)) == len(ids)
    assert len(ids) == min(start, len(engines))
    assert {places[i] for i in ids[:window]} == set(range(min(window, len(engines))))
    assert ids[window:] == [hit["_id"] for hit in engines][window : len(ids)]

    scores = [hit["_score"] for hit in final]
    assert scores == [hit["_score"] for hit in engines[: len(final)]]
    values = [float(score) for score in scores]
    assert values == sorted(values, reverse=True)
    if values:
        assert values[0] == reference["hits"]["max_score"] or "track_total_hits" in extra
    for hit in final:
        before = engines[places[hit["_id"]]]
        assert hit.get("_source") == before.get("_source")
        assert hit.get("fields") == before.get("fields")
        assert [*hit] == [*before]


@PROPERTY
@given(**PAGES)
def test_pages_are_the_engines_hits_each_once(stand: Stand, **drawn: Any) -> None:
    check_pages(stand, **drawn)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(PROPERTY, max_examples=1000, derandomize=False)
@given(**PAGES)
def test_pages_are_the_engines_hits_each_once_a_thousand_times(stand: Stand, **drawn: Any) -> None:
    check_pages(stand, **drawn)


def test_reranking_changes_the_order_at_all(stand: Stand) -> None:
    """Without this the properties above would hold for a proxy that does nothing."""
    body = {"query": QUERIES[1], "size": 30, "ext": {"es_rerank": {"diversity": 0.5}}}
    ids = [
        hit["_id"]
        for hit in raw_hits(request(stand.proxied, "POST", f"/{INDEX}/_search", body).data)
    ]
    del body["ext"]
    before = [
        hit["_id"]
        for hit in raw_hits(request(stand.direct, "POST", f"/{INDEX}/_search", body).data)
    ]
    assert ids != before


SEARCHES = st.fixed_dictionaries(
    {"query": st.sampled_from(QUERIES)},
    optional={
        "size": st.integers(0, 40),
        "from": st.integers(0, 310),
        "aggs": st.just(AGGREGATIONS),
        "sort": st.sampled_from([["price"], [{"_score": "asc"}], "_score"]),
        "_source": st.sampled_from([False, True, ["title"], {"excludes": ["note.*"]}]),
        "fields": st.just(["brand", {"field": "price"}]),
        "highlight": st.just({"fields": {"title": {}}}),
        "explain": st.booleans(),
        "profile": st.just(False),
        "track_total_hits": st.sampled_from([True, False, 5]),
        "collapse": st.just({"field": "category"}),
    },
)
PARAMETERS = st.lists(
    st.sampled_from(["pretty", "typed_keys", "rest_total_hits_as_int=true", "size=3", "version"]),
    unique=True,
    max_size=3,
)


@PROPERTY
@given(body=SEARCHES, parameters=PARAMETERS, method=st.sampled_from(["GET", "POST"]))
def test_with_reranking_off_bodies_are_the_engines_bytes(
    stand: Stand, body: dict[str, Any], parameters: list[str], method: str
) -> None:
    """Off by the settings and off by the request: status, type and body are the same."""
    path = f"/{INDEX}/_search?{'&'.join(parameters)}"
    direct = request(stand.direct, method, path, body)
    disabled = {"ext": {"es_rerank": {"enabled": False}}}
    for url, sent in ((stand.off, body), (stand.proxied, {**disabled, **body})):
        answer = request(url, method, path, sent)
        assert answer.status == direct.status
        assert without_took(answer.data) == without_took(direct.data)
        assert answer.headers["X-Es-Rerank"] == "skipped; reason=disabled"
        for name in ("content-type", "x-elastic-product", "warning"):
            assert answer.headers.get(name) == direct.headers.get(name)
