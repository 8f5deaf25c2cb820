"""One search through the proxy, before a scripted cluster and a real /rerank server."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.proxy.wire import (
    RawUpstream,
    Request,
    answer,
    ask,
    find,
    proxy_settings,
    reranker,
    serve_app,
    upstream,
)

HITS = 30
JSON = b"Content-Type: application/json"
QUERY: dict[str, Any] = {"query": {"match": {"title": "shoes"}}}
MAPPING = {"properties": {"title": {"type": "text"}, "brand": {"type": "keyword"}}}
PRODUCT = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}


@dataclass
class Cluster:
    """Thirty hits, `1` to `30`, of falling scores; `broken` answers in its stead."""

    broken: Any = None
    searches: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_mapping"):
            answer(connection, 200, json.dumps({"shop": {"mappings": MAPPING}}).encode(), PRODUCT)
            return
        self.searches.append(request)
        if self.broken is not None and self.broken(request, connection):
            return
        try:
            body = json.loads(request.body or b"{}")
        except ValueError:
            answer(connection, 400, b"{}")
            return
        answer(connection, 200, page(body.get("from", 0), body.get("size", 10)), PRODUCT)


def page(start: int, size: int) -> bytes:
    hits = [
        {"_index": "shop", "_id": str(i), "_score": 100.0 - i, "_source": {"title": f"shoe {i}"}}
        for i in range(1, HITS + 1)
    ][start : start + size]
    whole = {"total": {"value": HITS, "relation": "eq"}, "max_score": 99.0, "hits": hits}
    return json.dumps({"took": 1, "timed_out": False, "hits": whole}).encode()


def prefer_high_numbers(_: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


@contextlib.contextmanager
def shop(
    score: Any = prefer_high_numbers, **tables: Any
) -> Iterator[tuple[str, Cluster, RawUpstream]]:
    """A proxy before the cluster, with the model's weight at 1, no diversity, and no order kept."""
    rerank = {
        "timeout_ms": 10_000,
        "order_cache_s": 0,
        "relevance_weight": 1.0,
        "first_stage_weight": 0.0,
        "diversify": {"diversity": 0.0},
        **tables.pop("rerank", {}),
    }
    cluster = Cluster()
    with upstream(cluster) as raw, reranker(score) as model:
        settings = proxy_settings(raw.url, model.url, rerank=rerank, **tables)
        with serve_app(settings) as (proxy, _):
            yield proxy, cluster, model


@pytest.fixture(scope="module")
def module_stand() -> Iterator[tuple[str, Cluster, RawUpstream]]:
    with shop() as parts:
        yield parts


@pytest.fixture
def stand(
    module_stand: tuple[str, Cluster, RawUpstream],
) -> Iterator[tuple[str, Cluster, RawUpstream]]:
    module_stand[1].searches.clear()
    module_stand[1].broken = None
    yield module_stand


