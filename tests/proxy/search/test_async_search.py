"""Asynchronous searches before a scripted cluster: no engine that boots here has them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.proxy.search.test_handler import (
    JSON,
    MAPPING,
    PRODUCT,
    QUERY,
    page,
    prefer_high_numbers,
)
from tests.proxy.wire import (
    Request,
    answer,
    ask,
    find,
    proxy_settings,
    reranker,
    serve_app,
    upstream,
)

ELASTIC = b"/shop/_async_search"
OPEN = b"/_plugins/_asynchronous_search?index=shop"


@dataclass
class Cluster:
    """Done at once, unless `kept`: then what is kept and under which id is told as well."""

    kept: bool = False
    running: bool = False
    refuses: bool = False
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_mapping"):
            answer(connection, 200, json.dumps({"shop": {"mappings": MAPPING}}).encode(), PRODUCT)
            return
        self.requests.append(request)
        if request.line.startswith(b"DELETE"):
            answer(connection, 200, b'{"acknowledged":true}', PRODUCT)
            return
        body = json.loads(request.body)
        if self.refuses and body.get("size") == 100:
            answer(connection, 400, b"{}", PRODUCT)
            return
        response = page(body.get("from", 0), body.get("size", 10)).decode()
        key = '"id":"a/b==",' if self.kept or self.running else ""
        running = json.dumps(self.running)
        state = (
            f'"state":"{"RUNNING" if self.running else "SUCCEEDED"}",'
            if b"_plugins" in request.target
            else f'"is_partial":{running},"is_running":{running},'
        )
        text = f'{{{key}{state}"start_time_in_millis": 1583945890986,"response":{response}}}'
        answer(connection, 200, text.encode(), PRODUCT)


@pytest.fixture(scope="module")
def module_stand() -> Iterator[tuple[str, Cluster]]:
    rerank = {
        "timeout_ms": 10_000,
        "relevance_weight": 1.0,
        "first_stage_weight": 0.0,
        "diversify": {"diversity": 0.0},
    }
    cluster = Cluster()
    with (
        upstream(cluster) as raw,
        reranker(prefer_high_numbers) as model,
        serve_app(proxy_settings(raw.url, model.url, rerank=rerank)) as (proxy, _),
    ):
        yield proxy, cluster


@pytest.fixture
def stand(module_stand: tuple[str, Cluster]) -> tuple[str, Cluster]:
    module_stand[1].requests.clear()
    module_stand[1].kept = module_stand[1].running = module_stand[1].refuses = False
    return module_stand


def begin(proxy: str, target: bytes, body: Any = QUERY) -> tuple[str, list[int], Any]:
    _, head, text = ask(proxy, b"POST " + target, JSON, body=json.dumps(body).encode())
    found = json.loads(text)
    ids = [int(hit["_id"]) for hit in found["response"]["hits"]["hits"]]
    return "".join(find(head, "x-es-rerank")), ids, found


@pytest.mark.parametrize("target", [ELASTIC, OPEN])
def test_what_is_done_at_once_is_reranked(stand: Any, target: bytes) -> None:
    mark, ids, found = begin(stand[0], target, {**QUERY, "size": 4})
    assert (mark, ids) == ("applied", [30, 29, 28, 27])
    assert found["start_time_in_millis"] == 1583945890986
    (asked,) = stand[1].requests
    assert asked.target == target
    assert json.loads(asked.body)["size"] == 100


@pytest.mark.parametrize("target", [ELASTIC, OPEN])
def test_what_goes_on_is_dropped_and_the_clients_own_is_begun(stand: Any, target: bytes) -> None:
    """Whoever asks for the id later finds the client's own search."""
    stand[1].running = True
    mark, ids, found = begin(stand[0], target, {**QUERY, "size": 4})
    assert (mark, ids) == ("fallback; reason=not-done", [1, 2, 3, 4])
    assert found["id"] == "a/b=="
    wide, dropped, own = stand[1].requests
    assert json.loads(wide.body)["size"] == 100
    path = b"/_async_search" if target == ELASTIC else b"/_plugins/_asynchronous_search"
    assert dropped.line == b"DELETE " + path + b"/a%2Fb%3D%3D HTTP/1.1"
    assert json.loads(own.body) == {**QUERY, "size": 4}


def test_what_shall_be_kept_is_not_touched(stand: Any) -> None:
    stand[1].kept = True
    mark, ids, _ = begin(stand[0], ELASTIC + b"?keep_on_completion=true")
    assert mark == "skipped; reason=keep_on_completion"
    assert ids[:2] == [1, 2]
    assert [json.loads(request.body) for request in stand[1].requests] == [QUERY]


def test_a_refusal_is_the_clients_own(stand: Any) -> None:
    stand[1].refuses = True
    assert begin(stand[0], ELASTIC)[0] == "fallback; reason=refused"
    assert len(stand[1].requests) == 2


def test_other_reasons_are_those_of_a_search(stand: Any) -> None:
    assert begin(stand[0], ELASTIC, {**QUERY, "sort": ["price"]})[0] == "skipped; reason=sort"
    status, _, _ = ask(
        stand[0], b"POST " + ELASTIC, JSON, body=b'{"ext":{"es_rerank":{"diversty":1}}}'
    )
    assert status == 400


def test_what_becomes_of_it_is_relayed(stand: Any) -> None:
    _, head, _ = ask(stand[0], b"DELETE /_async_search/a%2Fb%3D%3D")
    assert find(head, "x-es-rerank") == []
    assert stand[1].requests[0].target == b"/_async_search/a%2Fb%3D%3D"
