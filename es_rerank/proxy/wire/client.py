"""One connection to one node: a request's bytes out, an answer's bytes in, by callbacks alone.

Framing follows RFC 9112, section 6.3, in llhttp's strict reading: a length, chunks, or until the
connection closes; no body for HEAD, 1xx, 204 and 304. What breaks the rules is an error and never
passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from es_rerank.proxy.answer import Header
from es_rerank.proxy.wire.failure import (
    BrokenAnswerError,
    TimedOutError,
    UnreachableError,
    UpstreamError,
)
from es_rerank.proxy.wire.tls import explain_end

# RFC 9110, 7.6.1: these belong to one connection and are not passed on.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"}
    | {b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection"}
)
HEAD_BYTES = 65_536
"""The most that an answer's head, with the interim (1xx) ones before it, may take."""


TLS_ALERT = b"\x15\x03"
LONG_HEAD = f"its head is above {HEAD_BYTES} bytes"


class Reader(Protocol):
    """Who takes an answer. All calls come on the event loop; none follows on_end or on_error."""

    def on_head(self, status: int, headers: list[Header]) -> None:
        """The status and the headers, without those of the connection."""

    def on_body(self, data: bytes) -> None:
        """Bytes of the body as they come, free of chunks, their content coding untouched."""

    def on_end(self) -> None:
        """The answer is whole."""

    def on_error(self, error: Exception) -> None:
        """The answer never comes whole: an UpstreamError, or what the request's body raised."""


