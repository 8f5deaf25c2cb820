"""Request bodies that come compressed."""

from __future__ import annotations

import zlib


class BodyError(Exception):
    """The body cannot be read here: the cluster shall judge it."""


def decompress(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Decompress a body of that `Content-Encoding`, at most `max_bytes`.

    Raises BodyError when it is broken, larger, or of a coding that is not known here.
    """
    if encoding != b"gzip":
        raise BodyError("encoding")
    return gunzip(body, max_bytes)


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
