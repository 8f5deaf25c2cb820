"""The HTTP server around an application of a test's own, on a thread, on either event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uvloop

from es_rerank.proxy.answer import Message, Receive, Scope, Send
from es_rerank.proxy.server import listen
from es_rerank.proxy.wire.limits import Limits
from es_rerank.proxy.wire.server import Application, HttpServer

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass
class Echo:
    """Answers each request with its method, target and body, and notes what it saw."""

    seen: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["method"], scope["raw_target"], body))
        self.scopes.append(scope)
        text = b"%b %b %b" % (scope["method"].encode(), scope["raw_target"], body)
        await send(head(200, (b"content-length", b"%d" % len(text))))
        await send({"type": "http.response.body", "body": text})


def head(status: int, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


async def live(receive: Receive, send: Send) -> None:
    """The lifespan of an application that has nothing to open."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


@dataclass
class Served:
    """A server that runs."""

    server: HttpServer
    thread: threading.Thread
    address: tuple[str, int]

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, 10)


@contextlib.contextmanager
def serve(
    app: Application,
    limits: Limits | None = None,
    loop: str = "uvloop",
    grace_s: float = 5.0,
    ssl_context: ssl.SSLContext | None = None,
) -> Iterator[Served]:
    """Serve an application."""
    bound = listen("127.0.0.1", 0)
    server = HttpServer(app, limits, ssl_context=ssl_context, grace_s=grace_s)

    def run() -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(server.serve(sockets=[bound]))

    thread = threading.Thread(target=run)
    address = bound.getsockname()
    thread.start()
    try:
        until = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.002)
        yield Served(server, thread, address)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            received += part
    return received


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes, up to an end that is waited for."""
    received = b""
    while not received.endswith(end):
        part = connection.recv(65_536)
        assert part, received
        received += part
    return received
