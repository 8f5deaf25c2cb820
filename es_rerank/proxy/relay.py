"""The relay: every request that is no search goes through as it is, streamed both ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from es_rerank.proxy.answer import Header, Message, Receive, Scope, Send, find_header, send_error
from es_rerank.proxy.upstream import Upstream, UpstreamError
from es_rerank.proxy.wire.call import ClientGoneError

BUFFERED_BYTES = 65_536
"""Request bodies up to this size are held, so that a stale connection can be tried again."""


T = TypeVar("T")


async def while_connected(
    receive: Receive, send: Send, work: Callable[[Send], Coroutine[Any, Any, T]]
) -> T:
    """Run `work`, and give it up when the client closes the connection.

    The cluster then sees its connection closed too, and cancels what it does for nobody. The
    request's body must have been read, or there is none. Raises ClientGoneError.
    """
    ended = False

    async def send_on(message: Message) -> None:
        nonlocal ended
        ended |= message["type"] == "http.response.body" and not message.get("more_body", False)
        await send(message)

    task = asyncio.ensure_future(work(send_on))
    gone = asyncio.ensure_future(wait_for_end(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and not ended:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, UpstreamError):
                await task
            raise ClientGoneError
        return await task
    finally:
        gone.cancel()
        task.cancel()


async def wait_for_end(receive: Receive) -> None:
    """Return when the client has gone or has its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the request's body as it comes. Raises ClientGoneError."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        if message.get("body"):
            yield message["body"]
        more = message.get("more_body", False)


async def read_body(receive: Receive, max_bytes: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Read a body. Returns (all of it, None), or (what was read, the rest) when it is larger."""
    parts = bytearray()
    chunks = read_chunks(receive)
    async for chunk in chunks:
        parts += chunk
        if len(parts) > max_bytes:
            return bytes(parts), chunks
    return bytes(parts), None


async def join_chunks(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body that was read in part, whole again."""
    yield start
    async for chunk in rest:
        yield chunk


async def relay(scope: Scope, receive: Receive, send: Send, upstream: Upstream) -> int:
    """Pass a request through. Returns the status that went back."""
    headers: list[Header] = scope["headers"]
    method, target = scope["method"], request_target(scope)
    has_body = find_header(headers, b"content-length") not in {b"", b"0"} or bool(
        find_header(headers, b"transfer-encoding")
    )
    body: bytes | None = None
    if has_body:
        start, rest = await read_body(receive, BUFFERED_BYTES)
        if rest is not None:
            whole = join_chunks(start, rest)
            return await pass_through(send, upstream, method, target, headers, whole)
        body = start
    elif find_header(headers, b"content-length"):
        body = b""
    return await while_connected(
        receive,
        send,
        lambda sender: pass_through(sender, upstream, method, target, headers, body),
    )


async def pass_through(
    send: Send,
    upstream: Upstream,
    method: str,
    target: bytes,
    headers: Iterable[Header],
    body: bytes | AsyncIterator[bytes] | None,
    extra: Iterable[Header] = (),
) -> int:
    """Send one request on and stream its answer back, with `extra` headers added.

    An answer that breaks off is never ended as if it were whole: the error goes on to the server,
    which cuts the connection.
    """
    started = False
    try:
        async with upstream.stream(method, target, headers, body) as response:
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status,
                    "headers": [*response.headers, *extra],
                }
            )
            started = True
            async for chunk in response.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return response.status
    except UpstreamError as error:
        if started:
            raise
        return await send_upstream_error(send, upstream, error)


async def send_upstream_error(send: Send, upstream: Upstream, error: UpstreamError) -> int:
    """Say why the cluster did not answer, in its own shape."""
    await send_error(send, error.status, error.kind, str(error), upstream.product)
    return error.status


def request_target(scope: Scope) -> bytes:
    """The request's raw path and query, byte for byte."""
    raw: bytes | None = scope.get("raw_target")
    if raw is not None:
        return raw
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
