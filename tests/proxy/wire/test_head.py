"""Heads: what is refused and why, and what passes unharmed (RFC 9112)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.wire.head import KINDS, TOKEN, Head, RefusedError, check_beginning, read_head
from es_rerank.proxy.wire.limits import Limits

LIMITS = Limits()
LINE = b"GET /x HTTP/1.1\r\n"


def read(raw: bytes, limits: Limits = LIMITS) -> Head:
    return read_head(raw, limits)


def refused(raw: bytes, limits: Limits = LIMITS) -> int:
    with pytest.raises(RefusedError) as caught:
        read_head(raw, limits)
    return caught.value.status


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: p\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Host: p\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
        b"Host: p\r\nContent-Length: 4\r\nContent-Length: 4\r\n",
        b"Host: p\r\nContent-Length: 4, 4\r\n",
        b"Host: p\r\nContent-Length: +4\r\n",
        b"Host: p\r\nContent-Length: -4\r\n",
        b"Host: p\r\nContent-Length: 0x4\r\n",
        b"Host: p\r\nContent-Length: 1 2\r\n",
        b"Host: p\r\nContent-Length: 4_0\r\n",
        b"Host: p\r\nContent-Length: \xc2\xb2\r\n",
        b"Host: p\r\nContent-Length:\r\n",
        b"Host: p\r\nContent-Length: 1000000000000000000000\r\n",
        b"Host: p\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"Host: p\r\nTransfer-Encoding: chunked, chunked\r\n",
        b"Host: p\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Host: p\r\nTransfer-Encoding: identity\r\n",
        b"Host: p\r\nTransfer-Encoding: xchunked\r\n",
        b'Host: p\r\nTransfer-Encoding: "chunked"\r\n',
        b"Host: p\r\nTransfer-Encoding: \x0bchunked\r\n",
        b"Host: p\r\nX-A: 1\r\n folded\r\n",
        b"Host: p\r\nX-A: 1\r\n\tfolded\r\n",
        b"Host: p\r\nX-A: a\rb\r\n",
        b"Host: p\r\nX-A: a\nX-B: b\r\n",
        b"Host: p\r\nX-A: a\0b\r\n",
        b"Host: p\r\nX-A: a\x7f\r\n",
        b"Host: p\r\nX-A : 1\r\n",
        b"Host: p\r\nX-A\t: 1\r\n",
        b"Host : p\r\n",
        b" Host: p\r\n",
        b"Host: p\r\nX-A\r\n",
        b"Host: p\r\n: 1\r\n",
        b"Host: p\r\nX(A): 1\r\n",
        b"Host: p\r\nX-\xc3\xa9: 1\r\n",
        b"X-A: 1\r\n",
        b"",
        b"Host: p\r\nHost: p\r\n",
        b"Host: p\r\nhost: q\r\n",
        b"Host: p/q\r\n",
        b"Host: p q\r\n",
        b"Host: a@b\r\n",
    ],
)
def test_what_readers_could_disagree_about_is_refused(lines: bytes) -> None:
    assert refused(LINE + lines + b"\r\n") == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  /x HTTP/1.1", 400),
        (b"GET /x  HTTP/1.1", 400),
        (b" GET /x HTTP/1.1", 400),
        (b"GET\t/x HTTP/1.1", 400),
        (b"GET /x HTTP/1.1 ", 400),
        (b"GET /x", 400),
        (b"GET /x http/1.1", 400),
        (b"GET /x HTTP/11", 400),
        (b"GET /x HTTP/1.1\t", 400),
        (b"GET /x HTTP/2.0", 505),
        (b"GET /x HTTP/0.9", 505),
        (b"GET /x HTTP/1.2", 505),
        (b"G(T /x HTTP/1.1", 400),
        (b"GET /caf\xc3\xa9 HTTP/1.1", 400),
        (b"GET /x#y HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET p:80 HTTP/1.1", 400),
        (b"GET ftp://p/x HTTP/1.1", 400),
        (b"GET http:///x HTTP/1.1", 400),
        (b"GET http://a@b/x HTTP/1.1", 400),
        (b"GET http:/x HTTP/1.1", 400),
        (b"CONNECT p:80 HTTP/1.1", 501),
        (b"GET /" + b"x" * 16_384 + b" HTTP/1.1", 414),
    ],
)
def test_request_lines_that_are_refused(line: bytes, status: int) -> None:
    assert refused(line + b"\r\nHost: p\r\n\r\n") == status


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET http://p/x?y=1", b"/x?y=1"),
        (b"GET HTTPS://p:80/x", b"/x"),
        (b"GET http://p", b"/"),
        (b"GET http://p?y", b"/?y"),
        (b"OPTIONS http://p", b"*"),
        (b"OPTIONS *", b"*"),
        (b'GET /<logs-{now/d}>/_doc/a|b"c^`?', b'/<logs-{now/d}>/_doc/a|b"c^`?'),
        (b"GET //a//b", b"//a//b"),
        (b"PURGE /x", b"/x"),
    ],
)
def test_targets_in_their_forms(line: bytes, target: bytes) -> None:
    assert read(line + b" HTTP/1.1\r\nHost: q\r\n\r\n").target == target


def test_values_keep_their_bytes_and_lines_pass_as_they_are() -> None:
    raw = (
        LINE + b"hOsT: p\r\nX-Opaque-Id:\tcaf\xc3\xa9 \r\nConnection: X-Mine, keep-alive\r\n"
        b"x-mine: 1\r\nContent-Length: 3\r\nEmpty:\r\nX-Two: a\r\nX-Two: b\r\nTE: trailers\r\n\r\n"
    )
    head = read(raw)
    assert head.headers[1] == (b"x-opaque-id", b"caf\xc3\xa9")
    assert head.headers[5] == (b"empty", b"")
    passed = b"X-Opaque-Id:\tcaf\xc3\xa9 \r\nEmpty:\r\nX-Two: a\r\nX-Two: b\r\n"
    assert (head.passed, head.length, head.chunked) == (passed, 3, False)
    assert head.keep_alive


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_which_connections_are_kept(version: bytes, connection: bytes, kept: bool) -> None:
    assert (
        read(b"GET / HTTP/" + version + b"\r\nHost: p\r\n" + connection + b"\r\n").keep_alive
        is kept
    )


def test_old_clients() -> None:
    assert read(b"GET / HTTP/1.0\r\n\r\n").minor == 0
    assert refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400
    expecting = b"Host: p\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
    assert read(b"POST / HTTP/1.1\r\n" + expecting).expects
    assert not read(b"POST / HTTP/1.0\r\n" + expecting).expects
    assert refused(LINE + b"Host: p\r\nExpect: 200-ok\r\n\r\n") == 417


def test_too_many_headers() -> None:
    assert refused(LINE + b"Host: p\r\n" + b"X: 1\r\n" * 256 + b"\r\n") == 431
    assert len(read(LINE + b"Host: p\r\n" + b"X: 1\r\n" * 255 + b"\r\n").headers) == 256


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"G(T", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\nHost: p\n\n", 400),
        (b"GET / HTTP/3.0\r\nHost", 505),
        (b"GET /" + b"x" * 17_000, 414),
        (b"G" * 17_000, 400),
        (LINE + b"X: " + b"x" * 66_000, 431),
    ],
)
def test_hopeless_beginnings_are_refused_at_once(begun: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        check_beginning(begun, LIMITS)
    assert caught.value.status == status


NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,20}\Z").map(str.encode)
VALUES = st.binary(max_size=40).map(
    lambda v: bytes(c for c in v if c >= 0x20 and c != 0x7F).strip(b" \t")
)
HEADS = st.builds(
    lambda pairs: LINE + b"Host: p\r\n" + b"".join(b"%b: %b\r\n" % p for p in pairs) + b"\r\n",
    st.lists(st.tuples(NAMES.filter(lambda n: n.lower() not in KINDS), VALUES), max_size=8),
)


@given(HEADS)
def test_no_beginning_of_a_good_head_is_refused(raw: bytes) -> None:
    head = read(raw)
    assert head.passed == raw[len(LINE) + len(b"Host: p\r\n") : -2]
    for stop in range(len(raw)):
        check_beginning(raw[:stop], LIMITS)


@given(
    st.lists(
        st.sampled_from(
            [
                b"GET",
                b" ",
                b"/",
                b"\r\n",
                b"\n",
                b"\r",
                b":",
                b"a",
                b"\0",
                b"HTTP/1.1",
                b"Host",
                b"Content-Length",
                b"Transfer-Encoding",
                b"chunked",
                b"1",
                b"\t",
                b",",
            ]
        )
    )
)
def test_what_is_read_holds_no_line_break(parts: list[bytes]) -> None:
    """Whatever is let through cannot be read as more lines than it has."""
    raw = LINE + b"Host: p\r\n" + b"".join(parts).replace(b"\r\n\r\n", b"\r\n") + b"\r\n\r\n"
    try:
        head = read(raw)
    except RefusedError:
        return
    for name, value in head.headers:
        assert TOKEN.fullmatch(name)
        assert not {b"\r", b"\n", b"\0"} & {value[i : i + 1] for i in range(len(value))}
    lines = head.passed.split(b"\r\n")
    assert lines[-1] == b""
    assert all(line and b"\n" not in line and b"\r" not in line for line in lines[:-1])
    assert len([n for n, _ in head.headers if n == b"content-length"]) <= 1
    assert not (head.chunked and head.length is not None)
