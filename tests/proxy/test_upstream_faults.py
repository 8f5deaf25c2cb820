"""What a client gets when the cluster fails, over real sockets through the whole proxy.

Where the cluster answered, its own answer; where it did not, 502, 503 or 504 in its shape, in time.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from es_rerank.proxy.wire.client import HEAD_BYTES
from tests.proxy.wire import (
    RawUpstream,
    Request,
    Script,
    answer,
    ask,
    dechunk,
    find,
    proxy_settings,
    serve_app,
    upstream,
)

TIMEOUT_S = 1.5
RELAYED = b"GET /_cat/health"
SEARCH = b"GET /idx/_search?q=a"
BOTH = pytest.mark.parametrize("line", [RELAYED, SEARCH], ids=["relay", "search"])
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[str, RawUpstream]]:
    with (
        upstream() as raw,
        serve_app(proxy_settings(raw.url, upstream={"timeout_s": TIMEOUT_S})) as (proxy, _),
    ):
        yield proxy, raw


@pytest.fixture
def proxy(stand: tuple[str, RawUpstream]) -> Iterator[str]:
    """The proxy; afterwards a healthy cluster must be answered from again."""
    yield stand[0]
    stand[1].script = None
    assert ask(stand[0], RELAYED)[::2] == (200, b"{}")


@pytest.fixture
def cluster(stand: tuple[str, RawUpstream]) -> RawUpstream:
    stand[1].requests.clear()
    return stand[1]


def fail(script: Script) -> Script:
    """A script for everything but what the proxy asks for itself."""

    def wrapped(request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_mapping"):
            answer(connection, 200, b"{}")
        else:
            script(request, connection)

    return wrapped


def say(data: bytes, close: bool = False) -> Script:
    def script(_: Request, connection: socket.socket) -> None:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return fail(script)


def reset(_: Request, connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


def assert_error(got: tuple[int, bytes, bytes], status: int, kind: str, reason: str) -> None:
    """The exact answer that says that the cluster failed; `reason` is a pattern."""
    assert got[0] == status
    assert find(got[1], "content-type") == ["application/json"]
    assert find(got[1], "content-length") == [str(len(got[2]))]
    body: dict[str, Any] = json.loads(got[2])
    text = body["error"]["reason"]
    assert re.fullmatch(reason, text), text
    cause = {"type": kind, "reason": text}
    assert body == {"error": {"root_cause": [cause], **cause}, "status": status}


def assert_cut(got: tuple[int, bytes, bytes]) -> None:
    """An answer that began and visibly did not end."""
    assert got[0] == 200
    if length := find(got[1], "content-length"):
        assert len(got[2]) < int(length[0])
    else:
        with pytest.raises((AssertionError, ValueError)):
            dechunk(got[2])


@BOTH
def test_refused(line: bytes) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with serve_app(proxy_settings(url)) as (proxy, _):
            assert_error(
                ask(proxy, line),
                502,
                "upstream_unreachable_exception",
                f"{url} cannot be reached: it refused the connection; check upstream.url and that "
                "the cluster is up",
            )


@BOTH
def test_reset_before_the_request(line: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                reset(Request(b""), connection)

        threading.Thread(target=accept, daemon=True).start()
        with serve_app(proxy_settings(url)) as (proxy, _):
            got = ask(proxy, line)
        server.shutdown(socket.SHUT_RDWR)
    why = "(closed the connection (as soon as it was made|and did not answer)|cannot be reached.*)"
    assert_error(got, 502, "upstream_unreachable_exception", f"{url} {why}")


@BOTH
@pytest.mark.parametrize("how", ["reset", "end"])
def test_closed_after_the_request(proxy: str, cluster: RawUpstream, line: bytes, how: str) -> None:
    cluster.script = fail(reset) if how == "reset" else say(b"", close=True)
    assert_error(
        ask(proxy, line),
        502,
        "upstream_unreachable_exception",
        f"{cluster.url} closed the connection and did not answer",
    )


@BOTH
@pytest.mark.parametrize(
    "start", [b"", OK, OK + b"Content-Length: 1", b"HTTP/1.1 102 Wait\r\n\r\n"]
)
def test_silence_before_the_answer(
    proxy: str, cluster: RawUpstream, line: bytes, start: bytes
) -> None:
    cluster.script = say(start)
    began = time.perf_counter()
    got = ask(proxy, line)
    assert TIMEOUT_S < time.perf_counter() - began < TIMEOUT_S + 15
    assert_error(
        got,
        504,
        "upstream_timeout_exception",
        f"{cluster.url} did not answer within {TIMEOUT_S} s",
    )


CUT = {
    "length": OK + b'Content-Length: 100\r\n\r\n{"hits',
    "chunk": OK + b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"hits',
    "between chunks": OK + b'Transfer-Encoding: chunked\r\n\r\n6\r\n{"hits\r\n',
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nxyz\r\n",
}


@pytest.mark.parametrize("name", [name for name in CUT if name != "bad chunk"])
def test_silence_in_the_body(proxy: str, cluster: RawUpstream, name: str) -> None:
    cluster.script = say(CUT[name])
    assert_cut(ask(proxy, RELAYED))
    assert_error(
        ask(proxy, SEARCH),
        504,
        "upstream_timeout_exception",
        f"{cluster.url} was silent for {TIMEOUT_S} s in the middle of its answer",
    )


@pytest.mark.parametrize("name", CUT)
def test_death_in_the_body(proxy: str, cluster: RawUpstream, name: str) -> None:
    cluster.script = say(CUT[name], close=True)
    assert_cut(ask(proxy, RELAYED))
    assert_error(
        ask(proxy, SEARCH),
        502,
        "upstream_broken_answer_exception",
        f"{cluster.url} (broke off in the middle of its answer|sent a broken answer: .*)",
    )


@BOTH
@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"<html>who are you?</html>", "Expected HTTP/, RTSP/ or ICE/"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "it speaks TLS; write https:// in upstream.url"),
        (OK + b"Bad Name: 1\r\n\r\n", "Invalid header token"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Duplicate Content-Length"),
        (OK + b"Content-Length: two\r\n\r\nab", "Invalid character in Content-Length"),
        (OK + b"X: " + b"y" * HEAD_BYTES + b"\r\n\r\n", "its head is above 65536 bytes"),
        (OK + b"X: y\r\n" * HEAD_BYTES, "its head is above 65536 bytes"),
        (b"HTTP/1.1 103 Hint\r\n\r\n" * 5000, "its head is above 65536 bytes"),
        (
            b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "it switches protocols, which nobody asked for",
        ),
        (
            OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "its transfer coding was not asked for",
        ),
    ],
)
def test_garbage_is_never_passed_on(
    proxy: str, cluster: RawUpstream, line: bytes, garbage: bytes, why: str
) -> None:
    cluster.script = say(garbage)
    assert_error(
        ask(proxy, line),
        502,
        "upstream_broken_answer_exception",
        re.escape(f"{cluster.url} sent a broken answer: {why}"),
    )


def test_more_than_was_promised_is_dropped(proxy: str, cluster: RawUpstream) -> None:
    cluster.script = say(OK + b'Content-Length: 2\r\n\r\n{}{"forged": true}')
    for _ in range(3):
        status, head, body = ask(proxy, RELAYED)
        assert (status, find(head, "content-length"), body) == (200, ["2"], b"{}")
    status, head, body = ask(proxy, SEARCH)
    assert (status, find(head, "x-es-rerank"), body) == (
        200,
        ["fallback; reason=answer-unreadable"],
        b"{}",
    )


@BOTH
@pytest.mark.parametrize("status", [401, 403, 404, 405, 409, 413, 429, 500, 502, 503, 504])
def test_the_clusters_own_errors_pass(
    proxy: str, cluster: RawUpstream, line: bytes, status: int
) -> None:
    own = b'{ "error" : {"type":"es_rejected_execution_exception"}, "status":%d}' % status
    headers = {"Content-Type": "application/json", "Retry-After": "7", "Warning": "299 a"}
    cluster.script = fail(lambda _, c: answer(c, status, own, headers))
    got, head, body = ask(proxy, line)
    assert (got, body) == (status, own)
    assert {name: find(head, name.lower()) for name in headers} == {
        name: [value] for name, value in headers.items()
    }
    assert len([r for r in cluster.requests if not r.target.endswith(b"/_mapping")]) == 1


@BOTH
def test_interim_answers_are_skipped(proxy: str, cluster: RawUpstream, line: bytes) -> None:
    cluster.script = say(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hint\r\nLink: a\r\n\r\n"
        b"HTTP/1.1 404 Gone\r\nContent-Length: 2\r\n\r\n{}"
    )
    status, head, body = ask(proxy, line)
    assert (status, body, find(head, "link")) == (404, b"{}", [])
