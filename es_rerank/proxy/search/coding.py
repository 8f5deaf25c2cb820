"""Request bodies that come compressed."""

from __future__ import annotations

import zlib
from io import BytesIO

import zstandard

ZSTD_WINDOW = 8 * 1024 * 1024
"""The largest window that a zstd body may need (RFC 9659)."""


class BodyError(Exception):
    """The body cannot be read here: the cluster shall judge it."""


def decompress(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Decompress a body of that `Content-Encoding`, at most `max_bytes`.

    Raises BodyError when it is broken, larger, or of a coding that is not known here.
    """
    if encoding == b"zstd":
        return unzstd(body, max_bytes)
    if encoding != b"gzip":
        raise BodyError("encoding")
    return gunzip(body, max_bytes)


def unzstd(body: bytes, max_bytes: int) -> bytes:
    """Decompress zstd, at most `max_bytes`. Raises BodyError when it is broken or larger."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    try:
        plain = unpacker.stream_reader(BytesIO(body)).read(max_bytes + 1)
        if len(plain) > max_bytes:
            raise BodyError("body-too-large")
        frame = unpacker.decompressobj()  # tells whether the frame has ended, and what follows it
        frame.decompress(body)
    except zstandard.ZstdError:
        raise BodyError("encoding") from None
    if not frame.eof or frame.unused_data:
        raise BodyError("encoding")
    return plain


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress, at most `max_bytes`. Raises BodyError when it is broken or larger."""
    try:
        stream = zlib.decompressobj(wbits=31)
        plain = stream.decompress(body, max_bytes)
    except zlib.error:
        raise BodyError("encoding") from None
    if not stream.eof:
        raise BodyError("body-too-large")
    if stream.unused_data:
        raise BodyError("encoding")
    return plain
