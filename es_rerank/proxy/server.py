"""What listens and serves an application, and the proxy on a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Protocol

from es_rerank.config import Settings
from es_rerank.errors import ConfigError, EsRerankError
from es_rerank.proxy.answer import Receive, Scope, Send
from es_rerank.proxy.app import ProxyApp
from es_rerank.proxy.wire.certificates import make_listener_context
from es_rerank.proxy.wire.limits import Limits
from es_rerank.proxy.wire.server import HttpServer, Shortcut

START_S = 120.0
MOST_CONNECTIONS = 100_000
OTHER_FILES = 64
"""Files that are open beside the connections: the model's, the log, the loop's own."""


def listen(host: str, port: int, mend: str = "--port or [proxy] port") -> socket.socket:
    """Bind a socket. Raises ConfigError when the address is taken or not ours."""
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
            f"there, or choose another port with {mend}"
        ) from None
    bound.listen(2048)
    return bound


def listen_all(settings: Settings) -> list[socket.socket]:
    """Bind the proxy's address, and the admin routes' own where they have one.

    Raises ConfigError.
    """
    proxy, admin = settings.proxy, settings.admin
    if admin.port and admin.port == proxy.port:
        raise ConfigError(f"[admin] port and [proxy] port are both {admin.port}: change one")
    bound = [listen(proxy.host, proxy.port)]
    if admin.port is not None:
        try:
            bound.append(listen(admin.host, admin.port, "[admin] port"))
        except ConfigError:
            bound[0].close()
            raise
    return bound


class Served(Protocol):
    """An application with what its server needs to know of it."""

    settings: Settings

    @property
    def shortcut(self) -> Shortcut | None:
        """A way past the application, where there is one."""

    def know_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Learn which addresses it is reached at."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""


def make_server(app: Served, settings: Settings) -> HttpServer:
    """An application's HTTP server. Raises ConfigError when a certificate cannot be read."""
    proxy = settings.proxy
    limits = Limits(
        line_bytes=proxy.max_line_bytes,
        head_bytes=proxy.max_head_bytes,
        headers=proxy.max_headers,
        head_s=proxy.head_timeout_s,
        body_s=proxy.body_timeout_s,
        send_s=proxy.send_timeout_s,
        idle_s=proxy.idle_timeout_s,
        connections=proxy.connections or count_connections(settings.upstream.connections),
    )
    return HttpServer(
        app,
        limits,
        shortcut=app.shortcut,
        ssl_context=make_listener_context(proxy),
        grace_s=proxy.drain_s,
    )


def count_connections(to_cluster: int) -> int:
    """How many clients fit into the limit of open files, beside the cluster's connections."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(most - to_cluster - OTHER_FILES, most // 4, 1)


def address_of(bound: socket.socket, settings: Settings) -> str:
    """The address that clients use."""
    host, port = bound.getsockname()[:2]
    scheme = "http" if settings.proxy.tls_cert is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def run_until_done(serving: Coroutine[Any, Any, None]) -> None:
    """Run on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(serving)


def make_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def calm_collector() -> None:
    """Let the collector look less often, and never at what stays: it took a quarter of the relay.

    A request leaves no cycles behind; what lives as long as it does is not garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@contextlib.contextmanager
def serve_in_thread(settings: Settings) -> Iterator[str]:
    """Serve on a thread. Yields the proxy's address once the model is warm.

    Raises EsRerankError when the model cannot be loaded.
    """
    app = ProxyApp(settings)
    server = make_server(app, settings)
    bound = listen_all(settings)
    app.know_sockets(bound)
    thread = threading.Thread(
        target=lambda: run_until_done(server.serve(sockets=bound)), name="proxy", daemon=True
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
        yield address_of(bound[0], settings)
    finally:
        server.should_exit = True
        thread.join(15)
        for one in bound:
            one.close()
