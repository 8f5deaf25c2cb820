"""Serving the proxy: in the foreground, or on a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn

from es_rerank.config import Settings
from es_rerank.errors import ConfigError, EsRerankError
from es_rerank.proxy.app import ProxyApp

START_S = 120.0


def listen(host: str, port: int) -> socket.socket:
    """Bind the proxy's socket. Raises ConfigError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
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
            http="httptools",
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


def serve(settings: Settings) -> None:
    """Serve until a signal ends it; requests under way are finished."""
    bound = listen(settings.proxy.host, settings.proxy.port)
    make_server(ProxyApp(settings)).run(sockets=[bound])


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
