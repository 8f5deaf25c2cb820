"""Real sockets for the proxy's tests: a scripted upstream, a raw client, a reranker, the proxy."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from es_rerank.config import Settings, load_settings
from es_rerank.proxy.app import ProxyApp
from es_rerank.proxy.server import address_of, listen_all, make_server, run_until_done

CHUNK = 65_536


@dataclass
class Request:
    """One request as its bytes came in; of a body only the length where it is only counted."""

    head: bytes
    body: bytes = b""
    body_bytes: int = 0
    whole: bool = True

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    def headers(self, name: str) -> list[bytes]:
        """All values of a header, as sent."""
        pairs = [line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line]
        return [value.strip() for key, _, value in pairs if key.lower() == name.encode()]


Script = Callable[[Request, socket.socket], None]


@dataclass
class RawUpstream:
    """A server that writes what its script says. Without a script every request gets `{}`."""

    script: Script | None = None
    requests: list[Request] = field(default_factory=list)
    count_only: bool = False
    address: tuple[str, int] = ("", 0)
    broken: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                if not line:
                    return
                head += line
            request = Request(head)
            self.requests.append(request)
            try:
                self._read_body(request, stream)
            except EOFError:
                request.whole = False
                self.broken.set()
                return
            if self.script is None:
                answer(connection, 200, b"{}")
            else:
                self.script(request, connection)

    def _read_body(self, request: Request, stream: Any) -> None:
        length = request.headers("content-length")
        if request.headers("transfer-encoding") == [b"chunked"]:
            while True:
                line = stream.readline()
                if not line.endswith(b"\n"):
                    raise EOFError
                size = int(line, 16)
                self._read_bytes(request, stream, size)
                if stream.read(2) != b"\r\n":
                    raise EOFError
                if size == 0:
                    return
        elif length:
            self._read_bytes(request, stream, int(length[0]))

    def _read_bytes(self, request: Request, stream: Any, left: int) -> None:
        while left:
            part = stream.read(min(left, CHUNK))
            if not part:
                raise EOFError
            left -= len(part)
            request.body_bytes += len(part)
            if not self.count_only:
                request.body += part


@contextlib.contextmanager
def upstream(script: Script | None = None, count_only: bool = False) -> Iterator[RawUpstream]:
    """Serve a scripted upstream on a free port."""
    raw = RawUpstream(script, count_only=count_only)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                raw.serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 50

    with Server(("127.0.0.1", 0), Handler) as server:
        raw.address = server.server_address[:2]  # type: ignore[assignment]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield raw
        finally:  # a server that goes on serving its closed socket takes a core
            server.shutdown()
            thread.join()


def answer(
    connection: socket.socket,
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> None:
    """Write an answer with a length; `length` may lie."""
    lines = [f"HTTP/1.1 {status} Status"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@contextlib.contextmanager
def serve_app(settings: Settings, ready: bool = True) -> Iterator[tuple[str, ProxyApp]]:
    """Serve the proxy as serve_in_thread does, and also where its model cannot be loaded."""
    app = ProxyApp(settings)
    bound = listen_all(settings)
    app.know_sockets(bound)
    server = make_server(app, settings)
    thread = threading.Thread(target=lambda: run_until_done(server.serve(sockets=bound)))
    thread.start()
    try:
        until = time.monotonic() + 60
        while not (server.started and (app.ranker.ready or app.ranker.error or not ready)):
            if time.monotonic() > until or not thread.is_alive():
                raise AssertionError("the proxy did not start")
            time.sleep(0.005)
        yield address_of(bound[0], settings), app
    finally:
        server.should_exit = True
        thread.join(20)
        for one in bound:
            one.close()


@contextlib.contextmanager
def reranker(score: Callable[[str, str], float]) -> Iterator[RawUpstream]:
    """Serve a /rerank server of TEI's shape that scores each text by `score(query, text)`.

    Questions for its limit are not kept among the requests.
    """

    def script(request: Request, connection: socket.socket) -> None:
        if request.line.startswith(b"GET /info "):
            server.requests.remove(request)
            answer(connection, 200, b'{"max_client_batch_size": 32}')
            return
        asked = json.loads(request.body)
        scores = [
            {"index": i, "score": score(asked["query"], text)}
            for i, text in enumerate(asked["texts"])
        ]
        answer(connection, 200, json.dumps(scores).encode())

    with upstream(script) as server:
        yield server


def proxy_settings(
    upstream_url: str, model_url: str = "http://127.0.0.1:9", **rest: Any
) -> Settings:
    """Settings of a proxy whose model is a /rerank server, so that none is loaded here."""
    tables: dict[str, Any] = {
        "upstream": {"url": upstream_url},
        "proxy": {"port": 0},
        "model": {"kind": "remote", "url": model_url},
        "rerank": {"timeout_ms": 20_000},
        "pipelines": {"poll_s": 0},  # so that the script sees what a test asks alone
        "score_cache": {"max_mb": 0},
    }
    for name, table in rest.items():
        tables[name] = {**tables.get(name, {}), **table}
    return load_settings(None, tables)


def exchange(url: str, request: bytes, timeout_s: float = 20.0) -> bytes:
    """Send raw bytes on a connection of their own; return all that comes until it is closed."""
    host, port = url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout_s) as connection:
        connection.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(CHUNK):
                received += part
    return received


def ask(url: str, line: bytes, *headers: bytes, body: bytes = b"") -> tuple[int, bytes, bytes]:
    """Send `METHOD target`, closing afterwards. Returns status, head, body."""
    lines = [line + b" HTTP/1.1", b"Host: proxy", b"Connection: close", *headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    received = exchange(url, b"\r\n".join(lines) + b"\r\n\r\n" + body)
    head, _, rest = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, rest


def find(head: bytes, name: str) -> list[str]:
    """All values of a header in an answer's head."""
    pairs = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip().decode() for key, _, value in pairs if key.lower() == name.encode()]


def dechunk(body: bytes) -> bytes:
    """A chunked body put together. Raises AssertionError when it was not ended."""
    whole = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        assert size, "the body was cut"
        if int(size, 16) == 0:
            return whole
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
