"""The cluster behind the proxy: a request in, an answer out, bytes as they are.

`stream` gives an answer piece by piece, `ask` whole, `send` to callbacks. Which node answers, over
which connection, and whether a request may be sent again is the business of `wire`.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

from es_rerank import tracing
from es_rerank.config import UpstreamSettings
from es_rerank.errors import ConfigError
from es_rerank.proxy.answer import Header
from es_rerank.proxy.wire.client import HOP_BY_HOP, Reader
from es_rerank.proxy.wire.exchange import Exchange, Request
from es_rerank.proxy.wire.failure import TimedOutError, UpstreamError
from es_rerank.proxy.wire.pool import Node, Pool
from es_rerank.proxy.wire.tls import make_context

__all__ = ["Answer", "AnswerTooLargeError", "Reader", "Response", "Upstream", "UpstreamError"]

NOT_FORWARDED = HOP_BY_HOP | {b"host", b"expect", b"content-length"}
UNSAFE = re.compile(rb"[\x00-\x20\x7f-\xff]")
"""What a request's target cannot hold (RFC 9112, 3.2)."""
# Which of a request's headers say who asks.
PRINCIPAL_HEADERS = frozenset({b"authorization", b"es-security-runas-user", b"cookie"})
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
# Idempotent by its method, and yet not: a scroll moves on, a bulk may create without ids.
MOVING = re.compile(rb"(?:/_search/scroll(?:/[^?]*)?|/_bulk)(?:$|\?)")
# Reads that are sent with POST for their body's sake.
READING = re.compile(
    rb"(?:/[^/?]+)?/(?:_m?search(?:/template)?|_count|_mget|_field_caps|_validate/query|"
    rb"_explain/[^/?]+|_render/template(?:/[^/?]+)?|_search_shards|_rank_eval|_m?termvectors)"
    rb"/?(?:$|\?)"
)
QUEUED_BYTES = 262_144
"""Bytes of an answer that wait for its reader before the cluster is made to wait."""
CHECK_BYTES = 65_536


@dataclass(frozen=True)
class Answer:
    """A whole answer of the cluster."""

    status: int
    headers: list[Header]
    body: bytes


class AnswerTooLargeError(Exception):
    """The answer is larger than the proxy is willing to hold."""


