"""The relay, over real sockets: bytes as they are, in both directions, and no false endings."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.wire import (
    RawUpstream,
    Request,
    answer,
    ask,
    dechunk,
    exchange,
    find,
    proxy_settings,
    serve_app,
    upstream,
)

MIB = 1 << 20
BIG = 60 * MIB


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[str, RawUpstream]]:
    """One proxy before one scripted upstream; each test sets the script."""
    with upstream() as raw, serve_app(proxy_settings(raw.url, upstream={"timeout_s": 1.0})) as run:
        yield run[0], raw


@pytest.fixture
def proxy(stand: tuple[str, RawUpstream]) -> str:
    return stand[0]


@pytest.fixture
def cluster(stand: tuple[str, RawUpstream]) -> Iterator[RawUpstream]:
    raw = stand[1]
    raw.script, raw.count_only = None, False
    raw.requests.clear()
    raw.broken.clear()
    yield raw


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"])
def test_every_method_and_its_body_pass(proxy: str, cluster: RawUpstream, method: bytes) -> None:
    status, _, body = ask(proxy, method + b" /idx/_doc/1", body=b'{"a": 1.10}')
    assert (status, body) == (200, b"{}")
    assert cluster.requests[0].line == method + b" /idx/_doc/1 HTTP/1.1"
    assert cluster.requests[0].body == b'{"a": 1.10}'


@pytest.mark.parametrize(
    "target",
    [
        b"/%3Clogs-%7Bnow%2Fd%7D%3E,a*/_doc/x%2Fy%20z+w%3A1?routing=a+b%2Bc&pretty&x=",
        b"//a//b/../c",
        b"/idx/_doc/%E2%82%AC%ff?q=caf%C3%A9&e=%",
        b"/%2e%2e/_cat/indices?h=a,b&s=a:desc;v",
        b"/idx/_doc/a;b=c@d!$'()*~",
        b"/",
        b"/_search/scroll?scroll_id=a==",
        b"/idx/_doc/_search",
        b"/idx/_msearch",
    ],
)
def test_path_and_query_pass_byte_for_byte(proxy: str, cluster: RawUpstream, target: bytes) -> None:
    assert ask(proxy, b"GET " + target)[0] == 200
    assert cluster.requests[0].target == target


def test_headers_pass_but_for_those_of_the_connection(proxy: str, cluster: RawUpstream) -> None:
    passed = {
        b"X-Opaque-Id": b"caf\xc3\xa9 7",
        b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"Authorization": b"ApiKey a2V5",
        b"es-security-runas-user": b"jane",
        b"Accept": b"application/vnd.elasticsearch+json;compatible-with=9",
        b"Content-Type": b"application/vnd.elasticsearch+x-ndjson;compatible-with=9",
        b"Accept-Encoding": b"gzip, br;q=0.1",
        b"User-Agent": b"test/1",
        b"Cookie": b"a=b",
    }
    own = [b"TE: trailers", b"Keep-Alive: 5", b"X-Mine: secret", b"Proxy-Authorization: Basic x"]
    lines = [b"POST /_bulk HTTP/1.1", b"Host: proxy", b"Connection: close, X-Mine"]
    lines += [k + b": " + v for k, v in passed.items()]
    lines += [b"X-Two: 1", b"X-Two: 2", *own, b"Content-Length: 2", b"", b"{}"]
    assert exchange(proxy, b"\r\n".join(lines)).startswith(b"HTTP/1.1 200")
    request = cluster.requests[0]
    for name, value in passed.items():
        assert request.headers(name.decode().lower()) == [value]
    assert request.headers("x-two") == [b"1", b"2"]
    for hop in ("te", "keep-alive", "x-mine", "proxy-authorization", "connection"):
        assert request.headers(hop) == []
    assert request.headers("host") == [cluster.url.removeprefix("http://").encode()]


def test_nothing_is_added_to_a_bare_request(proxy: str, cluster: RawUpstream) -> None:
    ask(proxy, b"GET /_cat/health")
    names = {
        line.partition(b":")[0].lower() for line in cluster.requests[0].head.split(b"\r\n")[1:]
    }
    assert names - {b""} == {b"host"}


def test_answer_headers_and_status_pass(proxy: str, cluster: RawUpstream) -> None:
    def script(_: Request, connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 418 Teapot\r\nX-Elastic-Product: Elasticsearch\r\nWarning: 299 a\r\n"
            b'Warning: 299 b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nETag: "1"\r\n'
            b"X-Name: caf\xc3\xa9\r\n"
            b"content-type: application/vnd.elasticsearch+json;compatible-with=9\r\n"
            b"Location: /elsewhere\r\nSet-Cookie: a=1\r\nContent-Length: 3\r\n\r\nabc"
        )

    cluster.script = script
    status, head, body = ask(proxy, b"GET /x")
    assert (status, body) == (418, b"abc")
    assert find(head, "warning") == ["299 a", "299 b"]
    assert find(head, "x-elastic-product") == ["Elasticsearch"]
    assert find(head, "x-name") == ["café"]
    assert find(head, "content-type") == ["application/vnd.elasticsearch+json;compatible-with=9"]
    assert find(head, "x-hop") == []
    assert find(head, "content-length") == ["3"]
    assert not find(head, "server")
    assert not find(head, "date")


def test_redirects_are_not_followed(proxy: str, cluster: RawUpstream) -> None:
    cluster.script = lambda _, c: answer(c, 302, b"", {"Location": "/other"})
    status, head, _ = ask(proxy, b"GET /x")
    assert (status, find(head, "location"), len(cluster.requests)) == (302, ["/other"], 1)


def test_head_keeps_the_length_and_has_no_body(proxy: str, cluster: RawUpstream) -> None:
    cluster.script = lambda _, c: answer(c, 200, b"", length=1234)
    status, head, body = ask(proxy, b"HEAD /idx")
    assert (status, find(head, "content-length"), body) == (200, ["1234"], b"")


def test_bare_bytes_beyond_ascii_in_a_target_are_refused(proxy: str, cluster: RawUpstream) -> None:
    """RFC 3986 has them percent-encoded; what cannot be passed exactly is not guessed at."""
    assert ask(proxy, "GET /idx/_search?q=café".encode())[0] == 400
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("status", "extra"), [(204, b""), (304, b""), (304, b"Content-Length: 10\r\n")]
)
def test_answers_without_body(proxy: str, cluster: RawUpstream, status: int, extra: bytes) -> None:
    line = f"HTTP/1.1 {status} None\r\nX-Mark: 1\r\n".encode() + extra + b"\r\n"
    cluster.script = lambda _, c: c.sendall(line)
    got, head, body = ask(proxy, b"GET /x")
    assert (got, body, find(head, "x-mark")) == (status, b"", ["1"])
    assert not find(head, "transfer-encoding")


def test_chunks_pass_both_ways(proxy: str, cluster: RawUpstream) -> None:
    cluster.script = lambda _, c: c.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    received = exchange(
        proxy,
        b"POST /_bulk HTTP/1.1\r\nHost: p\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    )
    body = received.partition(b"\r\n\r\n")[2]
    assert dechunk(body) == b"abcde"
    assert cluster.requests[0].body == b"hello world"


def test_answer_comes_before_the_request_ends_in_pieces(proxy: str, cluster: RawUpstream) -> None:
    """Streaming: the first bytes of an answer arrive while the upstream still writes."""
    first_seen = threading.Event()

    def script(_: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        assert first_seen.wait(5)
        connection.sendall(b"def")

    cluster.script = script
    host, port = proxy.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")
        seen = b""
        while not seen.endswith(b"abc"):
            seen += connection.recv(1000)
        first_seen.set()
        while part := connection.recv(1000):
            seen += part
    assert seen.endswith(b"\r\n\r\nabcdef")


def test_small_answers_do_not_wait_for_acknowledgements(proxy: str, cluster: RawUpstream) -> None:
    """Head and body are two writes: Nagle's algorithm would hold the second for some 40 ms."""
    client = http.client.HTTPConnection(proxy.removeprefix("http://"))
    times = []
    for _ in range(40):
        began = time.perf_counter()
        client.request("GET", "/x")
        assert client.getresponse().read() == b"{}"
        times.append(time.perf_counter() - began)
    client.close()
    assert sorted(times)[20] < 0.03


