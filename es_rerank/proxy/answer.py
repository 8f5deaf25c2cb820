"""Answers that the proxy itself makes, errors in the engine's own shape."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import zstandard

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
    """Compress a body for a client that takes zstd or gzip, when it is large enough.

    Returns body, headers. Of two that the client likes as well, zstd: it is the faster.
    """
    liking = read_codings(accept_encoding)
    best = max((b"gzip", b"zstd"), key=lambda coding: liking.get(coding, 0.0))
    if liking.get(b"zstd", 0.0) >= liking.get(best, 0.0):
        best = b"zstd"
    if not liking.get(best) or len(body) < GZIP_FROM:
        return body, []
    if best == b"zstd":
        packed = zstandard.ZstdCompressor(level=1).compress(body)
    else:
        packed = gzip.compress(body, compresslevel=1, mtime=0)
    return packed, [(b"content-encoding", best)]


def read_codings(accept_encoding: bytes) -> dict[bytes, float]:
    """How much a client likes each content coding, 0 to 1 (RFC 9110, 12.5.3)."""
    liking = {}
    for part in accept_encoding.lower().split(b","):
        name, _, parameter = part.partition(b";")
        _, _, quality = parameter.partition(b"=")
        try:
            liking[name.strip()] = float(quality) if quality else 1.0
        except ValueError:
            liking[name.strip()] = 0.0
    return liking


def find_header(headers: Iterable[Header], name: bytes) -> bytes:
    """The header's first value, empty where it is absent; `name` in lower case."""
    return next((value for key, value in headers if key.lower() == name), b"")
