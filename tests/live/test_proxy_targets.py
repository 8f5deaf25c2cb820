"""Index expressions and odd targets on real engines: what is meant reaches the engine as sent."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, request, without_took
from tests.proxy.wire import proxy_settings, serve_app

pytestmark = pytest.mark.live

RUN = uuid.uuid4().hex[:8]
ONE, TWO, ALIAS = f"targets-{RUN}-one", f"targets-{RUN}-two", f"targets-{RUN}-alias"
TODAY = datetime.datetime.now(datetime.UTC).strftime("%Y.%m.%d")
DATED, API = f"targets-{RUN}-{TODAY}", f"search-{RUN}"
DATE_MATH = f"%3Ctargets-{RUN}-%7Bnow%2Fd%7D%3E"
QUERY: dict[str, Any] = {"query": {"match": {"title": "shoe"}}, "size": 8}


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    """The same ids in every index; a filtered alias over two; an index named like an API."""
    for index in (ONE, TWO, DATED, API):
        sources = [
            json.dumps({"title": f"shoe {i} {'red ' * (i % 3)}", "brand": index[-3:]}).encode()
            for i in range(12)
        ]
        load(engine.url, index, sources)
    filtered = {"indices": [ONE, TWO], "alias": ALIAS, "filter": {"match": {"title": "red"}}}
    made = request(engine.url, "POST", "/_aliases", {"actions": [{"add": filtered}]})
    assert made.status == 200, made.data
    routed = json.dumps({"title": "shoe routed"}).encode()
    request(engine.url, "PUT", f"/{ONE}/_doc/3?routing=elsewhere&refresh=true", routed)
    rerank = {
        "relevance_weight": 0.0,
        "first_stage_weight": 1.0,
        "order_cache_s": 0,
        "diversify": {"diversity": 0.0},
    }
    with serve_app(proxy_settings(engine.url, rerank=rerank)) as (proxied, _):
        yield Stand(engine.url, proxied)
    for index in (ONE, TWO, DATED, API):
        request(engine.url, "DELETE", f"/{index}")


TARGETS = [
    f"/{ONE}/_search",
    f"/{ONE},{TWO}/_search",
    f"/{ONE}%2C{TWO}/_search",
    f"/targets-{RUN}-*/_search",
    f"/targets-{RUN}-*,-{ONE}/_search",
    f"/targets-{RUN}-*,-*-one/_search?expand_wildcards=open",
    f"/{ALIAS}/_search",
    f"/{ALIAS},{ONE}/_search/",
    f"/{API}/_search",
    f"/{DATE_MATH}/_search",
    f"/{DATE_MATH},{ONE}/_search?ignore_unavailable=true",
    f"/{ONE},not-there/_search?ignore_unavailable=true",
    "/not-there-*/_search?allow_no_indices=true",
    f"/{ONE}/_search?routing=elsewhere",
    f"/{ONE}/_search?preference=_local&search_type=dfs_query_then_fetch",
    f"/{ONE}/_search?size=3&size=5",
    f"/{ONE}/_search?from=1&size=4&request_cache=true",
    f"//{ONE}//_search",
    f"/{ONE}//_search",
]


@pytest.mark.parametrize("target", TARGETS)
def test_targets(stand: Stand, target: str) -> None:
    """The answer is the engine's byte for byte, intercepted or not."""
    direct = request(stand.direct, "POST", target, QUERY)
    proxied = request(stand.proxied, "POST", target, QUERY)
    assert proxied.status == direct.status
    assert without_took(proxied.data) == without_took(direct.data)
    mark = proxied.headers.get("X-Es-Rerank", "")
    if "//" in target:
        assert mark == ""
    elif "/not-there-*" in target:
        assert mark == "skipped; reason=few-hits"
    else:
        assert mark == "applied"
        assert len(direct.json()["hits"]["hits"]) > 1


