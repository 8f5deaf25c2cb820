"""A client's connection: requests in, one after the other, and their answers out in that order."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol

from es_rerank import telemetry
from es_rerank.proxy.answer import Header, shape_error
from es_rerank.proxy.wire.body import ChunkedBody, LengthBody
from es_rerank.proxy.wire.certificates import describe_peer
from es_rerank.proxy.wire.head import Head, RefusedError, check_beginning, read_head
from es_rerank.proxy.wire.limits import BODY_RATE, HELD_BYTES, LINGER_S, Limits

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
BODILESS = frozenset({204, 304})
OWN_FIELDS = frozenset({b"connection", b"keep-alive", b"transfer-encoding"})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED, UNTIL_CLOSE = -1, -2  # instead of the bytes left of an answer

log = telemetry.get_logger()


class Taker(Protocol):
    """Who answers one request. All calls come on the event loop."""

    def on_request_body(self, data: bytes) -> None:
        """Bytes of the request's body."""

    def on_request_end(self) -> None:
        """The request is whole."""

    def on_gone(self) -> None:
        """The client has gone, or its request broke off: no answer can be given."""

    def on_pause(self) -> None:
        """The client does not keep up: write no more until on_resume."""

    def on_resume(self) -> None:
        """Write again."""


class House(Protocol):
    """What a connection needs of its server."""

    limits: Limits

    def admit(self, connection: Connection) -> None:
        """A connection is open."""

    def dismiss(self, connection: Connection) -> None:
        """A connection is closed."""

    def take(self, connection: Connection, head: Head) -> Taker:
        """Find who answers a request. It must not answer before this returns."""


