"""One request until its answer: which node gets it, and when it may be sent again.

A request is sent a second time only where that can do no harm: nothing of it had been written, or
it may be repeated and no byte of an answer has been passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from es_rerank import telemetry
from es_rerank.proxy.answer import Header
from es_rerank.proxy.wire.client import Connection, Reader
from es_rerank.proxy.wire.failure import NoNodeError, TimedOutError, UnreachableError

if TYPE_CHECKING:
    from es_rerank.proxy.wire.pool import Node, Pool

JOINED_BYTES = 65_536
"""Bodies up to this size are written together with the head."""
REFUSED = 400
"""From this status on the cluster has judged a request: the rest of its body is not sent."""


class Request(NamedTuple):
    """A request as it is sent to any node. A body that is no bytes is streamed."""

    method: bytes
    target: bytes
    lines: bytes  # the header lines but for Host, and the empty one
    body: bytes | AsyncIterator[bytes]
    chunked: bool  # the streamed body is, else its length is in the headers
    repeatable: bool

    def write_head(self, node: Node) -> bytes:
        """The request's head for one node."""
        return b"".join(
            (
                self.method,
                b" ",
                node.prefix,
                self.target,
                b" HTTP/1.1\r\nHost: ",
                node.authority,
                b"\r\n",
                self.lines,
            )
        )


class Exchange:
    """Sends a request, again where that is right, and hands the answer to its reader.

    held: the reader passes nothing on before the answer is whole, so that it may begin anew with
    another on_head. only: the one node that is meant, as for a check.
    """

    def __init__(
        self,
        pool: Pool,
        request: Request,
        reader: Reader,
        *,
        held: bool,
        only: Node | None = None,
    ) -> None:
        self._pool = pool
        self._request = request
        self._reader: Reader | None = reader
        self._held = held
        self._only = only
        self._tried: list[Node] = []
        self._fresh = self._passed = self._streaming = False
        self._node: Node
        self._connection: Connection | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def is_check(self) -> bool:
        """Whether one node is asked for a sign of life."""
        return self._only is not None

    def begin(self) -> None:
        """Send the request to the next node. What goes wrong is told to the reader."""
        node = self._only or self._pool.choose()
        if node is None:
            self.fail(NoNodeError("every node of the cluster is out; they are tried again shortly"))
            return
        self._send_to(node)

    def pause(self) -> None:
        """Let no more of the answer come until resume."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Let the answer come again."""
        if self._connection is not None:
            self._connection.resume()

    def cancel(self) -> None:
        """Give the request up: its connection is closed, so that the cluster cancels its work."""
        if self._reader is None:
            return
        self._reader = None
        self._stop_body()
        self._pool.forget(self)
        if self._connection is not None:
            self._connection.close()

    # The pool's word.

    def use(self, node: Node, connection: Connection) -> None:
        """A connection is there: send."""
        self._node, self._connection = node, connection
        request = self._request
        head, body = request.write_head(node), request.body
        settings = self._pool.settings
        joined = isinstance(body, bytes) and len(body) <= JOINED_BYTES
        connection.start(
            head + body if joined else head,  # type: ignore[operator]
            self,
            request.method == b"HEAD",
            settings.timeout_s,
            settings.stall_timeout_s or settings.timeout_s,
        )
        if isinstance(body, bytes):
            if not joined:
                connection.write(body)
            connection.end_request()
        else:
            self._streaming = True
            self._pump = asyncio.ensure_future(self._send_body(connection, body))

    def refuse(self, node: Node, error: Exception) -> None:
        """No connection to the node could be made, so nothing was written: try the others."""
        self._tried.append(node)
        other = None if self._only is not None else self._pool.choose(self._tried)
        if other is None:
            self.fail(error)
        else:
            telemetry.UPSTREAM_REPEATS.labels("failover").inc()
            self._send_to(other)

    def fail(self, error: Exception) -> None:
        """No answer will come."""
        self._end(error)

    # The connection's word.

    def on_head(self, status: int, headers: list[Header]) -> None:
        self._passed = not self._held
        if not self._node.healthy:
            self._pool.health.heal(self._node)
        if status >= REFUSED and self._pump is not None and self._connection is not None:
            self._stop_body()
            self._connection.stop_request()
        if self._reader is not None:
            self._reader.on_head(status, headers)

    def on_body(self, data: bytes) -> None:
        if self._reader is not None:
            self._reader.on_body(data)

    def on_end(self) -> None:
        self._end(None)

    def on_error(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        again = self._request.repeatable and not self._streaming and not self._passed
        stale = connection.reused and isinstance(error, UnreachableError)
        if stale and again and not self._fresh:
            self._fresh = True
            telemetry.UPSTREAM_REPEATS.labels("stale").inc()
            self._send_to(self._node)
            return
        if not stale and len(self._pool.nodes) > 1:
            self._pool.health.suspect(self._node)
        # Who was silent may still be at work: asking another node would double a slow request.
        if again and not isinstance(error, TimedOutError):
            self.refuse(self._node, error)
        else:
            self.fail(error)

    def _send_to(self, node: Node) -> None:
        connection = None if self._fresh else self._pool.take(node)
        if connection is not None:
            self.use(node, connection)
        else:
            self._pool.connect(node, self)

    async def _send_body(self, connection: Connection, body: AsyncIterator[bytes]) -> None:
        """Stream the request's body; when it breaks off, so does the connection."""
        chunked = self._request.chunked
        try:
            async for part in body:
                if not connection.usable:
                    return
                connection.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await connection.drained()
            if chunked:
                connection.write(b"0\r\n\r\n")
            connection.end_request()
        except Exception as error:
            connection.close()
            self._pump = None
            self.fail(error)

    def _stop_body(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None

    def _end(self, error: Exception | None) -> None:
        reader, self._reader = self._reader, None
        self._stop_body()
        if reader is None:
            return
        if error is None:
            reader.on_end()
        else:
            reader.on_error(error)