@pytest.mark.parametrize(
    "target",
    [
        f"/{ONE}/_doc/_search",
        f"/{ONE}/_doc/3",
        f"/{ONE}/_search/3",
        f"/far:{ONE}/_count",
        f"/{ONE}/_source/3",
        "/_search/nothing",
    ],
)
def test_what_only_looks_like_a_search(stand: Stand, target: str) -> None:
    direct = request(stand.direct, "GET", target)
    proxied = request(stand.proxied, "GET", target)
    assert (proxied.status, without_took(proxied.data)) == (
        direct.status,
        without_took(direct.data),
    )
    assert "X-Es-Rerank" not in proxied.headers


@pytest.mark.parametrize("target", [f"/far:{ONE}/_search", f"/{ONE},far:*/_search"])
def test_clusters_that_are_not_there_are_the_engines_to_judge(stand: Stand, target: str) -> None:
    direct = request(stand.direct, "POST", target, QUERY)
    proxied = request(stand.proxied, "POST", target, QUERY)
    assert (proxied.status, without_took(proxied.data)) == (
        direct.status,
        without_took(direct.data),
    )


def test_one_id_in_several_indices_and_routings(stand: Stand) -> None:
    """Every one of them is a hit of its own, with an order that is kept as well."""
    rerank = {"relevance_weight": 0.0, "diversify": {"diversity": 0.5}, "order_cache_s": 60}
    target = f"/targets-{RUN}-*/_search"
    query = {"query": {"match": {"title": "shoe"}}}
    found: list[tuple[str, str, str]] = []
    with serve_app(proxy_settings(stand.direct, rerank=rerank)) as (proxied, _):
        for start in range(0, 40, 7):
            body = {**query, "from": start, "size": 7}
            answer = request(proxied, "POST", target, body)
            assert answer.headers["X-Es-Rerank"].startswith("applied")
            hits = answer.json()["hits"]["hits"]
            found += [(h["_index"], h["_id"], h.get("_routing", "")) for h in hits]
    whole = request(stand.direct, "POST", target, {**query, "size": 100}).json()["hits"]["hits"]
    assert sorted(found) == sorted((h["_index"], h["_id"], h.get("_routing", "")) for h in whole)
    assert len({one[1] for one in found}) < len(set(found)) == len(found)


MEDIA = [
    ("format=yaml", {}),
    ("format=cbor", {}),
    ("format=smile", {}),
    ("", {"accept": "application/yaml"}),
    ("", {"accept": "application/cbor"}),
    ("", {"accept": "application/smile"}),
]


@pytest.mark.parametrize(("query", "headers"), MEDIA)
def test_other_media_pass(stand: Stand, query: str, headers: dict[str, str]) -> None:
    target = f"/{ONE}/_search?filter_path=hits&{query}"  # without the time it took
    direct = request(stand.direct, "POST", target, QUERY, **headers)
    proxied = request(stand.proxied, "POST", target, QUERY, **headers)
    assert (proxied.status, proxied.data) == (direct.status, direct.data)
    assert proxied.headers["content-type"] == direct.headers["content-type"]
    assert proxied.headers["X-Es-Rerank"] == "skipped; reason=media-type"


def test_vendored_media_are_mirrored(stand: Stand) -> None:
    """Elasticsearch reranked with its own type, OpenSearch's own refusal."""
    kind = "application/vnd.elasticsearch+json;compatible-with=9"
    headers = {"accept": kind, "content-type": kind}
    body = json.dumps(QUERY).encode()
    direct = request(stand.direct, "POST", f"/{ONE}/_search", body, **headers)
    proxied = request(stand.proxied, "POST", f"/{ONE}/_search", body, **headers)
    assert proxied.status == direct.status
    assert proxied.headers["content-type"] == direct.headers["content-type"]
    assert without_took(proxied.data) == without_took(direct.data)
    if direct.status == 200:
        assert proxied.headers["X-Es-Rerank"] == "applied"
        assert "compatible-with=9" in proxied.headers["content-type"]
