"""A chat endpoint on a real socket, strict as the real ones are, that can be told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, Mapping[str, str]]
KEYS = {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "stream", "seed"}


@dataclass
class ChatServer:
    """A server that runs. before: an answer to the n-th request, from 0 on; None for the usual one.

    write: the text that it writes, of the request's body.
    """

    write: Callable[[dict[str, Any]], str] = lambda body: "A text."
    before: Callable[[int], Reply | None] = lambda number: None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    under_way: int = 0
    busiest: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> Reply:
        """Answer as OpenAI's reference has it."""
        if path != "/v1/chat/completions":
            return 404, {"error": {"message": "no such path"}}, {}
        if not {"model", "messages"} <= body.keys() <= KEYS:
            return 400, {"error": {"message": f"unknown keys in {sorted(body)}"}}, {}
        text = self.write(body)
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return 200, {"id": "x", "object": "chat.completion", "choices": choices, "usage": usage}, {}


@contextmanager
def serving(server: ChatServer) -> Iterator[ChatServer]:
    """Run it on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                number = len(server.bodies)
                server.bodies.append(body)
                server.heads.append({k.lower(): v for k, v in self.headers.items()})
                server.under_way += 1
                server.busiest = max(server.busiest, server.under_way)
            try:
                status, value, headers = server.before(number) or server.answer(self.path, body)
            finally:
                with server.lock:
                    server.under_way -= 1
            if status == 0:  # hang up
                self.close_connection = True
                return
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for key, told in headers.items():
                self.send_header(key, told)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is no error here."""

    with Server(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