class Connection(asyncio.Protocol):
    """A connection that is kept alive; it carries one exchange at a time.

    `name` is the node's address in messages. `on_free` is called when an exchange has left the
    connection fit for another, `on_lost` once when it is closed.
    """

    def __init__(
        self,
        name: str,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.name = name
        self.reused = False
        self.idle_since = 0.0
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._reader: Reader | None = None
        self._parts: list[bytes] = []
        self._headers: list[Header] = []
        self._head = self._heard = self._ended = self._keep = False
        self._bodiless = self._until_close = self._sent = False
        self._foul: str | None = None
        self._status = self._head_bytes = 0
        self._told = self._paused = self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._first_s = self._next_s = 0.0
        self._drained: asyncio.Future[None] | None = None

    # The request.

    def start(
        self, request: bytes, reader: Reader, bodiless: bool, first_s: float, next_s: float
    ) -> None:
        """Begin an exchange with the request's head and what there is of its body.

        bodiless: the answer has none whatever its head says (HEAD). first_s: seconds until the
        answer's first byte, from when the request is sent; next_s: between its bytes.
        """
        self._reader = reader
        self._bodiless = bodiless
        self._first_s, self._next_s = first_s, next_s
        self._head = self._told = self._heard = self._ended = self._keep = self._sent = False
        self._until_close = False
        self._head_bytes = 0
        self._headers = []
        self._transport.write(request)

    def write(self, data: bytes) -> None:
        """Send more of the request's body."""
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until more may be written. Ends as well when the connection does."""
        if self._drained is not None:
            await self._drained

    def end_request(self) -> None:
        """The request is sent: the time to the first byte runs."""
        self._sent = True
        if not self._heard:
            self._expect(self._first_s)

    def stop_request(self) -> None:
        """The rest of the request is not sent; the connection is of no use after the answer."""
        self._sent, self._keep = True, False
        self._expect(self._next_s)

    @property
    def usable(self) -> bool:
        """Whether a request can be written."""
        return not self._closed and not self._transport.is_closing()

    def pause(self) -> None:
        """Read no more until resume: the answer's reader has enough. Its clock stands still."""
        if not self._closed and not self._ended and not self._paused:
            self._paused = True
            self._deadline = None
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._closed and self._paused:
            self._paused = False
            self._transport.resume_reading()
            if self._sent and not self._ended:
                self._expect(self._next_s if self._heard else self._first_s)

    def close(self) -> None:
        """Close at once, whatever is under way; a reader hears no more of it."""
        self._reader = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed:
            self._transport.abort()

    def break_off(self, error: UpstreamError) -> None:
        """Close at once, and tell the reader."""
        self._fail(error)

    # The answer: asyncio's callbacks, then the parser's.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._ended:
            self.close()  # nobody asked: what comes here would be taken for the next answer
            return
        self._heard = True
        if not self._head:
            self._head_bytes += len(data)
        elif self._sent:
            self._deadline = self._loop.time() + self._next_s
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if data.startswith(TLS_ALERT) and not self._head:
                self._foul = "it speaks TLS; write https:// in upstream.url"
            elif not self._ended:
                self._foul = self._foul or str(error) or type(error).__name__
            self._keep = False
        if not self._head and self._foul is None and self._head_bytes > HEAD_BYTES:
            self._foul = LONG_HEAD
        self._pass_on()

    def eof_received(self) -> None:
        return None  # the transport closes, and connection_lost says the rest

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        reader = self._reader
        if reader is not None:
            if self._until_close and error is None:
                self._ended = True
                self._reader = None
                reader.on_end()
            elif self._heard:
                self._fail(BrokenAnswerError(f"{self.name} broke off in the middle of its answer"))
            else:
                why = explain_end(self.name, error)
                what = f"closed the connection and did not answer{why}"
                self._fail(UnreachableError(f"{self.name} {what}"))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()
        self._expect(self._first_s)

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        if not self._sent:
            self._deadline = None

    def on_message_begin(self) -> None:
        if self._ended:
            self._keep = False  # more than was promised: the rest is not another answer

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head:  # later ones are trailers
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._head:
            return
        parser = self._parser
        status = parser.get_status_code()
        if parser.get_http_version() not in {"1.1", "1.0"} or not 100 <= status <= 999:
            self._foul = "it is no HTTP/1.1"
        elif status == 101:
            self._foul = "it switches protocols, which nobody asked for"
        if self._foul is not None:
            raise ValueError(self._foul)
        if status < 200:
            self._headers = []
            return
        self._keep = parser.should_keep_alive()
        kept, named, framed = [], set[bytes](), self._bodiless or status in {204, 304}
        for header in self._headers:
            name = header[0].lower()
            if name not in HOP_BY_HOP:
                kept.append(header)
                framed |= name == b"content-length"
            elif name == b"transfer-encoding":
                if header[1].strip().lower() != b"chunked":
                    self._foul = "its transfer coding was not asked for"
                    raise ValueError(self._foul)
                framed = True
            elif name == b"connection":
                named = {part.strip().lower() for part in header[1].split(b",")}
        if named:
            kept = [header for header in kept if header[0].lower() not in named]
        self._until_close = not framed
        if self._head_bytes > HEAD_BYTES and sum(map(size, self._headers)) > HEAD_BYTES:
            self._foul = LONG_HEAD
            raise ValueError(self._foul)
        self._headers, self._status, self._head = kept, status, True
        self._ended = self._bodiless

    def on_body(self, data: bytes) -> None:
        if not self._ended:
            self._parts.append(data)
        elif data:
            self._keep = False

    def on_message_complete(self) -> None:
        self._ended |= self._head

    def _pass_on(self) -> None:
        """Tell the reader what the last bytes brought. It may close the connection at each call."""
        if self._head and not self._told:
            self._told = True
            if self._sent:
                self._expect(self._next_s)
            if self._reader is not None:
                self._reader.on_head(self._status, self._headers)
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = []
            if self._reader is not None:
                self._reader.on_body(data)
        if self._foul is not None:
            self._fail(BrokenAnswerError(f"{self.name} sent a broken answer: {self._foul}"))
        elif self._ended:
            self._finish()

    def _finish(self) -> None:
        """The answer is whole: free the connection for another exchange, or close it."""
        reader = self._reader
        if reader is None:
            return
        self._reader = None
        self._deadline = None
        if self._bodiless:
            self._parser = httptools.HttpResponseParser(self)
        if self._keep and self._sent and self.usable:
            self.resume()
            self.reused = True
            self._on_free(self)
        else:
            self.close()
        reader.on_end()

    def _fail(self, error: UpstreamError) -> None:
        reader = self._reader
        self.close()
        if reader is not None:
            reader.on_error(error)

    def _expect(self, within_s: float) -> None:
        """Let the exchange fail when nothing happens within so many seconds.

        One timer serves many exchanges: it looks at the deadline when it rings.
        """
        self._deadline = deadline = self._loop.time() + within_s
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline - 0.001:
            self._timer = self._loop.call_at(self._deadline, self._ring)
        elif self._head:
            what = f"was silent for {self._next_s:g} s in the middle of its answer"
            self._fail(TimedOutError(f"{self.name} {what}"))
        else:
            self._fail(TimedOutError(f"{self.name} did not answer within {self._first_s:g} s"))


def size(header: Header) -> int:
    """Bytes that a header takes in a head."""
    return len(header[0]) + len(header[1]) + 4
