"""Spans in OpenTelemetry's form, written by hand around the stages of a request.

OpenTelemetry is imported where spans are wanted, and nowhere else: without the extra `otel`, or
with tracing off, every function here does nothing, and a caller's `traceparent` passes through as
it came. No span holds query text, a query string or credentials.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from es_rerank import __version__
from es_rerank.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

Header = tuple[bytes, bytes]
Mode = Literal["auto", "on", "off"]
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp")
CONTEXT_HEADERS = frozenset({b"traceparent", b"tracestate"})
SHUTDOWN_S = 3.0
MEND = "pip install 'es-rerank[otel]', or set telemetry.tracing to off"


def is_wanted(mode: Mode) -> bool:
    """Whether spans are to be sent, by the setting and OpenTelemetry's own variables.

    Raises ConfigError when they are asked for by `on` and the extra is not installed.
    """
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if mode == "off" or disabled or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    if mode == "auto" and not any(os.environ.get(name) for name in ENDPOINTS):
        return False
    installed = all(is_installed(name) for name in NEEDED)
    if mode == "on" and not installed:
        raise ConfigError(f"telemetry.tracing is on, and OpenTelemetry is not installed: {MEND}")
    return installed


def is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class Tracing:
    """Makes spans with one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self.trace = trace
        self.tracer = provider.get_tracer("es_rerank", __version__)
        self.propagator = TraceContextTextMapPropagator()

    def read_parent(self, headers: Iterable[Header]) -> Any:
        """The caller's context (W3C Trace Context)."""
        carrier = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in headers
            if key.lower() in CONTEXT_HEADERS
        }
        return self.propagator.extract(carrier)

    def write_child(self, span: Span, headers: Iterable[Header]) -> list[Header]:
        """The headers with the span's own context in the place of the caller's."""
        carrier: dict[str, str] = {}
        self.propagator.inject(carrier, self.trace.set_span_in_context(span))
        kept = [(k, v) for k, v in headers if k.lower() not in CONTEXT_HEADERS]
        return [*kept, *((k.encode(), v.encode()) for k, v in carrier.items())]


class _State:
    """The process's one way to make spans; None while tracing is off."""

    tracing: Tracing | None = None


def install(provider: TracerProvider) -> None:
    """Make spans with this provider from now on."""
    _State.tracing = Tracing(provider)


def is_on() -> bool:
    """Whether spans are made."""
    return _State.tracing is not None


def remove() -> None:
    """Make no spans any more; the provider is left as it is."""
    _State.tracing = None


def start() -> TracerProvider | None:
    """Send spans where OTEL_* says. Returns the provider to `stop`; None where one is in use.

    A provider that was set up from outside, as `opentelemetry-instrument` does, is taken.
    """
    if _State.tracing is not None:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    outer = trace.get_tracer_provider()
    if isinstance(outer, TracerProvider):
        install(outer)
        return None
    own = {"service.version": __version__}
    named = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name" not in named:
        own["service.name"] = "es-rerank"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(make_exporter()))
    install(provider)
    return provider


def make_exporter() -> Any:
    """OTLP over HTTP, or over gRPC where OTEL_EXPORTER_OTLP_PROTOCOL says so."""
    general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
        OTLPSpanExporter as HttpSpanExporter,
    )

    return HttpSpanExporter()


async def stop(provider: TracerProvider) -> None:
    """Send what is left, for SHUTDOWN_S at most, on a thread that holds nobody up."""
    remove()
    ending = threading.Thread(target=provider.shutdown, name="tracing", daemon=True)
    ending.start()
    until = time.monotonic() + SHUTDOWN_S
    while ending.is_alive() and time.monotonic() < until:  # noqa: ASYNC110 - a thread ends
        await asyncio.sleep(0.01)


class RequestSpan:
    """The span of one request that came in."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def tell(self, name: str, status: int, attributes: Mapping[str, Any]) -> None:
        """What became of it. Server errors alone make it an error (HTTP semantic conventions)."""
        self._span.update_name(name)
        if status:
            self._span.set_attribute("http.response.status_code", status)
        self._span.set_attributes(dict(attributes))
        if status >= 500:
            self._span.set_status(self._tracing.trace.StatusCode.ERROR)


@contextmanager
def open_request(method: str, path: str, headers: Iterable[Header]) -> Iterator[RequestSpan | None]:
    """A span around a request, child of the caller's; None where tracing is off."""
    tracing = _State.tracing
    if tracing is None:
        yield None
        return
    with tracing.tracer.start_as_current_span(
        method,
        context=tracing.read_parent(headers),
        kind=tracing.trace.SpanKind.SERVER,
        attributes={"http.request.method": method, "url.path": path},
    ) as span:
        yield RequestSpan(tracing, span)


class CallSpan:
    """The span of one request to the cluster; does nothing where tracing is off."""

    def __init__(self, method: str, headers: Iterable[Header]) -> None:
        self.headers = headers
        self._tracing = _State.tracing
        self._span: Span | None = None
        if self._tracing is not None:
            self._span = self._tracing.tracer.start_span(
                f"upstream {method}",
                kind=self._tracing.trace.SpanKind.CLIENT,
                attributes={"http.request.method": method},
            )
            self.headers = self._tracing.write_child(self._span, headers)

    def tell(self, status: int) -> None:
        """The status of the answer; 4xx and 5xx are errors of a client's span."""
        if self._span is not None and self._tracing is not None:
            self._span.set_attribute("http.response.status_code", status)
            if status >= 400:
                self._span.set_status(self._tracing.trace.StatusCode.ERROR)

    def end(self, error: BaseException | None = None) -> None:
        """End it, once; `error` is what came instead of an answer."""
        if self._span is None or self._tracing is None:
            return
        if error is not None:
            kind = type(error).__name__
            self._span.set_attribute("error.type", kind)
            self._span.set_status(self._tracing.trace.StatusCode.ERROR, kind)
        self._span.end()
        self._span = None


def record_stages(stages: Mapping[str, float], attributes: Mapping[str, Any]) -> None:
    """Spans of stages that have just ended one after another, each with its seconds."""
    tracing = _State.tracing
    if tracing is None:
        return
    begin = time.time_ns() - int(1e9 * sum(stages.values()))
    for stage, seconds in stages.items():
        end = begin + int(1e9 * seconds)
        span = tracing.tracer.start_span(stage, start_time=begin, attributes=dict(attributes))
        span.end(end_time=end)
        begin = end
