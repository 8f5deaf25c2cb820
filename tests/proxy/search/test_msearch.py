"""Several searches in one request, before a scripted cluster and a real /rerank server."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.proxy.search.test_handler import MAPPING, PRODUCT, page, prefer_high_numbers
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

NDJSON = b"Content-Type: application/x-ndjson"
SHOES: dict[str, Any] = {"query": {"match": {"title": "shoes"}}}
BOOTS: dict[str, Any] = {"query": {"match": {"title": "boots"}}, "size": 3}
FACET: dict[str, Any] = {"size": 0, "query": {"match": {"title": "shoes"}}}


@dataclass
class Cluster:
    """Thirty hits for every search of a request; `broken` answers a single search in its stead."""

    broken: Any = None
    whole: Any = None
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_mapping"):
            answer(connection, 200, json.dumps({"shop": {"mappings": MAPPING}}).encode(), PRODUCT)
            return
        self.requests.append(request)
        if self.whole is not None and self.whole(request, connection):
            return
        lines = request.body.split(b"\n")[:-1]
        parts = [self.answer_one(json.loads(body)) for body in lines[1::2]]
        body = b'{"took":3,"responses":[' + b",".join(parts) + b"]}"
        answer(connection, 200, body, PRODUCT)

    def answer_one(self, body: dict[str, Any]) -> bytes:
        broken = None if self.broken is None else self.broken(body)
        if broken is not None:
            return json.dumps(broken).encode()
        whole = page(body.get("from", 0), body.get("size", 10))
        return whole[:-1] + b', "status" : 200}'


@contextlib.contextmanager
def shop(**tables: Any) -> Iterator[tuple[str, Cluster, RawUpstream]]:
    rerank = {
        "timeout_ms": 10_000,
        "relevance_weight": 1.0,
        "first_stage_weight": 0.0,
        "diversify": {"diversity": 0.0},
        **tables.pop("rerank", {}),
    }
    cluster = Cluster()
    with upstream(cluster) as raw, reranker(prefer_high_numbers) as model:
        settings = proxy_settings(raw.url, model.url, rerank=rerank, **tables)
        with serve_app(settings) as (proxy, _):
            yield proxy, cluster, model


@pytest.fixture(scope="module")
def module_stand() -> Iterator[tuple[str, Cluster, RawUpstream]]:
    with shop() as parts:
        yield parts


@pytest.fixture
def stand(module_stand: Any) -> Iterator[tuple[str, Cluster, RawUpstream]]:
    module_stand[1].requests.clear()
    module_stand[2].requests.clear()
    module_stand[1].broken = module_stand[1].whole = None
    yield module_stand


def always(status: int, body: bytes) -> Any:
    """A cluster that answers everything so."""

    def whole(_: Request, connection: socket.socket) -> bool:
        answer(connection, status, body, PRODUCT)
        return True

    return whole


def lines(*items: Any) -> bytes:
    return b"".join(
        (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in items
    )


def msearch(
    proxy: str, body: bytes, target: bytes = b"/shop/_msearch", *headers: bytes
) -> tuple[int, str, list[str], Any, bytes]:
    """Returns status, the sums, the items' marks, the decoded answer, the head."""
    kinds = [h for h in headers if h.lower().startswith(b"content-type")] or [NDJSON]
    others = [h for h in headers if h not in kinds]
    status, head, text = ask(proxy, b"POST " + target, *kinds, *others, body=body)
    if find(head, "content-encoding") == ["gzip"]:
        text = gzip.decompress(text)
    each = [mark for value in find(head, "x-es-rerank-items") for mark in value.split(", ")]
    return status, "".join(find(head, "x-es-rerank")), each, json.loads(text), head


def ids(response: Any) -> list[int]:
    return [int(hit["_id"]) for hit in response["hits"]["hits"]]


def test_each_search_is_reranked_or_left_alone_on_its_own(stand: Any) -> None:
    proxy, cluster, model = stand
    raw = b'{ "size" : 0,  "query":{"match":{"title":"shoes"}} }'
    window = {**SHOES, "ext": {"es_rerank": {"rank_window_size": 5}}, "size": 7}
    body = lines({}, SHOES, b"", raw, {"index": "shop", "preference": "me"}, BOOTS, {}, window)
    status, sums, each, found, head = msearch(proxy, body)
    assert (status, sums) == (200, "applied; items=4; applied=3; skipped=1")
    assert each == ["applied", "skipped;reason=size-0", "applied", "applied"]
    responses = found["responses"]
    assert [ids(part) for part in responses] == [
        [*range(30, 20, -1)],
        [],
        [30, 29, 28],
        [5, 4, 3, 2, 1, 6, 7],
    ]
    assert [part["status"] for part in responses] == [200] * 4
    assert all(part["took"] >= 1 for part in responses)
    assert found["took"] >= 3
    (asked,) = cluster.requests
    assert asked.line == b"POST /shop/_msearch HTTP/1.1"
    sent = asked.body.split(b"\n")
    assert sent[0::2] == [b"{}", b"", b'{"index": "shop", "preference": "me"}', b"{}", b""]
    assert sent[3] == raw
    assert [json.loads(line).get("size") for line in sent[1::2]] == [100, 0, 100, 7]
    assert b"es_rerank" not in asked.body
    assert [name.split(";")[0] for name in find(head, "server-timing")[0].split(", ")] == [
        "upstream",
        "score",
        "diversify",
        "rerank",
    ]
    words = sorted(json.loads(request.body)["query"] for request in model.requests)
    assert words == ["boots", "shoes", "shoes"]
    assert find(head, "x-elastic-product") == ["Elasticsearch"]


