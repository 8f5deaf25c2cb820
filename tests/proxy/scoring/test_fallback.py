"""What scores where the server elsewhere does not, through the whole proxy."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from es_rerank.config import ModelSettings
from es_rerank.proxy.scoring.fallback import FALLBACK_MODEL
from es_rerank.proxy.scoring.load import local_part
from tests.models.conftest import TinyModel, tiny_model  # noqa: F401 - a fixture
from tests.models.remote.servers import RerankServer, serving
from tests.models.remote.test_reranker import free_port
from tests.proxy.process.proxies import ENGINE_ORDER, running, tables
from tests.proxy.search.test_handler import PRODUCT, Cluster, page, search
from tests.proxy.wire import Request, answer, ask, find, proxy_settings, serve_app, upstream

RERANK: dict[str, Any] = {
    "timeout_ms": 5_000,
    "relevance_weight": 1.0,
    "first_stage_weight": 0.0,
    "order_cache_s": 0,
    "diversify": {"diversity": 0.0},
    "breaker": {"failures": 3, "open_s": 1.0},
}


class Shops(Cluster):
    """Answers an _msearch of two, too."""

    def __call__(self, request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_msearch"):
            one = page(0, 100).decode()
            both = f'{{"took": 1, "responses": [{one}, {one}]}}'
            answer(connection, 200, both.encode(), PRODUCT)
        else:
            super().__call__(request, connection)


WORDS = {"query": {"match": {"title": "shoe 7"}}}


def test_the_words_in_common_score_while_the_server_is_away() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/rerank"
    with upstream(Cluster()) as raw:
        model = {"url": url, "fallback": "lexical"}
        settings = proxy_settings(raw.url, rerank=RERANK, model=model)
        with serve_app(settings) as (proxy, app):
            for _ in range(5):
                status, mark, ids, *_ = search(proxy, WORDS)
                assert (status, mark) == (200, f"fallback; reason={FALLBACK_MODEL}")
                assert ids[0] == 7
            assert app.ranker.breaker.state == "open"  # and so the server is not even asked
            with serving(RerankServer("jina"), port) as server:
                until = time.monotonic() + 30
                while search(proxy, WORDS)[1] != "applied":
                    assert time.monotonic() < until
                    time.sleep(0.05)
            assert server.bodies


def test_a_server_that_hangs_leaves_time_for_the_fallback() -> None:
    with (
        upstream(Cluster()) as raw,
        upstream(lambda request, connection: connection.recv(1)) as hung,  # type: ignore[arg-type]
    ):
        model = {"url": hung.url, "fallback": "lexical"}
        rerank = {**RERANK, "timeout_ms": 600}
        settings = proxy_settings(raw.url, rerank=rerank, model=model)
        with serve_app(settings) as (proxy, _):
            status, mark, ids, *_ = search(proxy, WORDS)
    assert (status, mark) == (200, f"fallback; reason={FALLBACK_MODEL}")
    assert ids[0] == 7


def test_without_a_fallback_the_engines_order_goes_back_and_the_breaker_opens() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1/rerank"
    with (
        upstream(Cluster()) as raw,
        serve_app(proxy_settings(raw.url, url, rerank=RERANK)) as (proxy, _),
    ):
        found = [search(proxy, WORDS) for _ in range(4)]
    assert {(status, tuple(ids)) for status, _, ids, *_ in found} == {(200, tuple(ENGINE_ORDER))}
    marks = [mark for _, mark, *_ in found]
    assert marks == [*["fallback; reason=ranking-error"] * 3, "fallback; reason=breaker-open"]


def test_only_the_searches_that_failed_are_scored_by_the_fallback() -> None:
    def picky(number: int) -> Any:
        odd = server.bodies[number]["query"] == "odd shoe"
        return (422, {"detail": "no"}, {}) if odd else None

    server = RerankServer("jina", before=picky)
    lines = [
        {"index": "shop"},
        {"query": {"match": {"title": "odd shoe"}}},
        {"index": "shop"},
        WORDS,
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with upstream(Shops()) as raw, serving(server):
        model = {"url": server.url, "fallback": "lexical"}
        with serve_app(proxy_settings(raw.url, rerank=RERANK, model=model)) as (proxy, _):
            kind = b"Content-Type: application/x-ndjson"
            status, head, _ = ask(proxy, b"POST /_msearch", kind, body=body)
    assert status == 200
    (marks,) = find(head, "x-es-rerank-items")
    assert marks == f"fallback;reason={FALLBACK_MODEL}, applied"


def test_what_is_loaded_here() -> None:
    remote = {"kind": "remote", "url": "http://gpu:8080", "embedder": "small"}
    assert local_part(ModelSettings(**remote)) is None
    assert local_part(ModelSettings(**remote, fallback="lexical")) is None
    part = local_part(ModelSettings(**remote, fallback="bi-encoder"))
    assert part is not None
    assert (part.kind, part.name) == ("bi-encoder", "small")
    whole = ModelSettings(kind="cross-encoder", name="m")
    assert local_part(whole) == whole


def test_workers_share_the_fallbacks_model(tmp_path: Path, tiny_model: TinyModel) -> None:  # noqa: F811
    port = free_port()
    model = {
        "kind": "remote",
        "url": f"http://127.0.0.1:{port}/v1/rerank",
        "fallback": "bi-encoder",
        "embedder": str(tiny_model(1)),
        "device": "cpu",
        "threads": 1,
    }
    with upstream(Cluster()) as raw:
        settings = tables(raw.url, model=model, rerank={**RERANK, "timeout_ms": 20_000})
        with running(tmp_path, settings, "--workers", "2") as proxy:
            mark = f"fallback; reason={FALLBACK_MODEL}"
            proxy.wait_for(lambda: len(proxy.logged("model ready")) >= 3, "no model", 200)
            assert proxy.find()[1] == mark
            assert len(proxy.children("scorer")) == 1
            maps = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in proxy.children()}
            torch = {pid for pid, text in maps.items() if "libtorch" in text}
            assert torch == set(proxy.children("scorer"))
            with serving(RerankServer("jina"), port):
                proxy.wait_until_applied()