def test_compressed_bytes_pass_as_they_are(proxy: str, cluster: RawUpstream) -> None:
    packed = gzip.compress(b'{"a":1}' * 100)
    cluster.script = lambda _, c: answer(c, 200, packed, {"Content-Encoding": "gzip"})
    _, head, body = ask(proxy, b"POST /_bulk", b"Content-Encoding: gzip", body=packed)
    assert (body, find(head, "content-encoding")) == (packed, ["gzip"])
    assert cluster.requests[0].body == packed
    assert cluster.requests[0].headers("content-encoding") == [b"gzip"]


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_breaks_off_is_never_ended(
    proxy: str, cluster: RawUpstream, start: bytes
) -> None:
    def script(_: Request, connection: socket.socket) -> None:
        connection.sendall(start)
        connection.shutdown(socket.SHUT_RDWR)

    cluster.script = script
    _, head, body = ask(proxy, b"GET /x")
    if find(head, "content-length"):
        assert body == b"abc"
        assert find(head, "content-length") == ["100"]
    else:
        with pytest.raises(AssertionError, match="cut"):
            dechunk(body)


@pytest.mark.parametrize("target", [b"/_cat/x", b"/idx/_search?q=a"])
@pytest.mark.parametrize("begun", [False, True])
def test_what_nobody_waits_for_is_given_up(
    proxy: str, cluster: RawUpstream, target: bytes, begun: bool
) -> None:
    """The cluster cancels a search whose connection is closed; a client that left must do that."""
    asked, closed = threading.Event(), threading.Event()

    def script(request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_mapping"):
            answer(connection, 200, b"{}")
            return
        if begun:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{" % BIG)
        asked.set()
        connection.settimeout(0.9)  # the proxy itself would give up after a second
        with contextlib.suppress(TimeoutError):
            if connection.recv(1) == b"":
                closed.set()

    cluster.script = script
    host, port = proxy.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: p\r\n\r\n")
        assert asked.wait(5)
        time.sleep(0.05)
    assert closed.wait(5)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_that_breaks_off_is_never_ended(
    proxy: str, cluster: RawUpstream, framing: str
) -> None:
    """Half a bulk request must not reach the cluster as a whole one."""
    host, port = proxy.removeprefix("http://").split(":")
    line = {
        "length": b"Content-Length: 1000000\r\n\r\n" + b"x" * 200_000,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n30d40\r\n" + b"x" * 200_000 + b"\r\n",
    }[framing]
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"POST /_bulk HTTP/1.1\r\nHost: p\r\n" + line)
        until = time.monotonic() + 5
        while not (cluster.requests and cluster.requests[0].body_bytes > 100_000):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert cluster.broken.wait(5)
    assert not cluster.requests[0].whole


def test_a_refused_connection_is_502_in_the_engines_shape() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with serve_app(proxy_settings(url)) as (proxy, _):
            status, head, body = ask(proxy, b"GET /_cat/health")
            searched, _, search_body = ask(proxy, b"GET /idx/_search?q=a")
    assert (status, searched) == (502, 502)
    assert find(head, "content-type") == ["application/json"]
    assert not find(head, "x-elastic-product")
    for text in (body, search_body):
        assert b'"type": "upstream_unreachable_exception"' in text
        assert b'"status": 502' in text
        assert b'"root_cause"' in text


def test_credentials_in_the_address_stay_inside() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://jane:secret@127.0.0.1:{unused.getsockname()[1]}"
        with serve_app(proxy_settings(url)) as (proxy, app):
            answers = [ask(proxy, b"GET " + p) for p in (b"/x", b"/a/_search", b"/_es_rerank/info")]
            assert app.upstream.own_credentials() == [(b"authorization", b"Basic amFuZTpzZWNyZXQ=")]
    for _, head, body in answers:
        assert b"127.0.0.1" in body or b"502" in head
        assert b"secret" not in head + body
        assert b"jane" not in head + body


def test_own_credentials_are_never_lent_to_a_caller() -> None:
    with (
        upstream() as raw,
        serve_app(proxy_settings(raw.url, upstream={"api_key": "own"})) as (proxy, _),
    ):
        ask(proxy, b"GET /_cat/indices")
        ask(proxy, b"GET /a/_search?q=x")
        ask(proxy, b"GET /_es_rerank/info?index=hidden")
        with_own = [r.target for r in raw.requests if r.headers("authorization")]
    assert with_own == [b"/a/_mapping"]


def test_a_stalled_upstream_is_504(proxy: str, cluster: RawUpstream) -> None:
    cluster.script = lambda _, c: time.sleep(2.5)
    began = time.monotonic()
    status, _, body = ask(proxy, b"GET /_cat/health")
    assert status == 504
    assert b"upstream_timeout_exception" in body
    assert time.monotonic() - began < 2.4


def test_both_framings_at_once_are_refused(proxy: str, cluster: RawUpstream) -> None:
    received = exchange(
        proxy,
        b"POST /_bulk HTTP/1.1\r\nHost: p\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: p\r\n\r\n",
    )
    assert received.startswith(b"HTTP/1.1 400")
    assert cluster.requests == []


@pytest.mark.parametrize("body", [b"", b'{"a":1}', b"x" * 200_000])
@pytest.mark.parametrize("offer", [b"h2c", b"TLS/1.2", b"websocket"])
def test_offers_of_another_protocol_are_ignored(
    proxy: str, cluster: RawUpstream, offer: bytes, body: bytes
) -> None:
    """Java's clients make them; head and body arrive in pieces, on one connection."""
    host, port = proxy.removeprefix("http://").split(":")
    head = b"POST /_bulk HTTP/1.1\r\nHost: p\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    head += b"HTTP2-Settings: AA\r\nupgrade: " + offer + b"\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection((host, int(port)), 5) as connection:
        for cut in (0, 1, 70, len(head) - 2, len(head)):
            whole = head + body
            for part in (whole[:cut], whole[cut:]):
                connection.sendall(part)
                time.sleep(0.005)
            seen = b""
            while not seen.endswith(b"{}"):
                seen += connection.recv(1000)
            assert seen.startswith(b"HTTP/1.1 200")
    assert [request.body for request in cluster.requests] == [body] * 5
    assert cluster.requests[0].headers("upgrade") == []
    assert cluster.requests[0].headers("http2-settings") == []


def test_a_body_that_speaks_of_an_upgrade_is_kept(proxy: str, cluster: RawUpstream) -> None:
    body = b"a\r\nUpgrade: x\r\n\r\nUpgrade: y\r\n"
    assert ask(proxy, b"POST /_bulk", b"Upgrade: h2c", body=body)[0] == 200
    assert cluster.requests[0].body == body


def test_empty_lines_before_a_request_are_skipped(proxy: str, cluster: RawUpstream) -> None:
    """RFC 9112, 2.2."""
    received = exchange(proxy, b"\r\nGET /x HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")


def test_no_http_is_400(proxy: str, cluster: RawUpstream) -> None:
    assert exchange(proxy, b"\x16\x03\x01" * 30_000).startswith(b"HTTP/1.1 400")
    assert exchange(proxy, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_expect_continue_is_answered(proxy: str, cluster: RawUpstream) -> None:
    host, port = proxy.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(
            b"POST /_bulk HTTP/1.1\r\nHost: p\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert cluster.requests[0].headers("expect") == []


def test_a_stale_connection_is_tried_again(proxy: str, cluster: RawUpstream) -> None:
    """A connection that the cluster closed while it rested costs the client nothing."""

    def script(_: Request, connection: socket.socket) -> None:
        answer(connection, 200, b"{}")
        connection.shutdown(socket.SHUT_RDWR)

    cluster.script = script
    for body in (b"", b'{"a":1}'):
        for _ in range(3):
            assert ask(proxy, b"PUT /idx/_doc/1", body=body)[0] == 200
            time.sleep(0.02)


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_memory_stays_flat_under_large_bodies(proxy: str, cluster: RawUpstream) -> None:
    """60 MiB each way; proxy, client and upstream are all in this process and stay small."""
    block = b"x" * MIB

    def script(request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % request.body_bytes)
        for _ in range(BIG // MIB):
            connection.sendall(block)

    cluster.script, cluster.count_only = script, True
    host, port = proxy.removeprefix("http://").split(":")
    Path("/proc/self/clear_refs").write_text("5")
    at_first = peak_kib()
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(
            b"POST /_bulk HTTP/1.1\r\nHost: p\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            % BIG
        )
        for _ in range(BIG // MIB):
            connection.sendall(block)
        read = 0
        while part := connection.recv(MIB):
            read += len(part)
            if read < 8 * MIB:
                time.sleep(0.01)  # a slow reader must slow the upstream, not fill the proxy
    assert cluster.requests[0].body_bytes == BIG
    assert read >= BIG
    assert peak_kib() - at_first < 16 * 1024