def test_a_search_here_is_the_search_alone(stand: Any) -> None:
    searches = [SHOES, {**BOOTS, "from": 2}, {**SHOES, "sort": ["price"]}, FACET]
    body = lines(*(part for search in searches for part in ({}, search)))
    found = msearch(stand[0], body)[3]["responses"]
    for response, search in zip(found, searches, strict=True):
        alone = msearch(stand[0], lines({}, search))[3]["responses"][0]
        assert response["hits"] == alone["hits"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lines({}, FACET, {}, {**SHOES, "sort": ["price"]}), None),
        (b"{}\n" + json.dumps(SHOES).encode(), "body"),
        (b"\n\n", "body"),
        (lines(b"{", SHOES), "body"),
        (b" " * 3000 + b"\n", "body-too-large"),
    ],
)
def test_what_is_not_reranked_is_relayed_byte_for_byte(body: bytes, reason: str | None) -> None:
    with shop(proxy={"max_search_bytes": 2000}) as (proxy, cluster, _):
        cluster.whole = always(200, b'{ "odd": 1.0 }')
        _, sums, _, _, _ = msearch(proxy, body)
        assert sums == (f"skipped; reason={reason}" if reason else "skipped; items=2; skipped=2")
        assert cluster.requests[0].body == body


def test_parameters_go_along_and_filter_path_is_the_engines(stand: Any) -> None:
    target = b"/_msearch?typed_keys&max_concurrent_searches=2"
    assert msearch(stand[0], lines({"index": "shop"}, SHOES), target)[1].startswith("applied")
    assert stand[1].requests[-1].target == target
    _, sums, _, _, _ = msearch(stand[0], lines({}, SHOES), b"/_msearch?filter_path=took")
    assert sums == "skipped; reason=filter_path"


def test_compressed_and_vendored_bodies(stand: Any) -> None:
    kind = b"Content-Type: application/vnd.elasticsearch+x-ndjson; compatible-with=9"
    body = gzip.compress(lines({}, {**SHOES, "size": 30}))
    extra = (kind, b"Content-Encoding: gzip", b"Accept-Encoding: gzip")
    _, sums, _, found, head = msearch(stand[0], body, b"/shop/_msearch", *extra)
    assert sums == "applied; items=1; applied=1"
    assert find(head, "content-encoding") == ["gzip"]
    assert ids(found["responses"][0])[0] == 30
    (asked,) = stand[1].requests
    assert asked.headers("content-type") == [kind.split(b": ")[1]]
    assert asked.headers("content-encoding") == asked.headers("accept-encoding") == []
    assert asked.headers("content-length") == [str(len(asked.body)).encode()]


def test_a_wrong_block_is_its_own_searchs_400(stand: Any) -> None:
    wrong = {**SHOES, "ext": {"es_rerank": {"diversty": 1}}}
    _, sums, each, found, _ = msearch(stand[0], lines({}, SHOES, {}, wrong, {}, FACET))
    assert sums == "applied; items=3; applied=1; skipped=1; error=1"
    assert each == ["applied", "error", "skipped;reason=size-0"]
    first, second, third = found["responses"]
    assert (first["status"], second["status"], third["status"]) == (200, 400, 200)
    assert "did you mean [diversity]?" in second["error"]["reason"]
    assert len(stand[1].requests[0].body.split(b"\n")) == 5
    stand[1].requests.clear()
    status, _, each, found, _ = msearch(stand[0], lines({}, wrong))
    assert (status, each, found["responses"][0]["status"]) == (200, ["error"], 400)
    assert stand[1].requests == []


def test_an_error_of_one_search_stays_its_own(stand: Any) -> None:
    error = {"error": {"type": "index_not_found_exception"}, "status": 404}
    stand[1].broken = lambda body: error if "boots" in json.dumps(body) else None
    _, sums, each, found, _ = msearch(stand[0], lines({}, BOOTS, {}, SHOES))
    assert (sums, each) == ("applied; items=2; applied=1; error=1", ["error", "applied"])
    assert found["responses"][0] == error
    assert ids(found["responses"][1])[0] == 30