class Connection(asyncio.Protocol):
    """One connection. It reads a request, hands it to its taker, and writes what that answers."""

    __slots__ = (
        "_answering",
        "_body",
        "_buffer",
        "_deadline",
        "_head",
        "_house",
        "_keep",
        "_left",
        "_limits",
        "_lingering",
        "_loop",
        "_proceeding",
        "_reading",
        "_taker",
        "_unsent",
        "_unwritten",
        "_waiting",
        "bodiless",
        "identity",
        "transport",
        "writable",
    )

    transport: asyncio.Transport

    def __init__(self, house: House) -> None:
        self._house = house
        self._limits = house.limits
        self._loop = asyncio.get_running_loop()
        self._buffer = b""  # what came and is not read yet
        self._head: Head | None = None
        self._body: LengthBody | ChunkedBody | None = None  # what of it is still to come
        self._taker: Taker | None = None
        self._answering = False  # the answer's head is written
        self._left = 0
        self._keep = True
        self._lingering = self._proceeding = self._waiting = False
        self._reading = self.writable = True
        self._unsent = 0
        self._unwritten = b""  # an answer's head
        self._deadline = 0.0  # of the loop's clock; 0 is none
        self.bodiless = False
        self.identity: dict[str, object] | None = None

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.identity = describe_peer(transport.get_extra_info("ssl_object"))
        self._expect(self._limits.idle_s)
        self._house.admit(self)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._body is not None:
            self._feed(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._taker is None:
            self._proceed()
        elif len(self._buffer) > HELD_BYTES:
            self.pause()

    def eof_received(self) -> None:
        return None  # the client has gone; the transport closes

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline = 0.0
        self._house.dismiss(self)
        self._drop()

    def pause_writing(self) -> None:
        self.writable = False
        self._unsent = self.transport.get_write_buffer_size()
        self._deadline = self._loop.time() + self._limits.send_s
        if self._taker is not None:
            self._taker.on_pause()

    def resume_writing(self) -> None:
        self.writable = True
        if self._lingering:
            self._expect(LINGER_S)
        elif self._taker is None:
            self._expect(self._limits.idle_s)
        else:
            self._expect(self._limits.body_s if self._body is not None else None)
            self._taker.on_resume()

    def _expect(self, within_s: float | None) -> None:
        """Set the clock anew. While the client does not keep up it runs for the answer alone."""
        if self.writable:
            self._deadline = 0.0 if within_s is None else self._loop.time() + within_s

    # The request.

    def _proceed(self) -> None:
        """Read the requests that are there, each once the one before it is answered."""
        if self._proceeding:
            return
        self._proceeding = True
        try:
            while self._taker is None and self._buffer and not self._lingering:
                if not self._read_request():
                    break
        finally:
            self._proceeding = False
        if not self._reading and self._body is None and len(self._buffer) <= HELD_BYTES:
            self.resume()

    def _read_request(self) -> bool:
        """Read a request's head, and what is there of its body. False while it is not whole."""
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # RFC 9112, 2.2
            buffer = buffer[2:]
        stop = buffer.find(b"\r\n\r\n") + 4
        try:
            if stop < 4 or stop > self._limits.head_bytes:
                check_beginning(buffer if stop < 4 else buffer[:stop], self._limits)
                self._buffer = buffer
                if buffer and not self._waiting:
                    self._waiting = True
                    self._expect(self._limits.head_s)
                return False
            head = read_head(buffer[:stop], self._limits)
        except RefusedError as error:
            self._refuse(error)
            return False
        self._buffer = buffer[stop:]
        self._waiting = False
        self._begin(head)
        return True

    def _begin(self, head: Head) -> None:
        self._head = head
        self._keep &= head.keep_alive
        self._answering = False
        self.bodiless = head.method == b"HEAD"
        self._expect(None)
        if head.chunked:
            self._body = ChunkedBody()
        elif head.length:
            self._body = LengthBody(head.length)
        self._taker = self._house.take(self, head)
        if self._body is None:
            self._taker.on_request_end()
            return
        self._expect(self._limits.body_s)
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._feed(data)
        elif head.expects:
            self.transport.write(CONTINUE)

    def _feed(self, data: bytes) -> None:
        """Take in bytes of a request's body."""
        body, taker = self._body, self._taker
        assert body is not None
        assert taker is not None
        if self.writable:
            now = self._loop.time()
            earned = max(self._deadline, now) + len(data) / BODY_RATE
            self._deadline = min(now + self._limits.body_s, earned)
        try:
            data, self._buffer = body.feed(data)
        except RefusedError as error:
            self._refuse(error)
            return
        if data:
            taker.on_request_body(data)
        if body.whole and self._taker is taker:
            self._body = None
            self._expect(None)
            taker.on_request_end()

    def pause(self) -> None:
        """Read no more of the client until resume."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            if self._body is not None:
                self._expect(None)
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read the client again."""
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            if self._body is not None:
                self._expect(self._limits.body_s)
            self.transport.resume_reading()

    # The answer.

    @property
    def answering(self) -> bool:
        """Whether an answer has been begun, so that another one cannot be."""
        return self._answering

    def start_answer(self, status: int, headers: Iterable[Header]) -> None:
        """Write an answer's head: the headers but for those of the connection, and ours.

        Raises ValueError where a header holds a line break.
        """
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        length: bytes | None = None
        for header in headers:
            name = header[0].lower()
            if name in OWN_FIELDS:
                continue
            if name == b"content-length":
                length = header[1]
            lines.append(b"%b: %b\r\n" % header)
        head = self._head
        assert head is not None
        bodiless = self.bodiless or status in BODILESS
        if self._body is not None:
            self._keep = False  # the rest of the request is in the way of the next one
        if length is not None:
            self._left = 0 if bodiless else int(length)
        elif bodiless:
            self._left = 0
        elif head.minor > 0:
            self._left = CHUNKED
            lines.append(b"Transfer-Encoding: chunked\r\n")
        else:
            self._left = UNTIL_CLOSE
            self._keep = False
        if not self._keep:
            lines.append(b"Connection: close\r\n")
        elif head.minor == 0:
            lines.append(b"Connection: keep-alive\r\n")
        written = b"".join(lines)
        if not written.count(b"\n") == written.count(b"\r") == len(lines):
            raise ValueError("a header of the answer holds a line break")
        self.bodiless = bodiless
        self._answering = True
        self._unwritten = written + b"\r\n"
        self._loop.call_soon(self._write_head)  # unless a body comes at once, and takes it along

    def _write_head(self) -> None:
        head, self._unwritten = self._unwritten, b""
        if head:
            self.transport.write(head)

    def write(self, data: bytes) -> None:
        """Write bytes of an answer's body. Raises ValueError beyond the length that was told."""
        if not data or self.bodiless:
            return
        if self._left >= 0:
            self._left -= len(data)
            if self._left < 0:
                self.cut()
                raise ValueError("the answer is longer than its Content-Length")
        elif self._left == CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._unwritten:
            self.transport.writelines((self._unwritten, data))
            self._unwritten = b""
        else:
            self.transport.write(data)

    def end_answer(self) -> None:
        """The answer is whole. One that is not is cut, never ended as if it were."""
        if self._left > 0:
            self.cut()
            return
        if self._unwritten or self._left == CHUNKED:
            self.transport.write(self._unwritten + (b"0\r\n\r\n" if self._left < 0 else b""))
            self._unwritten = b""
        self._taker = self._head = None
        if not self._keep or self._body is not None:
            self._close()
            return
        self._expect(self._limits.idle_s)
        if self._buffer or not self._reading:
            self._proceed()

    def cut(self) -> None:
        """End the connection amid an answer, so that the client sees that it is not whole."""
        self._write_head()
        if self._left == UNTIL_CLOSE and self._answering:
            reset_on_close(self.transport)
        self._drop()
        self.transport.abort()

    def fail(self, status: int, kind: str, reason: str, headers: Iterable[Header] = ()) -> None:
        """Answer with an error of our own, or cut the answer that was begun."""
        if self._answering:
            self.cut()
            return
        body = json.dumps(shape_error(status, kind, reason), ensure_ascii=False).encode()
        length = (b"Content-Length", b"%d" % len(body))
        self.start_answer(status, [(b"Content-Type", b"application/json"), length, *headers])
        self.write(body)
        self.end_answer()

    def _refuse(self, error: RefusedError) -> None:
        """Answer a request that nobody shall see, or see the rest of; read no other one."""
        telemetry.REFUSED.labels(error.status).inc()
        log.debug("a request was refused", status=error.status, reason=str(error))
        answering = self._answering and self._taker is not None
        self._drop()
        self._keep = False
        self._buffer = b""
        if answering:
            self.cut()
            return
        if self._head is None:
            self._head = Head(b"", b"", 1, (), b"", None, False, False, False)
            self.bodiless = False
        self._body = None
        self._answering = False
        self.fail(error.status, "invalid_http_request", str(error))

    def _drop(self) -> None:
        """Tell who answers that no answer can be given."""
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.on_gone()

    # The end.

    def _close(self) -> None:
        """Close once everything is written, hearing the client out for a while."""
        self._lingering = True
        self._buffer = b""
        self._expect(LINGER_S)
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.resume()

    @property
    def resting(self) -> bool:
        """Whether no request is under way."""
        return self._taker is None and not self._buffer and not self._lingering

    @property
    def finished(self) -> bool:
        """Whether the last answer is on its way, and only the client's end is waited for."""
        return self._lingering and not self.transport.get_write_buffer_size()

    def drain(self) -> None:
        """Take no further request: close at once when resting, after the answer otherwise."""
        self._keep = False
        if self.resting:
            self.transport.close()

    def look_at_clock(self, now: float) -> None:
        """End what has taken too long."""
        if not 0.0 < self._deadline < now:
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:  # slow, but it moves
            self._unsent = unsent
            self._deadline = now + self._limits.send_s
        elif unsent:
            self.cut()
        elif self._lingering:
            self.transport.abort()
        elif self._body is not None:
            self._refuse(RefusedError(408, "the request's body came too slowly"))
        elif self._waiting:
            self._refuse(RefusedError(408, "the request's head came too slowly"))
        else:
            self.transport.close()


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let the end be a reset, where an orderly one would be taken for the end of the answer."""
    bound = transport.get_extra_info("socket")
    if bound is not None:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
