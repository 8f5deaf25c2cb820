"""Named pipelines on real engines, with two proxies as replicas of one another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, make_sources, request
from tests.proxy.wire import RawUpstream, proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

WITHIN_S = 10.0
QUERY = {"match": {"description": "shoes"}}


@dataclass(frozen=True)
class Stand:
    """An engine, its index of products, and two proxies that keep pipelines in `shelf`."""

    direct: str
    one: str
    other: str
    index: str
    shelf: str


@pytest.fixture
def model() -> Iterator[RawUpstream]:
    with reranker(lambda _, text: float(len(text))) as server:
        yield server


@pytest.fixture
def stand(engine: Node, index_name: str, model: RawUpstream) -> Iterator[Stand]:
    shelf = f"{index_name}-shelf"
    load(engine.url, index_name, make_sources(80))
    settings = proxy_settings(
        engine.url, model.url, pipelines={"index": shelf, "poll_s": 0.3}, rerank={}
    )
    with ExitStack() as stack:
        one, other = (stack.enter_context(serve_app(settings))[0] for _ in range(2))
        yield Stand(engine.url, one, other, index_name, shelf)
    request(engine.url, "DELETE", f"/{shelf}")


def call(url: str, method: str, name: str = "", body: Any = None) -> tuple[int, Any]:
    path = f"/_es_rerank/pipeline/{name}" if name else "/_es_rerank/pipeline"
    answer = request(url, method, path, body)
    return answer.status, answer.json()


def search(url: str, index: str, **block: Any) -> Any:
    body = {"query": QUERY, "size": 20, "ext": {"es_rerank": block}}
    return request(url, "POST", f"/{index}/_search", body)


def ids(answer: Any) -> list[str]:
    assert answer.status == 200, answer.data
    return [hit["_id"] for hit in answer.json()["hits"]["hits"]]


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < until, "not within seconds"
        time.sleep(0.05)


def test_the_life_of_a_pipeline(stand: Stand) -> None:
    assert call(stand.one, "GET") == (200, {})
    assert call(stand.one, "GET", "shop")[0] == 404
    caps = [{"field": "brand", "max_count": 2}]
    body = {"description": "the shop", "diversity": 0.4, "crowding": caps}
    made = {"acknowledged": True, "version": 1, "result": "created"}
    assert call(stand.one, "PUT", "shop", body) == (200, made)
    assert call(stand.one, "PUT", "shop", body) == (200, {**made, "result": "noop"})
    assert call(stand.other, "GET", "shop") == (200, {"shop": {**body, "version": 1}})
    changed = {"acknowledged": True, "version": 2, "result": "updated"}
    assert call(stand.other, "PUT", "shop?if_version=1", {"diversity": 0.2}) == (200, changed)
    status, refused = call(stand.one, "PUT", "shop?if_version=1", {"diversity": 0.9})
    assert (status, refused["error"]["type"]) == (409, "version_conflict_engine_exception")
    assert call(stand.one, "PUT", "a.b-c_1", {})[0] == 200
    everything = {"shop": {"diversity": 0.2, "version": 2}, "a.b-c_1": {"version": 1}}
    assert call(stand.other, "GET") == (200, everything)
    assert request(stand.one, "HEAD", "/_es_rerank/pipeline/shop").status == 200
    assert call(stand.one, "DELETE", "shop?if_version=1")[0] == 409
    assert call(stand.one, "DELETE", "shop?if_version=2") == (200, {"acknowledged": True})
    assert call(stand.one, "DELETE", "shop")[0] == 404
    assert call(stand.one, "PUT", "shop", {})[1]["version"] == 3


def test_the_index_is_hidden_strict_and_warns_nobody(stand: Stand) -> None:
    seen = request(stand.one, "PUT", "/_es_rerank/pipeline/shop", {"diversity": 0.1})
    assert seen.status == 200
    assert "warning" not in request(stand.direct, "GET", f"/{stand.shelf}").headers
    made = request(stand.direct, "GET", f"/{stand.shelf}").json()[stand.shelf]
    assert made["mappings"]["dynamic"] == "strict"
    assert made["settings"]["index"]["hidden"] == "true"
    stray = request(stand.direct, "PUT", f"/{stand.shelf}/_doc/x", {"other": 1})
    assert stray.status == 400
    found = request(stand.direct, "GET", f"/{stand.shelf[:-3]}*/_search")
    assert found.json()["hits"]["total"]["value"] == 0


def test_replicas_follow_within_seconds(stand: Stand) -> None:
    plain = ids(search(stand.one, stand.index))
    engines = ids(search(stand.one, stand.index, enabled=False))
    assert plain != engines
    unknown = search(stand.other, stand.index, pipeline="off")
    assert (unknown.status, "no pipeline [off]" in unknown.json()["error"]["reason"]) == (400, True)
    assert call(stand.one, "PUT", "off", {"enabled": False})[0] == 200
    # At once where it was put, and elsewhere soon.
    assert ids(search(stand.one, stand.index, pipeline="off")) == engines
    wait_until(lambda: search(stand.other, stand.index, pipeline="off").status == 200)
    there = search(stand.other, stand.index, pipeline="off")
    assert (ids(there), there.headers["x-es-rerank"]) == (engines, "skipped; reason=disabled")
    # The request's own keys go before the pipeline's.
    assert ids(search(stand.other, stand.index, pipeline="off", enabled=True)) == plain
    near = search(stand.other, stand.index, pipeline="of")
    assert "did you mean [off]?" in near.json()["error"]["reason"]
    assert call(stand.other, "PUT", "off", {"rank_window_size": 9})[1]["version"] == 2
    wait_until(lambda: ids(search(stand.one, stand.index, pipeline="off")) != engines)
    moved = ids(search(stand.one, stand.index, pipeline="off"))
    assert (sorted(moved[:9]), moved[9:]) == (sorted(engines[:9]), engines[9:])
    assert call(stand.one, "DELETE", "off")[0] == 200
    wait_until(lambda: search(stand.other, stand.index, pipeline="off").status == 400)


def test_by_index_and_by_default(stand: Stand, model: RawUpstream) -> None:
    for name, body in (("mine", {"rank_window_size": 5}), ("every", {"enabled": False})):
        assert call(stand.one, "PUT", name, body)[0] == 200
    settings = proxy_settings(
        stand.direct,
        model.url,
        pipelines={"index": stand.shelf, "poll_s": 0.3},
        rerank={"pipeline": "every", "max_rank_window_size": 200},
        indices={stand.index: {"pipeline": "mine", "rank_window_size": 77}},
    )
    with serve_app(settings) as (proxy, app):
        wait_until(lambda: app.pipelines.loaded)
        engines = ids(search(proxy, stand.index, pipeline="every"))
        mine = ids(search(proxy, stand.index))
        assert (mine[5:], mine[:5] != engines[:5]) == (engines[5:], True)
        elsewhere = search(proxy, stand.index + "*")
        assert elsewhere.headers["x-es-rerank"] == "skipped; reason=disabled"
        clamped = search(proxy, stand.index, rank_window_size=999)
        assert clamped.headers["x-es-rerank"] == "applied; clamped=rank_window_size"
        assert call(stand.one, "DELETE", "mine")[0] == 200
        mark = "fallback; reason=no-pipeline"
        wait_until(lambda: search(proxy, stand.index).headers["x-es-rerank"] == mark)
        assert ids(search(proxy, stand.index)) == engines
        # Of their own accord they may choose none, or another.
        assert ids(search(proxy, stand.index, pipeline="_none")) != engines


def test_writers_at_the_same_time_lose_nothing(stand: Stand) -> None:
    answers: list[tuple[int, Any]] = []

    def write(place: str, name: str) -> None:
        answers.append(call(place, "PUT", name, {"diversity": 0.3}))

    writers = [
        threading.Thread(target=write, args=(place, f"{i}-{n}"))
        for i, place in enumerate((stand.one, stand.other))
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    written = {f"{i}-{n}" for i in range(2) for n in range(4)}
    refused = sum(status == 409 for status, _ in answers)
    assert {status for status, _ in answers} <= {200, 409}
    assert len(call(stand.one, "GET")[1]) == len(written) - refused
    # One counter, many hands: each change that was taken counted once.
    done = [call(stand.one, "PUT", "count", {"min_score": i / 10})[1] for i in range(5)]
    assert [answer["version"] for answer in done] == [1, 2, 3, 4, 5]
