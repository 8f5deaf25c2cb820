"""What is said of each request once it is answered: log lines, a span, how often which reason."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from es_rerank import telemetry, tracing
from es_rerank.config import TelemetrySettings
from es_rerank.proxy.answer import Message, Scope, Send, find_header
from es_rerank.proxy.wire.call import ClientGoneError

MARK = re.compile(rb"([a-z-]+)(?:; reason=([^;]+))?")
TIMING = re.compile(r"([a-z-]+);dur=([0-9.]+)")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
SHOWN_CHARACTERS = 300
log = telemetry.get_logger()


@dataclass
class Record:
    """One request, as far as it is known. route and outcome: as the metrics have them."""

    scope: Scope
    route: str = "relay"
    outcome: str = "error"
    status: int = 0
    reason: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    query_text: str | None = None
    trace_id: str | None = None

    @property
    def path(self) -> str:
        """The raw path without the query, which may hold the shopper's words."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return show(raw)

    def header(self, name: bytes) -> str | None:
        """A header that may be shown, None where it is absent."""
        return show(find_header(self.scope["headers"], name)) or None

    def read(self, message: Message) -> None:
        """Learn from the answer's head."""
        self.status = message["status"]
        for key, value in message.get("headers", ()):
            if key.lower() == b"x-es-rerank":
                found = MARK.match(value)
                if found is not None and found[2]:
                    self.reason = found[2].decode("latin-1")
            elif key.lower() == b"server-timing" and self.route != "relay":
                told = TIMING.findall(value.decode("latin-1"))
                self.stages = {stage: float(ms) for stage, ms in told}


RECORD: ContextVar[Record | None] = ContextVar("record", default=None)


def note_query_text(text: str | None) -> None:
    """Remember the shopper's words for the lines that may show them."""
    record = RECORD.get()
    if record is not None:
        record.query_text = text


class AccessLog:
    """Says what `[telemetry]` wants said."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings

    async def follow(
        self, scope: Scope, send: Send, answer: Callable[[Record, Send], Awaitable[None]]
    ) -> None:
        """Have one request answered, and say and count what came of it."""
        began = time.perf_counter()
        telemetry.INFLIGHT.inc()
        with self.open(scope) as record:
            try:
                await answer(record, self.watch(send, record))
            except ClientGoneError:
                record.outcome = "client-gone"
            finally:
                seconds = time.perf_counter() - began
                telemetry.INFLIGHT.dec()
                telemetry.REQUESTS.labels(record.route, record.outcome).inc()
                telemetry.REQUEST_SECONDS.labels(record.route).observe(seconds)
                self.tell(record, seconds)

    @contextmanager
    def open(self, scope: Scope) -> Iterator[Record]:
        """Around the answer to one request, whose record the answering fills."""
        record = Record(scope)
        token = RECORD.set(record)
        method = scope["method"]
        try:
            with tracing.open_request(method, record.path, scope["headers"]) as span:
                if span is not None:
                    record.trace_id = span.trace_id
                try:
                    yield record
                finally:
                    if span is not None:
                        span.tell(f"{method} {record.route}", record.status, describe(record))
        finally:
            RECORD.reset(token)

    def watch(self, send: Send, record: Record) -> Send:
        """`send`, with the answer's head read into the record."""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.read(message)
            await send(message)

        return send_on

    def tell(self, record: Record, seconds: float) -> None:
        """Log the request, and count it where it is a search that was skipped or slow."""
        settings = self._settings
        if record.outcome == "skipped" and record.reason:
            telemetry.SKIPS.labels(record.reason).inc()
        slow_ms = settings.slow_search_ms
        slow = record.route == "search" and 0 < slow_ms <= 1000 * seconds
        if slow:
            telemetry.SLOW_SEARCHES.inc()
        if not (slow or settings.access_log):
            return
        line = self._write_line(record, seconds)
        if settings.access_log:
            log.info("request", **line)
        if slow:
            log.warning("slow search", **line, stages_ms=record.stages)

    def _write_line(self, record: Record, seconds: float) -> dict[str, Any]:
        line = {
            "route": record.route,
            "method": record.scope["method"],
            "path": record.path,
            "status": record.status,
            "outcome": record.outcome,
            "reason": record.reason,
            "took_ms": round(1000 * seconds, 1),
            "opaque_id": record.header(b"x-opaque-id"),
            "trace_id": record.trace_id or read_trace_id(record.scope),
        }
        if self._settings.log_query_text:
            line["query_text"] = record.query_text
        return {key: value for key, value in line.items() if value is not None}


def describe(record: Record) -> dict[str, Any]:
    """A request span's attributes: no query text, no query string."""
    found = {
        "http.route": record.route,
        "es_rerank.outcome": record.outcome,
        "es_rerank.reason": record.reason,
        "es_rerank.opaque_id": record.header(b"x-opaque-id"),
    }
    return {key: value for key, value in found.items() if value is not None}


def read_trace_id(scope: Scope) -> str | None:
    """The trace that the caller says the request belongs to (W3C Trace Context)."""
    found = TRACEPARENT.match(find_header(scope["headers"], b"traceparent"))
    return None if found is None else found[1].decode()


def show(raw: bytes) -> str:
    """Bytes of a client's as text that does a log no harm."""
    text = raw[:SHOWN_CHARACTERS].decode("latin-1")
    return "".join(char if char.isprintable() else "?" for char in text)