class Upstream:
    """The cluster's addresses and the connections to it.

    Raises ConfigError for an address that is none, and certificates that cannot be read.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._nodes, self._user, self._password = [], None, None
        for url in settings.urls or (settings.url,):
            node, user, password = read_address(url)
            self._nodes.append(node)
            if user is not None:
                self._user, self._password = user, password
        secure = [node for node in self._nodes if node.url.startswith("https:")]
        context = make_context(settings) if secure else None
        for node in secure:
            node.tls = context
        # Shown in errors and on pages: credentials in an address are ours alone.
        self.url = ", ".join(node.url for node in self._nodes)
        self.product: list[Header] = []
        self._pool: Pool | None = None

    async def open(self) -> None:
        """Open the pool."""
        self._pool = Pool(self._nodes, self._settings, self._check)

    async def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            await self._pool.close()

    def stream(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | AsyncIterator[bytes] | None,
        repeatable: bool | None = None,
    ) -> Response:
        """Ask the cluster: `async with` gives the answer's head, its body is still to be read.

        target: raw path and query, sent byte for byte. headers: sent as they are but for the
        hop-by-hop ones. repeatable: whether the request may be sent again after a failure, by
        default what `may_repeat` says. Raises UpstreamError.
        """
        span = tracing.CallSpan(method, headers)
        return Response(self, self._write(method, target, span.headers, body, repeatable), span)

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | None,
        max_bytes: int,
        repeatable: bool | None = None,
    ) -> Answer:
        """Ask the cluster and read the whole answer, at most `max_bytes`.

        Raises AnswerTooLargeError or UpstreamError.
        """
        span = tracing.CallSpan(method, headers)
        request = self._write(method, target, span.headers, body, repeatable)
        try:
            answer = await self._collect(request, max_bytes)
            span.tell(answer.status)
            return answer
        except BaseException as error:
            span.end(error)
            raise
        finally:
            span.end()

    def send(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | AsyncIterator[bytes] | None,
        reader: Reader,
        repeatable: bool | None = None,
    ) -> Exchange:
        """Ask the cluster and let `reader` have the answer by callbacks, without a task.

        The exchange returned can be paused, resumed and cancelled.
        """
        request = self._write(method, target, headers, body, repeatable)
        return self._begin(request, reader, held=False)

    def begin(self, request: Request, reader: Reader) -> Exchange:
        """As `send`, with a request that is written already."""
        return self._begin(request, reader, held=False)

    def own_credentials(self) -> list[Header]:
        """The Authorization header of the proxy's own calls, empty when none are set."""
        if self._settings.api_key is not None:
            value = f"ApiKey {self._settings.api_key.get_secret_value()}"
        elif self._settings.username and self._settings.password is not None:
            pair = f"{self._settings.username}:{self._settings.password.get_secret_value()}"
            value = f"Basic {b64encode(pair.encode()).decode()}"
        elif self._user is not None:
            pair = f"{self._user}:{self._password or ''}"
            value = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            return []
        return [(b"authorization", value.encode())]

    def _write(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | AsyncIterator[bytes] | None,
        repeatable: bool | None,
    ) -> Request:
        if UNSAFE.search(target):
            raise ValueError(f"the target {target!r} is not percent-encoded")
        if repeatable is None:
            repeatable = may_repeat(method, target)
        lines, chunked = write_lines(list(headers), body)
        return Request(method.encode(), target, lines, body or b"", chunked, repeatable)

    async def _collect(self, request: Request, max_bytes: int, only: Node | None = None) -> Answer:
        collector = Collector(self, max_bytes)
        exchange = self._begin(request, collector, held=True, only=only)
        try:
            return await collector.answer
        finally:
            exchange.cancel()

    async def _check(self, node: Node) -> int:
        """Ask one node for a sign of life: its status. Raises UpstreamError."""
        request = self._write("GET", b"/", self.own_credentials(), None, False)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                return (await self._collect(request, CHECK_BYTES, node)).status
        except TimeoutError:
            raise TimedOutError(f"{node.url} does not answer in time") from None
        except AnswerTooLargeError:
            return 200

    def _begin(
        self, request: Request, reader: Reader, *, held: bool, only: Node | None = None
    ) -> Exchange:
        if self._pool is None:
            raise RuntimeError("the upstream is not open")
        exchange = Exchange(self._pool, request, reader, held=held, only=only)
        exchange.begin()
        return exchange

    def note_product(self, headers: list[Header]) -> None:
        """Learn from an answer whether the cluster names its product."""
        if not self.product:
            self.product = [
                (b"x-elastic-product", v) for k, v in headers if k.lower() == b"x-elastic-product"
            ]


