"""Rerank servers of each shape, strict as the real ones are, that can be told to misbehave."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, Mapping[str, str]]
KEYS: Mapping[str, tuple[set[str], set[str]]] = {
    "tei": ({"query", "texts"}, {"truncate", "raw_scores", "return_text", "truncation_direction"}),
    "infinity": ({"query", "documents"}, {"model", "top_n", "return_documents", "raw_scores"}),
    "cohere": ({"model", "query", "documents"}, {"top_n", "max_tokens_per_doc", "priority"}),
    "jina": ({"query", "documents"}, {"model", "top_n", "return_documents"}),
    "voyage": ({"query", "documents", "model"}, {"top_k", "return_documents", "truncation"}),
}
"""The keys that each must and may have; another is refused."""
PATHS = {"tei": "/rerank", "infinity": "/rerank", "cohere": "/v2/rerank"}


def word_share(query: str, text: str) -> float:
    """The share of the query's words that the text has."""
    words = query.split()
    return sum(word in text.split() for word in words) / len(words)


@dataclass
class RerankServer:
    """A server that runs. before: what to do first with the n-th request for scores, from 0 on.

    It returns an answer, or None for the ordinary one.
    """

    api: str
    most: int = 1000
    tells: bool = True
    before: Callable[[int], Reply | None] = lambda number: None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    connections: int = 0
    under_way: int = 0
    busiest: int = 0
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def path(self) -> str:
        return PATHS.get(self.api, "/v1/rerank")

    @property
    def url(self) -> str:
        return self.address + self.path

    @property
    def sizes(self) -> list[int]:
        """How many texts each request had."""
        return [len(body["texts" if "texts" in body else "documents"]) for body in self.bodies]

    def look(self, path: str) -> Reply:
        """Answer a GET."""
        self.looked_at.append(path)
        if path == "/info" and self.api == "tei" and self.tells:
            return 200, {"model_id": "m", "max_client_batch_size": self.most}, {}
        if path == "/models" and self.api == "infinity":
            return 200, {"data": [{"id": "m", "owned_by": "infinity"}], "object": "list"}, {}
        return 404, {"detail": "Not Found"}, {}

    def rerank(self, path: str, body: dict[str, Any]) -> Reply:
        """Answer a request for scores, best first."""
        must, may = KEYS[self.api]
        if path != self.path:
            return 404, {"detail": "Not Found"}, {}
        if not must <= body.keys() <= must | may:
            return 422, self.fault(f"the keys are {sorted(body)}"), {}
        texts = body["texts"] if self.api == "tei" else body["documents"]
        if len(texts) > self.most:
            return self.refuse_size(len(texts))
        key = "score" if self.api == "tei" else "relevance_score"
        ranked = sorted(
            ({"index": i, key: word_share(body["query"], t)} for i, t in enumerate(texts)),
            key=lambda item: -item[key],
        )
        ranked = ranked[: body.get("top_n", body.get("top_k", len(ranked)))]
        if self.api == "tei":
            return 200, ranked, {}
        if self.api == "voyage":
            return 200, {"object": "list", "data": ranked, "usage": {"total_tokens": 8}}, {}
        return 200, {"id": "x", "results": ranked}, {}

    def refuse_size(self, count: int) -> Reply:
        told = {
            "tei": f"batch size {count} > maximum allowed batch size {self.most}",
            "infinity": f"List should have at most {self.most} items after validation",
            "cohere": "too many documents were provided",
            "jina": f"The number of documents exceeds the maximum of {self.most}",
            "voyage": f"The number of documents cannot exceed {self.most:,}",
        }[self.api]
        status = {"tei": 413, "infinity": 422, "cohere": 400, "jina": 400, "voyage": 400}
        return status[self.api], self.fault(told if self.tells else "too large"), {}

    def fault(self, told: str) -> Any:
        """An error in the shape's own form."""
        if self.api == "tei":
            return {"error": told, "error_type": "Validation"}
        if self.api == "infinity":
            return {"detail": [{"type": "t", "loc": ["body"], "msg": told, "input": "everything"}]}
        return {"message": told} if self.api == "cohere" else {"detail": told}


@contextmanager
def serving(
    server: RerankServer, port: int = 0, context: ssl.SSLContext | None = None
) -> Iterator[RerankServer]:
    """Run it on a port of this machine, a free one by default; with a context, by TLS."""

    connected: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes

        def setup(self) -> None:
            super().setup()
            with server.lock:
                server.connections += 1
                connected.append(self.connection)

        def do_GET(self) -> None:
            self.reply(*server.look(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                number = len(server.bodies)
                server.bodies.append(body)
                server.heads.append({k.lower(): v for k, v in self.headers.items()})
                server.under_way += 1
                server.busiest = max(server.busiest, server.under_way)
            try:
                told = server.before(number)
                if told == HANG_UP:
                    self.close_connection = True
                    return
                self.reply(*(told or server.rerank(self.path, body)))
            finally:
                with server.lock:
                    server.under_way -= 1

        def reply(self, status: int, content: Any, headers: Mapping[str, str]) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            with suppress(ConnectionError):  # the client may have given up
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that does not trust us, or has gone."""

    http = Server(("127.0.0.1", port), Handler)
    if context is not None:
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    scheme = "http" if context is None else "https"
    server.address = f"{scheme}://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        for connection in connected:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


HANG_UP: Reply = (0, b"hang up", {})


def slowly(seconds: float, times: int = 1_000_000) -> Callable[[int], Reply | None]:
    """Be slow for so many requests."""

    def wait(number: int) -> None:
        if number < times:
            time.sleep(seconds)

    return wait


def at_first(*replies: Reply) -> Callable[[int], Reply | None]:
    """Answer the first requests so, and the others as they should be."""
    return lambda number: replies[number] if number < len(replies) else None
