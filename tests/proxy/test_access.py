"""A line for each request, and for slow searches: what they say, and what they never do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from es_rerank import telemetry
from es_rerank.proxy.access import show
from tests.proxy.wire import Request, answer, ask, proxy_settings, reranker, serve_app, upstream

SEARCH = json.dumps({"query": {"match": {"title": "embarrassing words"}}}).encode()
KIND = b"Content-Type: application/json"
Lines = Callable[[str], list[dict[str, Any]]]


def script(_: Request, connection: socket.socket) -> None:
    hits = [{"_id": str(n), "_score": 1.0, "_source": {"title": "t"}} for n in range(2)]
    answer(connection, 200, json.dumps({"took": 1, "hits": {"hits": hits}}).encode())


@contextmanager
def proxy_that_logs(**settings: Any) -> Iterator[tuple[str, Lines]]:
    """A proxy with these [telemetry] settings, and its log lines by their event."""
    with structlog.testing.capture_logs() as captured:

        def lines(event: str) -> list[dict[str, Any]]:
            until = time.monotonic() + 5
            while time.monotonic() < until:
                found = [dict(line) for line in captured if line["event"] == event]
                if found:
                    return found
                time.sleep(0.01)
            return []

        with (
            upstream(script) as raw,
            reranker(lambda _, text: float(len(text))) as model,
            serve_app(proxy_settings(raw.url, model.url, telemetry=settings)) as (proxy, _),
        ):
            yield proxy, lines


def test_a_line_for_each_request() -> None:
    with proxy_that_logs(access_log=True) as (proxy, lines):
        parent = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        ask(proxy, b"POST /i/_search?q=embarrassing", KIND, parent, b"X-Opaque-Id: 7", body=SEARCH)
        ask(proxy, b"GET /_es_rerank/nothing")
        ask(proxy, b"GET /x/_doc/1?secret=1", b"Authorization: Basic c2VjcmV0")
        ask(proxy, b"GET /i/_search?sort=price")
        while len(found := lines("request")) < 4:
            time.sleep(0.01)
    took = [line.pop("took_ms") for line in found]
    assert all(0 < ms < 60_000 for ms in took)
    said = {"event": "request", "log_level": "info"}
    assert found == [
        {
            **said,
            "route": "search",
            "method": "POST",
            "path": "/i/_search",
            "status": 200,
            "outcome": "applied",
            "reason": "nothing-to-diversify-by",
            "opaque_id": "7",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        },
        {
            **said,
            "route": "admin",
            "method": "GET",
            "path": "/_es_rerank/nothing",
            "status": 404,
            "outcome": "error",
        },
        {
            **said,
            "route": "relay",
            "method": "GET",
            "path": "/x/_doc/1",
            "status": 200,
            "outcome": "ok",
        },
        {
            **said,
            "route": "search",
            "method": "GET",
            "path": "/i/_search",
            "status": 200,
            "outcome": "skipped",
            "reason": "sort",
        },
    ]
    assert "embarrassing" not in str(found)
    assert "c2VjcmV0" not in str(found)


def test_off_nothing_is_said() -> None:
    with proxy_that_logs() as (proxy, lines):
        ask(proxy, b"POST /i/_search", KIND, body=SEARCH)
        assert lines("model ready")
        time.sleep(0.1)
        assert "request" not in [line["event"] for line in lines("model ready")]


def test_slow_searches_are_said_and_counted() -> None:
    before = telemetry.SLOW_SEARCHES._value.get()
    with proxy_that_logs(slow_search_ms=1, log_query_text=True) as (proxy, lines):
        ask(proxy, b"GET /x/_doc/1")
        ask(proxy, b"POST /i/_search", KIND, body=SEARCH)
        (line,) = lines("slow search")
    assert telemetry.SLOW_SEARCHES._value.get() == before + 1
    assert (line["log_level"], line["query_text"]) == ("warning", "embarrassing words")
    assert set(line["stages_ms"]) >= {"upstream", "score"}
    assert line["took_ms"] >= 1


def test_a_fast_search_is_not_slow() -> None:
    before = telemetry.SLOW_SEARCHES._value.get()
    with proxy_that_logs(slow_search_ms=60_000) as (proxy, _):
        ask(proxy, b"POST /i/_search", KIND, body=SEARCH)
    assert telemetry.SLOW_SEARCHES._value.get() == before


def test_skipped_searches_are_counted_by_reason() -> None:
    counter = telemetry.SKIPS.labels("size-0")
    before = counter._value.get()
    with proxy_that_logs() as (proxy, _):
        ask(proxy, b"GET /i/_search?size=0")
        ask(proxy, b"GET /i/_search?q=t")
    assert counter._value.get() == before + 1


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/plain-1/%20", "/plain-1/%20"),
        (b"a\x1b[31mb\nc\x00", "a?[31mb?c?"),
        (b"x" * 1000, "x" * 300),
        (b"", ""),
    ],
)
def test_what_clients_send_does_a_log_no_harm(raw: bytes, shown: str) -> None:
    assert show(raw) == shown
