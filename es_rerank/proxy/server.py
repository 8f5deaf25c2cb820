"""Serving the proxy: in the foreground, or on a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from es_rerank.config import Settings
from es_rerank.errors import ConfigError, EsRerankError
from es_rerank.proxy.app import ProxyApp

START_S = 120.0
HEAD_BYTES = 65_536
UPGRADE = re.compile(rb"^upgrade[ \t]*:[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)


class DeafToUpgrade(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 that ignores `Upgrade`, as a server may (RFC 9110, 7.8).

    httptools takes a request that offers an upgrade for one without a body and its body for the
    next request. Java's HTTP clients offer one (h2c, TLS) with every request.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._between = True
        self._held = b""

    def data_received(self, data: bytes) -> None:
        if self._between:
            data = self._held + data
            end = data.find(b"\r\n\r\n")
            if end < 0 and len(data) < HEAD_BYTES and data[:2] != b"\r\n":
                self._held = data
                return
            self._held = b""
            data = UPGRADE.sub(b"", data[: end + 2]) + data[end + 2 :]
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._between = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()


def listen(host: str, port: int) -> socket.socket:
    """Bind the proxy's socket. Raises ConfigError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without, an answer's body waits for 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"the proxy cannot listen on {host}:{port} ({error.strerror}): end what listens "
            "there, or choose another port with --port or [proxy] port"
        ) from None
    bound.listen(2048)
    return bound


def make_server(app: ProxyApp) -> uvicorn.Server:
    """A server that adds no header of its own and says nothing on stdout."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="on",
            http=DeafToUpgrade,
            server_header=False,
            date_header=False,
            access_log=False,
            log_level="error",
            log_config=None,
            timeout_graceful_shutdown=10,
            # Longer than clients let a connection rest, or they would send into a closed one.
            timeout_keep_alive=75,
            proxy_headers=False,
            ws="none",
        )
    )


def serve(settings: Settings, on_listening: Callable[[str], None] = lambda _: None) -> None:
    """Serve until a signal ends it; requests under way are finished.

    `on_listening` is told the address once it is taken. Raises ConfigError.
    """
    app = ProxyApp(settings)
    bound = listen(settings.proxy.host, settings.proxy.port)
    host, port = bound.getsockname()[:2]
    on_listening(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    make_server(app).run(sockets=[bound])


@contextlib.contextmanager
def serve_in_thread(settings: Settings) -> Iterator[str]:
    """Serve on a thread. Yields the proxy's address once the model is warm.

    Raises EsRerankError when the model cannot be loaded.
    """
    bound = listen(settings.proxy.host, settings.proxy.port)
    host, port = bound.getsockname()[:2]
    app = ProxyApp(settings)
    server = make_server(app)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[bound])), name="proxy", daemon=True
    )
    thread.start()
    try:
        pause = threading.Event()
        for _ in range(int(START_S / 0.05)):
            if app.ranker.ready or app.ranker.error or not thread.is_alive():
                break
            pause.wait(0.05)
        if not app.ranker.ready:
            raise EsRerankError(app.ranker.error or "the proxy did not start")
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(15)
        bound.close()
