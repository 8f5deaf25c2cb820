"""A request's body, cut out of what comes on a connection (RFC 9112, 6 and 7)."""

from __future__ import annotations

import re

from es_rerank.proxy.wire.head import CONTROLS, TOKEN, RefusedError

# No white space around the size, no bare line break in an extension: readers differ on both.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
CHUNK_LINE_BYTES = 512
TRAILER_BYTES = 16_384


class LengthBody:
    """A body whose length was told."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.whole = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes in. Returns those of the body, and those after its end."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self.whole = True
        if len(data) == left:
            return data, b""
        return data[:left], data[left:]


class ChunkedBody:
    """A body in chunks. Extensions and trailers are checked and dropped."""

    def __init__(self) -> None:
        self.whole = False
        self._held = b""  # of a line that is not whole yet
        self._left = 0
        self._closing = False  # the line break after a chunk is to come
        self._trailer = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes in. Returns those of the body, and those after its end.

        Raises RefusedError.
        """
        if self._held:
            data, self._held = self._held + data, b""
        parts: list[bytes] = []
        at, end = 0, len(data)
        while not self.whole:
            if self._left:
                piece = data[at : at + self._left]
                parts.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._closing = True
            if self._closing:
                if not b"\r\n".startswith(data[at : at + 2]):
                    raise RefusedError(400, "a chunk is longer than its size says")
                if end - at < 2:
                    self._held = data[at:]
                    break
                at += 2
                self._closing = False
            stop = data.find(b"\r\n", at)
            if stop < 0:
                self._held = data[at:]
                self._check_begun(self._held)
                break
            self._take_line(data[at:stop])
            at = stop + 2
        return parts[0] if len(parts) == 1 else b"".join(parts), data[at:] if self.whole else b""

    def _take_line(self, line: bytes) -> None:
        if not self._trailer:
            size = CHUNK_LINE.fullmatch(line)
            if size is None or len(line) > CHUNK_LINE_BYTES:
                raise RefusedError(400, "a chunk's size is no hexadecimal number")
            self._left = int(size[1], 16)
            self._trailer = self._left == 0
            return
        if not line:
            self.whole = True
            return
        self._trailer_bytes += len(line)
        name, colon, _ = line.partition(b":")
        if not colon or TOKEN.fullmatch(name) is None or line.translate(None, CONTROLS) != line:
            raise RefusedError(400, "a trailer line is not a name, a colon at once, and a value")
        if self._trailer_bytes > TRAILER_BYTES:
            raise RefusedError(431, f"the trailers are above {TRAILER_BYTES} bytes")

    def _check_begun(self, begun: bytes) -> None:
        most = TRAILER_BYTES if self._trailer else CHUNK_LINE_BYTES
        if b"\n" in begun or len(begun) > most:
            raise RefusedError(400, "a chunk's size or a trailer is no line")
