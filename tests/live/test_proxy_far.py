"""Searches across clusters: a second real node knows the session's node as `far`."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.engine.node import Node, boot
from tests.proxy.catalogue import load, request, without_took
from tests.proxy.wire import proxy_settings, serve_app

pytestmark = pytest.mark.live

RUN = uuid.uuid4().hex[:8]
INDEX = f"far-{RUN}"
QUERY: dict[str, Any] = {"query": {"match": {"title": "shoe"}}, "size": 6}


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str


def make_sources(brand: str) -> list[bytes]:
    """Twelve shoes of falling scores; the ids are the same in both clusters."""
    return [
        json.dumps({"title": f"shoe {i} {'red ' * (i % 4)}", "brand": brand}).encode()
        for i in range(12)
    ]


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    load(engine.url, INDEX, make_sources("far"))
    nodes = request(engine.url, "GET", "/_nodes/transport").json()["nodes"]
    (address,) = {node["transport_address"] for node in nodes.values()}
    with boot(engine.kind, heap="512m") as near:
        load(near.url, INDEX, make_sources("near"))
        known = {"cluster.remote.far.seeds": [address]}
        made = request(near.url, "PUT", "/_cluster/settings", {"persistent": known})
        assert made.status == 200, made.data
        rerank = {"relevance_weight": 0.0, "order_cache_s": 0, "diversify": {"diversity": 0.0}}
        with serve_app(proxy_settings(near.url, rerank=rerank)) as (proxied, _):
            yield Stand(near.url, proxied)
    request(engine.url, "DELETE", f"/{INDEX}")


@pytest.mark.parametrize(
    "target",
    [f"far:{INDEX}", f"{INDEX},far:{INDEX}", f"far:{INDEX[:-1]}*", f"*:{INDEX}"],
)
def test_clusters_are_searched(stand: Stand, target: str) -> None:
    """Reranked as any other: in the engine's order, since only its scores count here."""
    direct = request(stand.direct, "POST", f"/{target}/_search", QUERY)
    proxied = request(stand.proxied, "POST", f"/{target}/_search", QUERY)
    assert (direct.status, proxied.status) == (200, 200), direct.data
    assert direct.json()["_clusters"]["successful"] > 0
    assert without_took(proxied.data) == without_took(direct.data)
    assert proxied.headers["X-Es-Rerank"] == "applied"


def test_hits_of_both_clusters_are_spread(stand: Stand) -> None:
    """The same id in two clusters is two hits; pages fit together."""
    both = f"/{INDEX},far:{INDEX}/_search"
    known = request(stand.direct, "POST", both, {**QUERY, "size": 24}).json()["hits"]["hits"]
    block = {"diversity": 0, "crowding": [{"field": "brand", "max_count": 1, "per": 2}]}
    found = []
    for start in range(0, 24, 6):
        body = {**QUERY, "from": start, "ext": {"es_rerank": block}}
        answer = request(stand.proxied, "POST", both, body)
        assert answer.headers["X-Es-Rerank"] == "applied"
        found += answer.json()["hits"]["hits"]
    assert {(h["_index"], h["_id"]) for h in found} == {(h["_index"], h["_id"]) for h in known}
    assert len(found) == len(known) == 24
    brands = [hit["_source"]["brand"] for hit in found]
    assert all(a != b for a, b in itertools.pairwise(brands))