def search(proxy: str, body: Any, target: bytes = b"/shop/_search", *headers: bytes) -> Any:
    """Returns status, the mark, ids, head, body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, head, text = ask(proxy, b"POST " + target, JSON, *headers, body=raw)
    ids = []
    with contextlib.suppress(ValueError, KeyError, TypeError):
        ids = [int(hit["_id"]) for hit in json.loads(text)["hits"]["hits"]]
    return status, "".join(find(head, "x-es-rerank")), ids, head, text


def test_the_window_is_asked_for_and_the_page_given(stand: Any) -> None:
    proxy, cluster, model = stand
    status, mark, ids, head, body = search(
        proxy, {**QUERY, "from": 2, "size": 4}, b"/shop/_search", b"X-Opaque-Id: 7"
    )
    assert (status, mark, ids) == (200, "applied", [28, 27, 26, 25])
    (asked,) = cluster.searches
    assert json.loads(asked.body) == {**QUERY, "from": 0, "size": 100}
    assert asked.line == b"POST /shop/_search HTTP/1.1"
    assert asked.headers("x-opaque-id") == [b"7"]
    assert asked.headers("accept-encoding") == []
    assert find(head, "x-elastic-product") == ["Elasticsearch"]
    assert find(head, "content-length") == [str(len(body))]
    stages = [part.split(";dur=") for part in find(head, "server-timing")[0].split(", ")]
    assert [name for name, _ in stages] == ["upstream", "score", "diversify", "rerank"]
    assert all(float(ms) >= 0 for _, ms in stages)
    assert json.loads(model.requests[-1].body)["query"] == "shoes"


def test_the_tail_follows_the_window(stand: Any) -> None:
    window = {"ext": {"es_rerank": {"rank_window_size": 5}}}
    _, mark, ids, _, body = search(stand[0], {**QUERY, **window, "from": 3, "size": 6})
    assert (mark, ids) == ("applied", [2, 1, 6, 7, 8, 9])
    scores = [hit["_score"] for hit in json.loads(body)["hits"]["hits"]]
    assert scores == [96.0, 95.0, 94.0, 93.0, 92.0, 91.0]
    assert json.loads(stand[1].searches[0].body)["size"] == 9
    assert b"es_rerank" not in stand[1].searches[0].body


def test_own_words_go_before_the_querys(stand: Any) -> None:
    search(stand[0], {**QUERY, "ext": {"es_rerank": {"query_text": "red boots"}}})
    assert json.loads(stand[2].requests[-1].body)["query"] == "red boots"


def test_answers_are_compressed_for_who_takes_it(stand: Any) -> None:
    _, _, _, head, body = search(
        stand[0], {**QUERY, "size": 30}, b"/shop/_search", b"Accept-Encoding: gzip"
    )
    assert find(head, "content-encoding") == ["gzip"]
    assert len(json.loads(gzip.decompress(body))["hits"]["hits"]) == 30


def test_explanations_say_why(stand: Any) -> None:
    _, _, _, _, body = search(stand[0], {**QUERY, "ext": {"es_rerank": {"explain": True}}})
    first = json.loads(body)["hits"]["hits"][0]
    assert first["_explanation"]["value"] == first["_score"] == 99.0
    assert first["_explanation"]["description"].startswith("es-rerank: rank 1, was 30;")
    assert {d["description"]: d["value"] for d in first["_explanation"]["details"]} == {
        "first-stage score of this hit": 70.0,
        "blended score, 0 to 1": 1.0,
        "relevance by the model": 30.0,
        "rank by the engine": 30.0,
        "places moved by relevance": -29.0,
    }


def test_clamped_values_are_named(stand: Any) -> None:
    block = {"rank_window_size": 5000, "timeout_ms": 10**9}
    _, mark, _, _, _ = search(stand[0], {**QUERY, "ext": {"es_rerank": block}})
    assert mark == "applied; clamped=rank_window_size,timeout_ms"
    assert json.loads(stand[1].searches[0].body)["size"] == 1000


def test_a_wrong_block_is_400_before_the_cluster_is_asked(stand: Any) -> None:
    status, _, _, head, body = search(stand[0], {"ext": {"es_rerank": {"diversty": 1}}})
    error = json.loads(body)
    assert (status, error["status"]) == (400, 400)
    assert error["error"]["type"] == error["error"]["root_cause"][0]["type"] == "parsing_exception"
    assert error["error"]["reason"] == (
        "[es_rerank] unknown key [diversty]: did you mean [diversity]?"
    )
    assert find(head, "x-elastic-product") == ["Elasticsearch"]
    assert stand[1].searches == []


@pytest.mark.parametrize(
    ("body", "target", "reason"),
    [
        ({**QUERY, "sort": ["price"]}, b"/shop/_search", "sort"),
        ({**QUERY, "size": 0}, b"/shop/_search", "size-0"),
        (QUERY, b"/shop/_search?scroll=1m", "scroll"),
        (QUERY, b"/shop/_search?filter_path=hits.", "filter_path"),
        ({"ext": {"es_rerank": {"enabled": False}}}, b"/shop/_search", "disabled"),
        (b'{"query":', b"/shop/_search", "body"),
        (b" " * 3000, b"/shop/_search", "body-too-large"),
    ],
)
def test_what_passes_through_says_why(body: Any, target: bytes, reason: str) -> None:
    with shop(proxy={"max_search_bytes": 2500}) as (proxy, cluster, model):
        _, mark, _, _, _ = search(proxy, body, target)
        assert mark == f"skipped; reason={reason}"
        (asked,) = cluster.searches
        assert asked.target == target
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert asked.body == (b"" if reason == "disabled" else raw)
        assert model.requests == []


@pytest.mark.parametrize(
    ("bare", "reason"),
    [({"size": 1, "from": 29}, "few-hits"), ({"query": {"match_all": {}}}, "no-query-text")],
)
def test_notes(stand: Any, bare: dict[str, Any], reason: str) -> None:
    window = {"ext": {"es_rerank": {"rank_window_size": 30 if "query" in bare else 1}}}
    if reason == "few-hits":
        bare = {"size": 1}
    status, mark, ids, _, _ = search(stand[0], {**bare, **window})
    assert status == 200
    assert mark in {f"skipped; reason={reason}", f"applied; reason={reason}"}
    assert ids[:1] == [1]


def engines(ids: list[int]) -> bool:
    return ids == list(range(1, 11))


def test_a_scorer_that_fails_keeps_the_engines_order() -> None:
    def fail(query: str, text: str) -> float:
        raise ConnectionError

    with shop(fail) as (proxy, _, _):
        status, mark, ids, _, _ = search(proxy, QUERY)
    assert (status, mark) == (200, "fallback; reason=ranking-error")
    assert engines(ids)


def slow(_: str, text: str) -> float:
    if text.endswith(" 1"):
        time.sleep(0.6)
    return 1.0


def test_a_slow_scorer_keeps_the_engines_order_at_the_deadline() -> None:
    with shop(slow) as (proxy, _, _):
        began = time.monotonic()
        status, mark, ids, _, _ = search(proxy, {**QUERY, "ext": {"es_rerank": {"timeout_ms": 50}}})
        took = time.monotonic() - began
    assert (status, mark) == (200, "fallback; reason=deadline")
    assert engines(ids)
    assert took < 0.5


def test_more_searches_than_may_wait_keep_the_engines_order() -> None:
    with (
        shop(slow, rerank={"max_waiting": 1}) as (proxy, _, _),
        ThreadPoolExecutor(4) as clients,
    ):
        marks = sorted(clients.map(lambda _: search(proxy, QUERY)[1], range(4)))
    assert marks == ["applied"] + ["fallback; reason=overloaded"] * 3


def test_a_model_that_cannot_be_loaded_keeps_the_engines_order() -> None:
    with upstream(Cluster()) as raw, serve_app(proxy_settings(raw.url, "nonsense")) as (proxy, app):
        assert "nonsense" in str(app.ranker.error)
        status, mark, ids, _, _ = search(proxy, QUERY)
        ready, _, state = ask(proxy, b"GET /_es_rerank/ready")
    assert (status, mark) == (200, "fallback; reason=model-not-ready")
    assert engines(ids)
    assert ready == 503
    assert "nonsense" in json.loads(state)["reasons"][0]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_the_clusters_errors_pass_unchanged(stand: Any, status: int) -> None:
    error = json.dumps({"error": {"type": "x"}, "status": status}).encode()
    packed = gzip.compress(error)

    def broken(_: Request, connection: socket.socket) -> bool:
        answer(connection, status, packed, {**PRODUCT, "Content-Encoding": "gzip"})
        return True

    stand[1].broken = broken
    got, mark, _, head, body = search(stand[0], QUERY)
    assert (got, mark, body) == (status, "", packed)
    assert find(head, "content-encoding") == ["gzip"]
    assert find(head, "x-elastic-product") == ["Elasticsearch"]
    assert len(stand[1].searches) == 1


PARTLY = (
    b'{"took":1,"_shards":{"total":2,"failed":1,"failures":[{"reason":{"type":'
    b'"illegal_argument_exception"}}]},"hits":{"hits":[{"_id":"1"},{"_id":"2"}]}}'
)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b"{}", "refused"),
        (406, b"{}", "refused"),
        (200, PARTLY, "refused"),
        (200, b"<html>", "answer-unreadable"),
        (200, b'{"hits":{"hits":[{"_source":{"title":"cut \\ud83d"}}]}}', "answer-unreadable"),
        (200, gzip.compress(b"{}"), "answer-unreadable"),
        (200, b"x" * 200_000, "answer-too-large"),
    ],
)
def test_when_the_rewritten_search_fails_the_clients_own_is_sent(
    status: int, body: bytes, reason: str
) -> None:
    def broken(request: Request, connection: socket.socket) -> bool:
        if b'"size":100' in request.body:
            answer(connection, status, body, PRODUCT)
            return True
        return False

    with shop(proxy={"max_answer_bytes": 100_000}) as (proxy, cluster, _):
        cluster.broken = broken
        got, mark, ids, _, _ = search(proxy, QUERY, b"/shop/_search?routing=a")
        assert (got, mark) == (200, f"fallback; reason={reason}")
        assert engines(ids)
        assert cluster.searches[1].body == json.dumps(QUERY).encode()
        assert cluster.searches[1].target == b"/shop/_search?routing=a"


def test_fields_that_no_mapping_has_are_named(stand: Any) -> None:
    block = {"fields": ["titel\r\n", "title"], "crowding": [{"field": "brand", "max_count": 1}]}
    _, mark, _, _, _ = search(stand[0], {**QUERY, "ext": {"es_rerank": block}})
    assert mark == "applied; reason=unknown-field; unknown=titel%0D%0A"


def test_what_filter_path_would_show_of_the_empty_is_the_clusters_to_tell(stand: Any) -> None:
    def broken(request: Request, connection: socket.socket) -> bool:
        body = b'{"took":1,"hits":{"hits":[{"_id":"1","_source":{"a":{}}},{"_id":"2"}]}}'
        own = b"filter_path" in request.target
        answer(connection, 200, b'{"hits":{}}' if own else body, PRODUCT)
        return True

    stand[1].broken = broken
    target = b"/shop/_search?filter_path=-hits.hits._source.a.b"
    _, mark, _, _, body = search(stand[0], QUERY, target)
    assert (mark, body) == ("fallback; reason=filter_path", b'{"hits":{}}')


def test_a_cluster_that_hangs_up_is_502(stand: Any) -> None:
    def broken(_: Request, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_RDWR)
        return True

    stand[1].broken = broken
    status, _, _, head, body = search(stand[0], QUERY)
    assert (status, json.loads(body)["status"]) == (502, 502)
    assert find(head, "x-elastic-product") == ["Elasticsearch"]


def test_settings_by_index() -> None:
    indices = {"shop": {"enabled": False}, "other-*": {"rank_window_size": 7}}
    with shop(indices=indices) as (proxy, cluster, _):
        assert search(proxy, QUERY)[1] == "skipped; reason=disabled"
        assert search(proxy, QUERY, b"/other-1/_search")[1] == "applied"
        assert json.loads(cluster.searches[-1].body)["size"] == 10
        switched_on = {**QUERY, "ext": {"es_rerank": {"enabled": True}}}
        assert search(proxy, switched_on)[1] == "applied"


@pytest.mark.parametrize(
    ("method", "target", "searched"),
    [
        (b"GET", b"/_search", True),
        (b"POST", b"/shop/_search/", True),
        (b"GET", b"/_all/_search", True),
        (b"POST", b"/%3Cshop-%7Bnow%2Fd%7D%3E,-x/_search", True),
        (b"PUT", b"/shop/_search", False),
        (b"GET", b"/shop/_doc/_search", False),
        (b"GET", b"/_search/scroll", False),
        (b"GET", b"/_doc/_search", False),
        (b"POST", b"/shop/_search/template", True),
        (b"POST", b"/shop/_async_search", True),
        (b"GET", b"/_async_search/abc", False),
        (b"POST", b"/shop/_msearch", True),
        (b"POST", b"/shop/_count", False),
        (b"GET", b"/a/b/_search", False),
        (b"GET", b"/shop/_searching", False),
    ],
)
def test_only_searches_are_intercepted(
    stand: Any, method: bytes, target: bytes, searched: bool
) -> None:
    _, head, _ = ask(stand[0], method + b" " + target)
    assert bool(find(head, "x-es-rerank")) is searched
    assert stand[1].searches[0].target == target


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_metrics_count_what_happened(stand: Any) -> None:
    proxy, cluster, _ = stand

    def value(line: str) -> float:
        text = ask(proxy, b"GET /_es_rerank/metrics")[2].decode()
        found = [row.split(" ")[-1] for row in text.splitlines() if row.startswith(line + " ")]
        return float(found[0]) if found else 0.0

    lines = [
        'es_rerank_requests_total{outcome="applied",route="search"}',
        'es_rerank_requests_total{outcome="fallback",route="search"}',
        'es_rerank_fallbacks_total{reason="refused"}',
        'es_rerank_stage_duration_seconds_count{stage="score"}',
        "es_rerank_candidates_sum",
    ]
    before = [value(line) for line in lines]
    search(proxy, QUERY)

    def refuse(request: Request, connection: socket.socket) -> bool:
        if b'"size":100' in request.body:
            answer(connection, 400, b"{}")
        return b'"size":100' in request.body

    cluster.broken = refuse
    search(proxy, QUERY)
    assert [value(line) - old for line, old in zip(lines, before, strict=True)] == [1, 1, 1, 1, 30]
    assert value("es_rerank_score_queue_depth") == 0
    assert value("es_rerank_inflight_requests") == 1  # the request that asks
