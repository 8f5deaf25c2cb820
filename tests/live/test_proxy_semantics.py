"""What a search may ask for besides its hits, on real engines: the proxy's answer is the engine's.

The model has no weight here and diversity is 0, so that the reranked order is the engine's and
whole answers can be compared byte for byte.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import zstandard

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, raw_hits, request, without_took
from tests.proxy.wire import proxy_settings, serve_app

pytestmark = pytest.mark.live

INDEX = f"semantics-{uuid.uuid4().hex[:8]}"
MAPPING: dict[str, Any] = {
    "properties": {
        "title": {"type": "text", "store": True},
        "brand": {"type": "keyword", "ignore_above": 6},
        "price": {"type": "double", "store": True},
        "day": {"type": "date"},
        "parts": {"properties": {"name": {"type": "keyword"}, "size": {"type": "integer"}}},
    }
}
QUERY: dict[str, Any] = {"query": {"match": {"title": "red shoes"}}}
SOURCES = [
    json.dumps(
        {
            "title": f"{'red ' * (i % 4)}shoes {i}",
            "brand": ["Acme", "Birch", "Too long to index"][i % 3],
            "price": i + 0.5,
            "day": f"2026-01-{i + 1:02}",
            "parts": [{"name": "sole", "size": i}, {"name": "lace"}],
        },
        separators=(",", ":"),
    ).encode()
    for i in range(25)
]


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str
    kind: str

    def both(self, body: Any, query: str = "", **headers: str) -> Any:
        """The engine's answer and the proxy's."""
        path = f"/{INDEX}/_search?{query}"
        return (
            request(self.direct, "POST", path, body, **headers),
            request(self.proxied, "POST", path, body, **headers),
        )


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    load(engine.url, INDEX, SOURCES, MAPPING)
    rerank = {
        "relevance_weight": 0.0,
        "first_stage_weight": 1.0,
        "order_cache_s": 0,
        "diversify": {"diversity": 0.0},
    }
    with serve_app(proxy_settings(engine.url, rerank=rerank)) as (proxied, _):
        yield Stand(engine.url, proxied, engine.kind)
    request(engine.url, "DELETE", f"/{INDEX}")


def mark(answer: Any) -> str:
    return str(answer.headers.get("X-Es-Rerank", ""))


FILTERS = [
    "took",
    "hits",
    "hits.hits._id",
    "hits.hits._id,hits.total",
    "hits.total.value,timed_out",
    "hits.hits._source",
    "hits.hits._source.title",
    "hits.hits._source.parts.name",
    "hits.hits._source.p*",
    "hits.hits._source.*.size",
    "hits.*",
    "*",
    "**",
    "*.hits._score",
    "**.name",
    "**._id,**.value",
    "hits.**.title",
    "h*.h*._s*",
    "nothing",
    "nothing.at.all,took.value",
    "hits.hits._source.title.deeper",
    "-hits",
    "-took,-_shards",
    "-hits.hits._source",
    "-hits.hits._source.parts",
    "-hits.hits._source.parts.name",
    "-**.name,-**.size",
    "-hits.h*",
    "hits,-hits.total",
    "hits.hits,-hits.hits._source.p*",
    "hits.hits._source.parts,-**.lace,-**.name",
    "aggregations.brands.buckets.key",
    "agg*.**.doc_count,hits.hits._id",
    "-aggregations.brands.buckets.doc_count,-hits.hits",
    "_shards.fail*,hits.max_score",
    "-**",
    "hits.hits.fields,hits.hits.highlight",
    ",took,,hits.total",
]


@pytest.mark.parametrize("pretty", ["", "&pretty"])
@pytest.mark.parametrize("value", FILTERS)
def test_filter_path_is_the_engines_byte_for_byte(stand: Stand, value: str, pretty: str) -> None:
    body = {**QUERY, "size": 4, "aggs": {"brands": {"terms": {"field": "brand"}}}}
    body["highlight"] = {"fields": {"title": {}}}
    direct, proxied = stand.both(body, f"filter_path={value}{pretty}")
    assert (proxied.status, mark(proxied)) == (direct.status, "applied")
    if pretty:  # the engines' own pretty print spaces differently from ours
        assert json.loads(without_took(proxied.data)) == json.loads(without_took(direct.data))
        assert proxied.data.count(b"\n") > 1 or direct.json() == {}
    else:
        assert without_took(proxied.data) == without_took(direct.data)


@pytest.mark.parametrize("value", ["hits.", ".hits", "hits..hits", "hits\\.total", "took, hits"])
def test_filters_that_the_engines_read_in_different_ways_pass(stand: Stand, value: str) -> None:
    quoted = value.replace("\\", "%5C").replace(" ", "%20")
    direct, proxied = stand.both(QUERY, f"filter_path={quoted}")
    assert mark(proxied) == "skipped; reason=filter_path"
    assert without_took(proxied.data) == without_took(direct.data)


def test_exclusions_that_meet_what_is_empty(stand: Stand) -> None:
    nothing = {"query": {"match": {"title": "unheard"}}}
    direct, proxied = stand.both(nothing, "filter_path=-hits.hits._id")
    assert mark(proxied) == "fallback; reason=filter_path"
    assert without_took(proxied.data) == without_took(direct.data)


def test_filter_path_leaves_errors_whole(stand: Stand) -> None:
    path = "/not-there/_search?filter_path=error.type,status"
    direct = request(stand.direct, "POST", path, QUERY)
    proxied = request(stand.proxied, "POST", path, QUERY)
    assert (proxied.status, proxied.data) == (direct.status, direct.data)
    assert direct.status == 404


SHOWN: dict[str, tuple[dict[str, Any], str]] = {
    "stored list": ({"stored_fields": ["price"]}, ""),
    "stored text": ({"stored_fields": ["title", "price"]}, ""),
    "stored and source": ({"stored_fields": ["price", "_source"]}, ""),
    "stored in url": ({}, "stored_fields=price,title"),
    "stored none": ({"stored_fields": "_none_"}, ""),
    "stored none in url": ({}, "stored_fields=_none_"),
    "stored none, doc values": ({"stored_fields": "_none_", "docvalue_fields": ["brand"]}, ""),
    "stored none, version": ({"stored_fields": ["_none_"], "version": True}, ""),
    "stored and fields": ({"stored_fields": ["price"], "fields": ["brand"]}, ""),
    "source off": ({"_source": False}, ""),
    "source off in url": ({}, "_source=false"),
    "source includes": ({"_source": ["price"]}, ""),
    "source includes in url": ({}, "_source_includes=price,parts.*"),
    "fields with formats": (
        {"fields": [{"field": "day", "format": "epoch_millis"}, "parts.*"], "_source": False},
        "",
    ),
    "doc values with formats": (
        {"docvalue_fields": [{"field": "day", "format": "yyyy"}], "_source": ["title"]},
        "",
    ),
    "doc values in url": ({"_source": False}, "docvalue_fields=price,brand"),
    "terminated": ({"terminate_after": 3}, ""),
    "profile off, seq_no": ({"seq_no_primary_term": True}, ""),
}


def by_text(raw: bytes) -> Any:
    """A value with its numbers as they are written, whatever the order of its keys."""
    return json.loads(raw, parse_float=str, parse_int=str)


@pytest.mark.parametrize("shape", SHOWN)
def test_what_hits_show_is_what_was_asked_for(stand: Stand, shape: str) -> None:
    """Nothing that the proxy asked for on top, `ignored_field_values` among it, is left over."""
    shown, query = SHOWN[shape]
    direct, proxied = stand.both({**QUERY, **shown, "size": 12}, query)
    assert (proxied.status, mark(proxied)) == (200, "applied")
    engines, ours = raw_hits(direct.data), raw_hits(proxied.data)
    assert len(ours) == len(engines) == 12 or shape == "terminated"
    for engine_hit, hit in zip(engines, ours, strict=True):
        assert [*hit] == [*engine_hit]
        assert {k: by_text(v) for k, v in hit.items()} == {
            k: by_text(v) for k, v in engine_hit.items()
        }
    assert {**direct.json(), "took": 0, "hits": 0} == {**proxied.json(), "took": 0, "hits": 0}


WRONG: dict[str, dict[str, Any]] = {
    "none and source": {"stored_fields": "_none_", "_source": True},
    "none and fields": {"stored_fields": "_none_", "fields": ["brand"]},
    "none and more": {"stored_fields": ["_none_", "price"]},
}


@pytest.mark.parametrize("shape", WRONG)
def test_stored_fields_that_contradict_are_the_engines_to_judge(stand: Stand, shape: str) -> None:
    direct, proxied = stand.both({**QUERY, **WRONG[shape]})
    assert mark(proxied) == "skipped; reason=stored_fields"
    assert (proxied.status, without_took(proxied.data)) == (
        direct.status,
        without_took(direct.data),
    )


@pytest.mark.parametrize(
    "body", [b'{"size":1,"size":2}', b'{"query":{"match_all":{}},"query":{"match_all":{}}}']
)
def test_keys_named_twice_are_the_engines_to_judge(stand: Stand, body: bytes) -> None:
    direct, proxied = stand.both(body)
    assert mark(proxied) == "skipped; reason=body"
    assert (proxied.status, without_took(proxied.data)) == (
        direct.status,
        without_took(direct.data),
    )


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_bodies_and_answers_come_compressed(stand: Stand, coding: str) -> None:
    raw = json.dumps({**QUERY, "size": 20}).encode()
    packed = gzip.compress(raw) if coding == "gzip" else zstandard.compress(raw)
    headers = {"content-encoding": coding, "accept-encoding": coding}
    path = f"/{INDEX}/_search"
    answer = request(stand.proxied, "POST", path, packed, **headers)  # urllib3 unpacks gzip
    assert (answer.status, mark(answer)) == (200, "applied")
    assert answer.headers["content-encoding"] == coding
    direct = request(stand.direct, "POST", path, raw)
    plain = zstandard.decompress(answer.data) if coding == "zstd" else answer.data
    assert without_took(plain) == without_took(direct.data)


def test_unknown_fields_are_named(stand: Stand) -> None:
    block = {"fields": ["titel", "title"], "crowding": [{"field": "parts.nam", "max_count": 1}]}
    _, proxied = stand.both({**QUERY, "ext": {"es_rerank": block}})
    assert mark(proxied) == "applied; reason=unknown-field; unknown=titel,parts.nam"


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer.json()["hits"]["hits"]]


def open_point(stand: Stand, index: str) -> str:
    name = "_pit" if stand.kind == "elasticsearch" else "_search/point_in_time"
    opened = request(stand.direct, "POST", f"/{index}/{name}?keep_alive=1m").json()
    found: str = opened["id" if stand.kind == "elasticsearch" else "pit_id"]
    return found


def test_a_point_in_time_without_a_sort_has_no_cursors_and_is_reranked(stand: Stand) -> None:
    """Neither engine puts `sort` values into its hits: pages are by `from` and `size` alone."""
    point = {"id": open_point(stand, INDEX), "keep_alive": "1m"}
    for start in (0, 5):
        body = {**QUERY, "pit": point, "from": start, "size": 5, "docvalue_fields": ["brand"]}
        direct = request(stand.direct, "POST", "/_search", body)
        proxied = request(stand.proxied, "POST", "/_search", body)
        assert (proxied.status, mark(proxied)) == (200, "applied")
        assert without_took(proxied.data) == without_took(direct.data)
        assert proxied.json()["pit_id"] == direct.json()["pit_id"]
        assert all("sort" not in hit for hit in direct.json()["hits"]["hits"])
    off = {**QUERY, "pit": point, "size": 5, "ext": {"es_rerank": {"fields": ["nothing"]}}}
    noted = request(stand.proxied, "POST", "/_search", off)
    assert mark(noted) == "applied; reason=unknown-field; unknown=nothing"  # of its own indices
    for cursor in ({"sort": "_score"}, {"sort": [{"_score": "desc"}]}):
        passed = request(stand.proxied, "POST", "/_search", {**QUERY, "pit": point, **cursor})
        assert mark(passed) == "skipped; reason=pit"
        if stand.kind == "elasticsearch":
            assert all("sort" in hit for hit in passed.json()["hits"]["hits"])


def test_a_point_in_time_that_is_not_there_is_the_engines_to_judge(stand: Stand) -> None:
    body = {**QUERY, "pit": {"id": "bm9uc2Vuc2U="}}
    direct = request(stand.direct, "POST", "/_search", body)
    proxied = request(stand.proxied, "POST", "/_search", body)
    assert mark(proxied) == "skipped; reason=pit"
    assert proxied.status == direct.status >= 400
    assert proxied.json()["error"]["type"] == direct.json()["error"]["type"]


CURSORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "search_after": (
        {"sort": ["_score", "price"], "search_after": [1.0, 3.0]},
        "",
        "sort",
    ),
    "search_after by score": ({"sort": ["_score"], "search_after": [1.0]}, "", "search_after"),
    "score and more": ({"sort": ["_score", {"price": "asc"}]}, "", "sort"),
    "score ascending": ({"sort": [{"_score": "asc"}]}, "", "sort"),
    "price in url": ({}, "sort=price:desc", "sort"),
    "scroll": ({}, "scroll=1m", "scroll"),
}


@pytest.mark.parametrize("case", CURSORS)
def test_cursors_pass(stand: Stand, case: str) -> None:
    extra, query, reason = CURSORS[case]
    direct, proxied = stand.both({**QUERY, "size": 5, **extra}, query)
    assert mark(proxied) == f"skipped; reason={reason}"
    assert proxied.status == direct.status
    ours, engines = proxied.json(), direct.json()
    assert ours.get("hits") == engines.get("hits")
    if "_scroll_id" in ours:
        assert len(ours["hits"]["hits"]) == 5
        for url, answer in ((stand.direct, engines), (stand.proxied, ours)):
            request(url, "DELETE", "/_search/scroll", {"scroll_id": answer["_scroll_id"]})
