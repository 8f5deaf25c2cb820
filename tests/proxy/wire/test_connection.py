"""Connections over real sockets: order, framing, patience, and ends that tell the truth."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_rerank.proxy.answer import Receive, Scope, Send
from es_rerank.proxy.wire.call import ClientGoneError
from es_rerank.proxy.wire.limits import Limits
from tests.proxy.wire.serving import Echo, Served, head, live, read_all, read_until, serve

CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def stand(request: pytest.FixtureRequest) -> Iterator[tuple[Served, Echo]]:
    app = Echo()
    with serve(app, loop=request.param) as served:
        yield served, app


@pytest.fixture
def served(stand: tuple[Served, Echo]) -> Served:
    return stand[0]


@pytest.fixture
def echo(stand: tuple[Served, Echo]) -> Echo:
    stand[1].seen.clear()
    stand[1].scopes.clear()
    return stand[1]


def exchange(served: Served, sent: bytes) -> bytes:
    with served.connect() as connection:
        connection.sendall(sent)
        return read_all(connection)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\nHost: p\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: p\r\nX : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nHost: p\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: p\r\n" + b"X: 1\r\n" * 300 + b"\r\n", 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: p\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: p\r\nExpect: tea\r\n\r\n", 417),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: p\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_refused_requests_are_answered_in_the_engines_shape_and_seen_by_nobody(
    served: Served, echo: Echo, sent: bytes, status: int
) -> None:
    received = exchange(served, sent + b"GET /smuggled HTTP/1.1\r\nHost: p\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in received
    assert b'"type": "invalid_http_request"' in received
    assert b'"status": %d}' % status in received
    assert received.count(b"\r\n\r\n") == 1
    assert not [seen for seen in echo.seen if b"smuggled" in seen[1] or seen[2]]


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(st.integers(1, 300), max_size=12))
def test_requests_cut_anyhow_are_answered_in_order(
    served: Served, echo: Echo, cuts: list[int]
) -> None:
    sent = (
        b"\r\nPOST /a HTTP/1.1\r\nHost: p\r\nContent-Length: 5\r\n\r\nhello"
        b"GET /b?x HTTP/1.1\r\nHost: p\r\n\r\n"
        b"POST /c HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
        b"POST /d HTTP/1.1\r\nHost: p\r\nContent-Length: 0\r\n\r\n"
        b"GET /e HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n"
    )
    echo.seen.clear()
    with served.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = 0
        for cut in cuts:
            connection.sendall(sent[begun : begun + cut])
            begun += cut
            time.sleep(0.0005)
        connection.sendall(sent[begun:])
        received = read_all(connection)
    assert echo.seen == [
        ("POST", b"/a", b"hello"),
        ("GET", b"/b?x", b""),
        ("POST", b"/c", b"abcde"),
        ("POST", b"/d", b""),
        ("GET", b"/e", b""),
    ]
    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"POST /a hello", b"GET /b?x ", b"POST /c abcde", b"POST /d ", b"GET /e "]


def test_many_requests_at_once_do_not_exhaust_the_stack(served: Served, echo: Echo) -> None:
    one = b"GET /%d HTTP/1.1\r\nHost: p\r\n\r\n"
    count = 5000
    with served.connect() as connection:
        sent = b"".join(one % i for i in range(count))
        writer = threading.Thread(target=connection.sendall, args=(sent,))
        writer.start()
        read_until(connection, b"GET /%d " % (count - 1))
        writer.join()
    assert [seen[1] for seen in echo.seen] == [b"/%d" % i for i in range(count)]


def test_old_clients_are_kept_where_they_ask_for_it(served: Served, echo: Echo) -> None:
    assert exchange(served, b"GET /a HTTP/1.0\r\n\r\n").endswith(b"GET /a ")
    with served.connect() as connection:
        for _ in range(2):
            connection.sendall(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive\r\n" in read_until(connection, b"GET /a ")


def test_continue_is_said_once_and_only_where_the_body_waits(served: Served, echo: Echo) -> None:
    line = b"POST / HTTP/1.1\r\nHost: p\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    with served.connect() as connection:
        connection.sendall(line + b"\r\n")
        assert read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ab")
        assert read_until(connection, b"POST / ab").startswith(b"HTTP/1.1 200")
    assert exchange(served, line + CLOSE + b"\r\nab").startswith(b"HTTP/1.1 200")


def test_a_scope_says_who_and_what(served: Served, echo: Echo) -> None:
    exchange(served, b"GET /a%20%ff?q=%41 HTTP/1.1\r\nhOST: p\r\n" + CLOSE + b"\r\n")
    scope = echo.scopes[0]
    assert (scope["raw_path"], scope["query_string"]) == (b"/a%20%ff", b"q=%41")
    assert scope["path"] == "/a \ufffd"
    assert scope["headers"] == [(b"host", b"p"), (b"connection", b"close")]
    assert scope["server"] == served.address
    assert scope["client"][0] == "127.0.0.1"
    assert (scope["scheme"], scope["extensions"], scope["http_version"]) == ("http", {}, "1.1")


# What an application may answer.


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a length, or in the way its path names."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    path = scope["path"]
    if path == "/raise":
        raise ZeroDivisionError
    if path == "/nothing":
        return
    if path == "/inject":
        await send(head(200, (b"x-a", b"1\r\nx-b: 2")))
        return
    if path == "/long":
        await send(head(200, (b"content-length", b"2")))
        await send({"type": "http.response.body", "body": b"abc"})
        return
    status = 204 if path == "/204" else 200
    length = [(b"content-length", b"10")] if path == "/short" else []
    await send(head(status, *length, (b"connection", b"x"), (b"transfer-encoding", b"y")))
    await send({"type": "http.response.body", "body": b"abc", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    if path == "/break":
        raise ZeroDivisionError
    await send({"type": "http.response.body", "body": b"de"})


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def streaming(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serve(stream, loop=request.param) as served:
        yield served


def ask(served: Served, line: bytes, version: bytes = b"1.1") -> tuple[bytes, bytes]:
    sent = line + b" HTTP/" + version + b"\r\nHost: p\r\n" + CLOSE + b"\r\n"
    top, _, body = exchange(served, sent).partition(b"\r\n\r\n")
    return top, body


def test_answers_without_a_length_are_chunked(streaming: Served) -> None:
    top, body = ask(streaming, b"GET /")
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert top.split(b"\r\n")[1:] == [b"Transfer-Encoding: chunked", b"Connection: close"]


def test_old_clients_get_them_until_the_connection_ends(streaming: Served) -> None:
    top, body = ask(streaming, b"GET /", b"1.0")
    assert body == b"abcde"
    assert top.split(b"\r\n")[1:] == [b"Connection: close"]


@pytest.mark.parametrize("line", [b"HEAD /", b"GET /204"])
def test_what_has_no_body_gets_none(streaming: Served, line: bytes) -> None:
    top, body = ask(streaming, line)
    assert body == b""
    assert b"chunked" not in top


@pytest.mark.parametrize("path", [b"/raise", b"/nothing", b"/inject"])
def test_a_failure_is_told_in_the_engines_shape(streaming: Served, path: bytes) -> None:
    top, body = ask(streaming, b"GET " + path)
    assert top.startswith(b"HTTP/1.1 500 ")
    assert b'"type": "proxy_exception"' in body
    assert b"x-b" not in top


@pytest.mark.parametrize("path", [b"/break", b"/short", b"/long"])
def test_an_answer_that_breaks_off_is_never_ended(streaming: Served, path: bytes) -> None:
    top, body = ask(streaming, b"GET " + path)
    assert top.startswith(b"HTTP/1.1 200")
    assert not body.endswith(b"0\r\n\r\n")


def test_a_cut_is_a_reset_where_the_end_would_mean_whole(streaming: Served) -> None:
    with streaming.connect() as connection:
        connection.sendall(b"GET /break HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while connection.recv(1000):
                pass


# Patience.

QUICK = Limits(head_s=0.3, body_s=0.3, send_s=0.5, idle_s=0.3)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("start", "drip", "answered"),
    [
        (b"", b"", b""),
        (b"GET / HTTP/1.1\r\nHost: p\r\n", b"X", b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 5000\r\n\r\n", b"x", b"HTTP/1.1 408 "),
        (
            b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0",
            b"HTTP/1.1 408 ",
        ),
    ],
)
def test_dripping_clients_are_let_go(loop: str, start: bytes, drip: bytes, answered: bytes) -> None:
    app = Echo()
    with serve(app, QUICK, loop) as served, served.connect() as connection:
        began = time.monotonic()
        connection.sendall(start)
        connection.settimeout(0.05)
        received = b""
        while time.monotonic() - began < 5:
            try:
                part = connection.recv(1000)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    connection.sendall(drip)
                continue
            received += part
            if not part:
                break
        assert time.monotonic() - began < 2
        assert received.startswith(answered)
        assert bool(received) is bool(answered)
    assert app.seen == []


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_steady_body_is_not_cut(loop: str) -> None:
    app = Echo()
    with serve(app, QUICK, loop) as served, served.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 600\r\n\r\n")
        for _ in range(6):
            time.sleep(0.15)
            connection.sendall(b"x" * 100)
        read_until(connection, b"x" * 600)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_reads_nothing_is_let_go(loop: str) -> None:
    ended = threading.Event()

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        await send(head(200))
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        except ClientGoneError:
            ended.set()

    with serve(flood, QUICK, loop) as served, served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
        assert ended.wait(8)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_goes_is_noticed(loop: str) -> None:
    gone = threading.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    with serve(wait, loop=loop) as served:
        with served.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
            time.sleep(0.05)
            assert not gone.is_set()
        assert gone.wait(3)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_end_waits_for_answers_and_for_nothing_else(loop: str) -> None:
    asked, answer = threading.Event(), threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        asked.set()
        await asyncio.to_thread(answer.wait, 5)
        await send(head(200, (b"content-length", b"2")))
        await send({"type": "http.response.body", "body": b"{}"})

    with serve(slow, loop=loop) as served, served.connect() as resting, served.connect() as busy:
        busy.sendall(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
        assert asked.wait(3)
        served.server.should_exit = True
        assert resting.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            served.connect()
        answer.set()
        received = read_all(busy)
        assert b"Connection: close\r\n" in received
        assert received.endswith(b"{}")
        served.thread.join(3)
        assert not served.thread.is_alive()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_end_cuts_what_outlasts_its_grace(loop: str) -> None:
    cancelled = threading.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with serve(hang, loop=loop, grace_s=0.2) as served, served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
        time.sleep(0.05)
        served.server.should_exit = True
        assert read_all(connection) == b""
        served.thread.join(3)
        assert not served.thread.is_alive()
    assert cancelled.is_set()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_resting_connections_make_room(loop: str) -> None:
    with serve(Echo(), Limits(connections=2), loop) as served, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(served.connect()) for _ in range(2))
        for rested in (first, second):  # taken in this order for sure
            rested.sendall(b"GET /1 HTTP/1.1\r\nHost: p\r\n\r\n")
            read_until(rested, b"GET /1 ")
        third = stack.enter_context(served.connect())
        third.sendall(b"GET /3 HTTP/1.1\r\nHost: p\r\n\r\n")
        read_until(third, b"GET /3 ")
        assert first.recv(10) == b""
        second.sendall(b"GET /2 HTTP/1.1\r\nHost: p\r\n\r\n")
        read_until(second, b"GET /2 ")