def test_what_our_rewriting_broke_is_asked_again_in_the_clients_words(stand: Any) -> None:
    refusal = {"error": {"type": "illegal_argument_exception"}, "status": 400}
    stand[1].broken = lambda body: (
        refusal if body.get("size") == 100 and "boots" in json.dumps(body) else None
    )
    _, sums, each, found, _ = msearch(stand[0], lines({}, BOOTS, {"routing": "7"}, SHOES))
    assert sums == "applied; items=2; applied=1; fallback=1"
    assert each == ["fallback;reason=refused", "applied"]
    assert ids(found["responses"][0]) == [1, 2, 3]
    assert ids(found["responses"][1])[0] == 30
    assert stand[1].requests[1].body == lines({}, BOOTS)
    stand[1].broken = lambda body: refusal if "boots" in json.dumps(body) else None
    _, _, _, found, _ = msearch(stand[0], lines({}, BOOTS, {}, SHOES))
    assert [part["status"] for part in found["responses"]] == [400, 200]


def test_when_the_whole_is_refused_the_clients_own_goes(stand: Any) -> None:
    def refuse(request: Request, connection: socket.socket) -> bool:
        if b'"size":100' in request.body:
            answer(connection, 400, b'{"status":400}', PRODUCT)
            return True
        return False

    stand[1].whole = refuse
    body = lines({}, {**SHOES, "ext": {"es_rerank": {"diversity": 1.0}}}, {}, FACET)
    _, sums, each, found, _ = msearch(stand[0], body)
    assert sums == "fallback; items=2; fallback=1; skipped=1"
    assert each == ["fallback;reason=refused", "skipped;reason=size-0"]
    assert ids(found["responses"][0])[:2] == [1, 2]
    assert stand[1].requests[1].body == lines({}, SHOES, {}, FACET).replace(
        json.dumps(SHOES).encode(), b'{"query":' + json.dumps(SHOES["query"]).encode() + b"}"
    )


@pytest.mark.parametrize("status", [401, 429, 503])
def test_the_clusters_errors_pass_unchanged(stand: Any, status: int) -> None:
    stand[1].whole = always(status, b'{"x" : 1.0}')
    answered, sums, _, found, _ = msearch(stand[0], lines({}, SHOES))
    assert (answered, sums, found) == (status, "", {"x": 1.0})


def test_an_answer_of_another_length_is_not_trusted(stand: Any) -> None:
    def cut(request: Request, connection: socket.socket) -> bool:
        if b'"size":100' not in request.body:
            return False
        answer(connection, 200, b'{"took":1,"responses":[]}', PRODUCT)
        return True

    stand[1].whole = cut
    _, sums, _, found, _ = msearch(stand[0], lines({}, SHOES))
    assert sums == "fallback; items=1; fallback=1"
    assert ids(found["responses"][0])[:2] == [1, 2]


def test_searches_beyond_the_batch_keep_the_engines_order() -> None:
    with shop(rerank={"max_batch": 1}) as (proxy, _, _):
        _, _, each, found, _ = msearch(proxy, lines({}, SHOES, {}, SHOES))
        assert each == ["applied", "skipped;reason=beyond-batch"]
        assert [ids(part)[0] for part in found["responses"]] == [30, 1]


def test_marks_that_would_be_too_long_are_left_out(stand: Any) -> None:
    body = lines(*([{}, FACET] * 250))
    _, sums, each, _, _ = msearch(stand[0], body)
    assert (sums, each) == ("skipped; items=250; skipped=250", [])


def test_a_model_that_is_away_costs_the_order_alone() -> None:
    cluster = Cluster()
    with upstream(cluster) as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        _, _, each, found, _ = msearch(proxy, lines({}, SHOES, {}, BOOTS))
    assert each == ["fallback;reason=ranking-error"] * 2
    assert [ids(part) for part in found["responses"]] == [[*range(1, 11)], [1, 2, 3]]


def test_two_pages_of_one_list_do_not_wait_for_each_other(stand: Any) -> None:
    """The second follows the order that the first is given, and holds up no batch meanwhile."""
    query = {"query": {"match": {"title": "the same list twice"}}, "size": 3}
    began = time.perf_counter()
    _, _, each, found, _ = msearch(stand[0], lines({}, query, {}, {**query, "from": 3}, {}, BOOTS))
    assert each == ["applied"] * 3
    assert [ids(part) for part in found["responses"][:2]] == [[30, 29, 28], [27, 26, 25]]
    assert time.perf_counter() - began < 8
