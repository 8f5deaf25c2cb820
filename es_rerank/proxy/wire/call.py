"""One request as an application sees it: a scope, a way to receive its body, a way to answer."""

from __future__ import annotations

import asyncio
from collections import deque
from urllib.parse import unquote_to_bytes

from es_rerank import telemetry
from es_rerank.proxy.answer import Message, Scope
from es_rerank.proxy.wire.connection import Connection
from es_rerank.proxy.wire.head import Head
from es_rerank.proxy.wire.limits import HELD_BYTES

ASGI = {"version": "3.0", "spec_version": "2.4"}
DISCONNECT = "http.disconnect"

log = telemetry.get_logger()


class ClientGoneError(OSError):
    """The client closed the connection before it had its answer."""


class Call:
    """A request's body on its way to the application, and the answer's way back.

    `receive` and `send` are ASGI's.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._whole = self._told = self._gone = self._done = False
        self._start: Message | None = None
        self._heard: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    async def receive(self) -> Message:
        """The next bytes of the body, or word that the client has gone or has its answer."""
        while True:
            if self._gone or self._done:
                return {"type": DISCONNECT}
            if self._parts or (self._whole and not self._told):
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self._size = 0
                self._told = self._whole
                self._connection.resume()
                return {"type": "http.request", "body": body, "more_body": not self._whole}
            self._heard = asyncio.get_running_loop().create_future()
            await self._heard

    async def send(self, message: Message) -> None:
        """Write a part of the answer, waiting while the client does not keep up.

        Raises ClientGoneError.
        """
        if self._gone:
            raise ClientGoneError
        connection = self._connection
        if message["type"] == "http.response.start":
            connection.start_answer(message["status"], message.get("headers", ()))
            return
        if self._done or not connection.answering:
            raise RuntimeError("an answer has one head and one end")
        connection.write(message.get("body", b""))
        if not message.get("more_body", False):
            self._done = True
            connection.end_answer()
            self._wake()
        elif not connection.writable:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
            if self._gone:
                raise ClientGoneError

    def finish(self, task: asyncio.Task[None]) -> None:
        """The application has returned; what it left undone is ended here."""
        error = None if task.cancelled() else task.exception()
        if self._done or self._gone:
            return
        self._done = True
        if task.cancelled():
            self._connection.cut()
            return
        if error is None:
            error = RuntimeError("the application did not end its answer")
        if self._connection.answering:
            log.warning("an answer was cut", error=f"{type(error).__name__}: {error}")
        else:
            log.error("a request failed", error=type(error).__name__, exc_info=error)
        self._connection.fail(500, "proxy_exception", "the proxy failed; its log says how")

    # The connection's word.

    def on_request_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES:
            self._connection.pause()
        self._wake()

    def on_request_end(self) -> None:
        self._whole = True
        self._wake()

    def on_gone(self) -> None:
        self._gone = True
        self._parts.clear()
        self._wake()
        self.on_resume()

    def on_pause(self) -> None:
        """`send` looks for itself."""

    def on_resume(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _wake(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)


def make_scope(connection: Connection, head: Head) -> Scope:
    """The request as ASGI describes it (HTTP connection scope, TLS extension)."""
    path, _, query = head.target.partition(b"?")
    transport = connection.transport
    identity = connection.identity
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1" if head.minor else "1.0",
        "method": head.method.decode("ascii"),
        "scheme": "http" if identity is None else "https",
        "path": (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace"),
        "raw_path": path,
        "raw_target": head.target,
        "query_string": query,
        "root_path": "",
        "headers": list(head.headers),
        "client": address(transport, "peername"),
        "server": address(transport, "sockname"),
        "extensions": {} if identity is None else {"tls": identity},
    }


def address(transport: asyncio.Transport, end: str) -> tuple[str, int] | None:
    """Host and port of one end of a connection."""
    pair = transport.get_extra_info(end)
    return (pair[0], pair[1]) if isinstance(pair, tuple) and len(pair) >= 2 else None
