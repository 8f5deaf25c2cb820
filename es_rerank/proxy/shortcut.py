"""The short way of a relayed request: from the client's connection to the cluster's and back.

Callbacks alone, no task and no queue: the request's lines go on as they came, but for those of the
connection, and the answer's bytes are written as they come. Requests whose body is streamed go
through `relay`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from es_rerank import telemetry
from es_rerank.proxy.answer import Header
from es_rerank.proxy.relay import BUFFERED_BYTES
from es_rerank.proxy.upstream import Upstream, UpstreamError, may_repeat
from es_rerank.proxy.wire.connection import Connection
from es_rerank.proxy.wire.exchange import Exchange, Request
from es_rerank.proxy.wire.head import Head

SECONDS = telemetry.REQUEST_SECONDS.labels("relay")
OUTCOMES = {
    outcome: telemetry.REQUESTS.labels("relay", outcome)
    for outcome in ("ok", "error", "client-gone")
}

log = telemetry.get_logger()


class Shortcut:
    """Takes the requests that are the relay's and whose body is small enough to be held."""

    def __init__(self, upstream: Upstream, is_relayed: Callable[[bytes], bool]) -> None:
        self._upstream = upstream
        self._is_relayed = is_relayed

    def take(self, connection: Connection, head: Head) -> Passage | None:
        """Find who answers a request; None leaves it to the application."""
        if head.chunked or (head.length or 0) > BUFFERED_BYTES:
            return None
        if not self._is_relayed(head.target.partition(b"?")[0]):
            return None
        return Passage(self._upstream, connection, head)


class Passage:
    """One request on its way to the cluster, and its answer on the way back."""

    __slots__ = ("_began", "_body", "_connection", "_done", "_exchange", "_head", "_upstream")

    def __init__(self, upstream: Upstream, connection: Connection, head: Head) -> None:
        self._began = time.perf_counter()
        self._upstream = upstream
        self._connection = connection
        self._head = head
        self._body: list[bytes] = []
        self._exchange: Exchange | None = None
        self._done = False
        telemetry.INFLIGHT.inc()

    # The client's word.

    def on_request_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_request_end(self) -> None:
        head = self._head
        if head.length is None:
            lines = head.passed + b"\r\n"
        else:
            lines = b"%bContent-Length: %d\r\n\r\n" % (head.passed, head.length)
        method = head.method.decode("ascii")
        request = Request(
            head.method,
            head.target,
            lines,
            b"".join(self._body),
            False,
            may_repeat(method, head.target),
        )
        self._body.clear()
        self._exchange = self._upstream.begin(request, self)

    def on_gone(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
        self._count("client-gone")

    def on_pause(self) -> None:
        if self._exchange is not None:
            self._exchange.pause()

    def on_resume(self) -> None:
        if self._exchange is not None:
            self._exchange.resume()

    # The cluster's word.

    def on_head(self, status: int, headers: list[Header]) -> None:
        if not self._upstream.product:
            self._upstream.note_product(headers)
        self._connection.start_answer(status, headers)
        if not self._connection.writable:
            self.on_pause()
        if status >= 500:
            self._count("error")

    def on_body(self, data: bytes) -> None:
        self._connection.write(data)

    def on_end(self) -> None:
        self._count("ok")
        self._connection.end_answer()

    def on_error(self, error: Exception) -> None:
        self._count("error")
        if self._connection.answering:
            log.warning("an answer was cut", error=str(error))
            self._connection.cut()
        elif isinstance(error, UpstreamError):
            product = self._upstream.product
            self._connection.fail(error.status, error.kind, str(error), product)
        else:
            log.error("a request failed", error=type(error).__name__, exc_info=error)
            self._connection.fail(500, "proxy_exception", "the proxy failed; its log says how")

    def _count(self, outcome: str) -> None:
        """Count the request once."""
        if self._done:
            return
        self._done = True
        telemetry.INFLIGHT.dec()
        OUTCOMES[outcome].inc()
        SECONDS.observe(time.perf_counter() - self._began)
