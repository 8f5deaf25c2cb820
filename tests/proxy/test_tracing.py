"""Spans over real sockets, with OpenTelemetry's own in-memory exporter."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from es_rerank import tracing
from es_rerank.errors import ConfigError
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

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"
PARENT = b"traceparent: " + CALLER.encode()
SECRET_WORDS = "embarrassing words"
SEARCH = json.dumps({"query": {"match": {"title": SECRET_WORDS}}}).encode()
KIND = b"Content-Type: application/json"


def script(request: Request, connection: socket.socket) -> None:
    hits = [
        {"_index": "i", "_id": str(n), "_score": 3.0 - n, "_source": {"title": f"text {n}"}}
        for n in range(3)
    ]
    body = json.dumps({"took": 1, "hits": {"total": {"value": 3}, "hits": hits}}).encode()
    status = 503 if request.target.startswith(b"/_cat") else 200
    answer(connection, status, body, {"content-type": "application/json"})


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[str, RawUpstream]]:
    with (
        upstream(script) as raw,
        reranker(lambda _, text: float(text[-1])) as model,
        serve_app(proxy_settings(raw.url, model.url)) as (proxy, _),
    ):
        yield proxy, raw


@pytest.fixture
def spans(stand: tuple[str, RawUpstream]) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stand[1].requests.clear()
    tracing.install(provider)
    yield exporter
    tracing.remove()
    provider.shutdown()


def wait_for(exporter: InMemorySpanExporter, name: str) -> dict[str, ReadableSpan]:
    """The spans by name, once that one has ended."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = {span.name: span for span in exporter.get_finished_spans()}
        if name in found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{name} is not among {found}")


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def sent_parents(raw: RawUpstream, target: bytes) -> list[bytes]:
    return [
        value
        for request in raw.requests
        if request.target.startswith(target)
        for value in request.headers("traceparent")
    ]


def test_a_search_is_one_trace_from_the_caller_to_the_cluster(
    stand: tuple[str, RawUpstream], spans: InMemorySpanExporter
) -> None:
    status, head, _ = ask(stand[0], b"POST /i/_search", KIND, PARENT, body=SEARCH)
    assert (status, find(head, "x-es-rerank")[0][:7]) == (200, "applied")
    found = wait_for(spans, "POST search")
    whole = found["POST search"]
    assert set(found) >= {"POST search", "upstream POST", "score", "diversify"}
    assert whole.kind is SpanKind.SERVER
    assert whole.parent is not None
    assert f"{whole.parent.span_id:016x}" == "b7ad6b7169203331"
    for span in found.values():
        assert f"{span.context.trace_id:032x}" == TRACE
        if span is not whole:
            assert span.parent is not None
            assert span.parent.span_id == whole.context.span_id
    assert attributes(whole) == {
        "http.request.method": "POST",
        "url.path": "/i/_search",
        "http.response.status_code": 200,
        "http.route": "search",
        "es_rerank.outcome": "applied",
        "es_rerank.reason": "nothing-to-diversify-by",
    }
    assert attributes(found["score"])["es_rerank.candidates"] == 3
    assert found["upstream POST"].kind is SpanKind.CLIENT
    times = [found[name] for name in ("upstream POST", "score", "diversify")]
    for span in times:
        assert span.start_time and span.end_time and whole.start_time and whole.end_time
        assert whole.start_time <= span.start_time <= span.end_time <= whole.end_time
    (sent,) = sent_parents(stand[1], b"/i/_search")
    assert sent == f"00-{TRACE}-{found['upstream POST'].context.span_id:016x}-01".encode()


def test_no_span_holds_words_or_credentials(
    stand: tuple[str, RawUpstream], spans: InMemorySpanExporter
) -> None:
    line = b"POST /i/_search?q=" + SECRET_WORDS.replace(" ", "+").encode()
    ask(stand[0], line, KIND, b"Authorization: Basic c2VjcmV0", body=SEARCH)
    wait_for(spans, "POST search")
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "embarrassing" not in told
    assert "c2VjcmV0" not in told


