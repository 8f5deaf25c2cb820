"""The short way: taken for what the relay answers, and for nothing that another one does."""

from __future__ import annotations

import time

import pytest

from es_rerank.proxy.app import ProxyApp
from es_rerank.telemetry import METRICS
from tests.proxy.wire import answer, ask, proxy_settings, serve_app, upstream

OURS = [
    b"/_search",
    b"/a/_search/",
    b"/_all/_search?q=a",
    b"/%3Clogs-%7Bnow%7D%3E/_search",
    b"/_msearch",
    b"/a,b/_msearch/",
    b"/_search/template",
    b"/a/_msearch/template",
    b"/_async_search",
    b"/a/_async_search",
    b"/_plugins/_asynchronous_search",
    b"/_nodes",
    b"/_nodes/http",
    b"/_es_rerank/live",
    b"/_es_rerank/",
    b"/%5fes_rerank/live",
]
RELAYED = [b"/", b"/_cat/health", b"/a/_doc/1", b"/a/_doc/%2F", b"/_bulk", b"/a/_count?q=_search"]


def counted(outcome: str) -> float:
    found = METRICS.get_sample_value(
        "es_rerank_requests_total", {"route": "relay", "outcome": outcome}
    )
    return found or 0.0


@pytest.mark.parametrize("path", OURS)
def test_what_is_ours_is_left_to_the_application(path: bytes) -> None:
    app = ProxyApp(proxy_settings("http://127.0.0.1:9"))
    assert not app.is_relayed(path.partition(b"?")[0])


def test_what_is_watched_goes_the_long_way() -> None:
    app = ProxyApp(proxy_settings("http://127.0.0.1:9"))
    assert all(app.is_relayed(path.partition(b"?")[0]) for path in RELAYED)
    app.admin_port = 1
    assert not any(app.is_relayed(path) for path in RELAYED)
    logged = ProxyApp(proxy_settings("http://127.0.0.1:9", telemetry={"access_log": True}))
    assert not any(logged.is_relayed(path) for path in RELAYED)


@pytest.mark.parametrize("logged", [False, True])
def test_both_ways_send_and_answer_the_same_bytes(logged: bool) -> None:
    seen, heads = [], []
    with (
        upstream(lambda _, c: answer(c, 201, b"{}", {"X-Mark": "caf\u00e9"})) as raw,
        serve_app(proxy_settings(raw.url, telemetry={"access_log": logged})) as (proxy, _),
    ):
        before = counted("ok")
        for path in RELAYED:
            status, head, body = ask(proxy, b"PUT " + path, b"X-Opaque-Id: 7", body=b'{"a":1}')
            assert (status, body) == (201, b"{}")
            heads.append(sorted(head.split(b"\r\n")))
        until = time.monotonic() + 5  # the last is counted once its answer is out
        while counted("ok") - before < len(RELAYED) and time.monotonic() < until:
            time.sleep(0.01)
        assert counted("ok") - before == len(RELAYED)
        seen = [(r.target, r.body, r.headers("x-opaque-id")) for r in raw.requests]
        length = [r.headers("content-length") for r in raw.requests]
    assert seen == [(path, b'{"a":1}', [b"7"]) for path in RELAYED]
    assert length == [[b"7"]] * len(RELAYED)
    assert all(head == heads[0] for head in heads)
