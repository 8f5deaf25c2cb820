"""Answers of the proxy's own making."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from es_rerank.proxy.answer import compress, find_header, shape_error

LONG = b'{"a":"' + b"x" * 2000 + b'"}'


@pytest.mark.parametrize("accept", [b"gzip", b"deflate, gzip;q=0.5", b"GZIP", b"br,gzip"])
def test_gzip_for_who_takes_it(accept: bytes) -> None:
    body, headers = compress(LONG, accept)
    assert gzip.decompress(body) == LONG
    assert headers == [(b"content-encoding", b"gzip")]


@pytest.mark.parametrize("accept", [b"", b"identity", b"br", b"gzip;q=0", b"gzip; q=0", b"xgzip"])
def test_plain_for_who_does_not(accept: bytes) -> None:
    assert compress(LONG, accept) == (LONG, [])


@pytest.mark.parametrize("accept", [b"zstd", b"gzip, zstd", b"gzip, deflate, br, zstd;q=1.0"])
def test_zstd_for_who_takes_it(accept: bytes) -> None:
    body, headers = compress(LONG, accept)
    assert zstandard.decompress(body) == LONG
    assert headers == [(b"content-encoding", b"zstd")]


@pytest.mark.parametrize("accept", [b"gzip, zstd;q=0.5", b"gzip;q=0.2, zstd;q=0", b"zstd;q=x,gzip"])
def test_what_is_liked_more_wins(accept: bytes) -> None:
    assert compress(LONG, accept)[1] == [(b"content-encoding", b"gzip")]


def test_short_bodies_stay_plain() -> None:
    assert compress(b"{}", b"gzip") == (b"{}", [])


def test_error_shape() -> None:
    cause = {"type": "t", "reason": "r"}
    assert shape_error(400, "t", "r") == {"error": {"root_cause": [cause], **cause}, "status": 400}


def test_headers_are_found_whatever_their_case() -> None:
    assert find_header([(b"Accept", b"a"), (b"accept", b"b")], b"accept") == b"a"
    assert find_header([], b"accept") == b""