def test_a_skipped_search_says_why(
    stand: tuple[str, RawUpstream], spans: InMemorySpanExporter
) -> None:
    ask(stand[0], b"GET /i/_search?sort=price&q=x", b"X-Opaque-Id: shop-7")
    told = attributes(wait_for(spans, "GET search")["GET search"])
    assert (told["es_rerank.outcome"], told["es_rerank.reason"]) == ("skipped", "sort")
    assert told["es_rerank.opaque_id"] == "shop-7"


def test_a_relayed_request_and_the_clusters_error(
    stand: tuple[str, RawUpstream], spans: InMemorySpanExporter
) -> None:
    ask(stand[0], b"GET /_cat/indices?format=json", PARENT, b"tracestate: a=1")
    found = wait_for(spans, "GET relay")
    for name in ("GET relay", "upstream GET"):
        assert attributes(found[name])["http.response.status_code"] == 503
        assert found[name].status.status_code is StatusCode.ERROR
    assert attributes(found["GET relay"])["url.path"] == "/_cat/indices"
    (sent,) = sent_parents(stand[1], b"/_cat")
    assert sent.startswith(f"00-{TRACE}-".encode())
    assert [r.headers("tracestate") for r in stand[1].requests] == [[b"a=1"]]


def test_without_a_caller_a_trace_begins_here(
    stand: tuple[str, RawUpstream], spans: InMemorySpanExporter
) -> None:
    ask(stand[0], b"GET /x/_doc/1", b"traceparent: 00-nonsense-01")
    assert wait_for(spans, "GET relay")["GET relay"].parent is None
    (sent,) = sent_parents(stand[1], b"/x")
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", sent)


def test_a_cluster_that_is_away_is_an_error(spans: InMemorySpanExporter) -> None:
    with serve_app(proxy_settings("http://127.0.0.1:9")) as (proxy, _):
        assert ask(proxy, b"GET /_cat/indices")[0] == 502
    call = wait_for(spans, "GET relay")["upstream GET"]
    assert attributes(call)["error.type"] == "UnreachableError"


@pytest.mark.parametrize("line", [b"POST /i/_search", b"GET /x/_doc/1"])
def test_off_the_callers_header_goes_on_as_it_came(
    stand: tuple[str, RawUpstream], line: bytes
) -> None:
    stand[1].requests.clear()
    odd = b"traceparent:  " + CALLER.upper().encode()
    ask(stand[0], line, KIND, odd, b"tracestate: a=1,b=2", body=SEARCH)
    (sent,) = [r for r in stand[1].requests if b"_mapping" not in r.target]
    assert sent.headers("traceparent") == [CALLER.upper().encode()]
    assert sent.headers("tracestate") == [b"a=1,b=2"]


def test_it_is_wanted_where_a_receiver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    assert (tracing.is_wanted("auto"), tracing.is_wanted("on")) == (False, True)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert (tracing.is_wanted("auto"), tracing.is_wanted("off")) == (True, False)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert not tracing.is_wanted("on")
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not tracing.is_wanted("on")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "NEEDED", ("opentelemetry_that_is_not_there.sdk",))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert not tracing.is_wanted("auto")
    with pytest.raises(ConfigError, match=r"pip install 'es-rerank\[otel\]'"):
        tracing.is_wanted("on")


def test_off_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, asyncio\n"
        "from es_rerank.config import load_settings\n"
        "from es_rerank.proxy.app import ProxyApp\n"
        "app = ProxyApp(load_settings(None, {'telemetry': {'tracing': 'off'}}))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_spans_reach_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTLP over HTTP, sent by the time that the proxy has ended."""
    with upstream() as receiver, upstream() as cluster:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        with serve_app(proxy_settings(cluster.url)) as (proxy, _):
            ask(proxy, b"GET /_cat/indices")
        assert [request.target for request in receiver.requests] == [b"/v1/traces"]
        for word in (b"es-rerank", b"GET relay", b"upstream GET"):
            assert word in receiver.requests[0].body
    assert tracing._State.tracing is None