class Response:
    """An answer that is being read: `async with` waits for its head and closes what is left."""

    status: int
    headers: list[Header]

    def __init__(self, upstream: Upstream, request: Request, span: tracing.CallSpan) -> None:
        self._span = span
        self._upstream = upstream
        self._request = request
        self._exchange: Exchange
        self._parts: deque[bytes] = deque()
        self._queued = 0
        self._paused = self._done = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Response:
        self._exchange = self._upstream._begin(self._request, self, held=False)
        try:
            await self._waiter
        except BaseException as error:
            self._span.end(error)
            self._exchange.cancel()
            raise
        if self._error is not None and not hasattr(self, "status"):
            self._span.end(self._error)
            raise self._error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._span.end(error)
        self._exchange.cancel()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come. Raises UpstreamError when they break off."""
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._queued -= len(part)
                if self._paused and self._queued < QUEUED_BYTES // 2:
                    self._paused = False
                    self._exchange.resume()
                yield part
            if self._error is not None:
                raise self._error
            if self._done:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def on_head(self, status: int, headers: list[Header]) -> None:
        self.status, self.headers = status, headers
        self._span.tell(status)
        self._upstream.note_product(headers)
        self._wake()

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._queued += len(data)
        if self._queued > QUEUED_BYTES and not self._paused:
            self._paused = True
            self._exchange.pause()
        self._wake()

    def on_end(self) -> None:
        self._done = True
        self._wake()

    def on_error(self, error: Exception) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if not self._waiter.done():
            self._waiter.set_result(None)


class Collector:
    """Reads a whole answer."""

    def __init__(self, upstream: Upstream, max_bytes: int) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._upstream = upstream
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._status = self._size = 0
        self._headers: list[Header] = []

    def on_head(self, status: int, headers: list[Header]) -> None:
        self._status, self._headers, self._parts, self._size = status, headers, [], 0
        self._upstream.note_product(headers)

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max_bytes:
            self.on_error(AnswerTooLargeError())

    def on_end(self) -> None:
        if not self.answer.done():
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self.answer.set_result(Answer(self._status, self._headers, body))

    def on_error(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def may_repeat(method: str, target: bytes) -> bool:
    """Whether sending a request twice does no more than sending it once (RFC 9110, 9.2.2)."""
    if method == "POST":
        return READING.match(target) is not None
    return method in IDEMPOTENT and MOVING.search(target) is None


def write_lines(
    headers: list[Header], body: bytes | AsyncIterator[bytes] | None
) -> tuple[bytes, bool]:
    """The header lines of a request but for Host, with the empty one; and whether it is chunked."""
    parts: list[bytes] = []
    length, named = None, False
    for name, value in headers:
        low = name.lower()
        if low not in NOT_FORWARDED:
            parts += (name, b": ", value, b"\r\n")
        elif low == b"content-length":
            length = value
        elif low == b"connection":
            named = True
    if named and (own := named_by_connection(headers) - NOT_FORWARDED):
        return write_lines([h for h in headers if h[0].lower() not in own | {b"connection"}], body)
    chunked = not isinstance(body, bytes) and body is not None and length is None
    if isinstance(body, bytes):
        parts += (b"Content-Length", b": ", b"%d" % len(body), b"\r\n")
    elif chunked:
        parts += (b"Transfer-Encoding", b": ", b"chunked", b"\r\n")
    elif length is not None:
        parts += (b"Content-Length", b": ", b"0" if body is None else length, b"\r\n")
    written = b"".join(parts)
    if not written.count(b"\n") == written.count(b"\r") == len(parts) // 4:
        raise ValueError("a header holds a line break")
    return written + b"\r\n", chunked


def named_by_connection(headers: Iterable[Header]) -> set[bytes]:
    """The headers that `Connection` names as its own."""
    return {
        name.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for name in value.split(b",")
    }


def principal(headers: Iterable[Header]) -> tuple[Header, ...]:
    """The headers that say who asks."""
    return tuple((k.lower(), v) for k, v in headers if k.lower() in PRINCIPAL_HEADERS)


def read_address(url: str) -> tuple[Node, str | None, str | None]:
    """A node by its address, and user and password in that. Raises ConfigError."""
    parts = urlsplit(url)
    try:
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError):
        port, host = None, ""
    if parts.scheme not in {"http", "https"} or not host:
        shown = re.sub(r"//[^/]*@", "//***@", url)
        raise ConfigError(
            f"upstream.url {shown!r} is no address: give one such as http://localhost:9200"
        )
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority += f":{port}"
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    node = Node(
        url=f"{parts.scheme}://{authority}{path}",
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        authority=authority.encode(),
        prefix=path.encode(),
    )
    user = unquote(parts.username) if parts.username is not None else None
    return node, user, unquote(parts.password or "") if user is not None else None
