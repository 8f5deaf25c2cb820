"""Answers that the proxy itself makes, errors in the engine's own shape."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

GZIP_FROM = 1400
"""Bytes from which a compressed answer is worth it: about one network packet."""


async def send_answer(
    send: Send, status: int, body: bytes, headers: Iterable[Header], head: bool = False
) -> None:
    """Send a whole answer with its length; for HEAD the length alone."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else body})


async def send_json(send: Send, status: int, value: Any, headers: Iterable[Header] = ()) -> None:
    """Send a value as JSON."""
    body = json.dumps(value, ensure_ascii=False).encode()
    await send_answer(send, status, body, [(b"content-type", b"application/json"), *headers])


def shape_error(status: int, kind: str, reason: str) -> dict[str, Any]:
    """Shape an error as Elasticsearch and OpenSearch do, so that clients can read it."""
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


async def send_error(
    send: Send, status: int, kind: str, reason: str, headers: Iterable[Header] = ()
) -> None:
    """Send an error in the engine's shape."""
    await send_json(send, status, shape_error(status, kind, reason), headers)


def compress(body: bytes, accept_encoding: bytes) -> tuple[bytes, list[Header]]:
    """Compress a body when the client takes gzip and it is large enough. Returns body, headers."""
    codings = {part.split(b";")[0].strip(): part for part in accept_encoding.lower().split(b",")}
    wanted = codings.get(b"gzip")
    if wanted is None or wanted.replace(b" ", b"").endswith(b"q=0") or len(body) < GZIP_FROM:
        return body, []
    return gzip.compress(body, compresslevel=1, mtime=0), [(b"content-encoding", b"gzip")]


def find_header(headers: Iterable[Header], name: bytes) -> bytes:
    """The header's first value, empty where it is absent; `name` in lower case."""
    return next((value for key, value in headers if key.lower() == name), b"")
