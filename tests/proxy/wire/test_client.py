"""Framing of answers by RFC 9112, over real sockets: what is an answer, and what is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from es_rerank.config import load_settings
from es_rerank.proxy.upstream import Answer, Upstream
from es_rerank.proxy.wire.client import HEAD_BYTES
from es_rerank.proxy.wire.failure import BrokenAnswerError, TimedOutError, UnreachableError
from tests.proxy.wire import Request, Script, answer, upstream

T = TypeVar("T")
OK = b"HTTP/1.1 200 OK\r\n"


def run(url: str, work: Callable[[Upstream], Awaitable[T]], **settings: Any) -> T:
    """Run `work` with an open upstream."""

    async def main() -> T:
        cluster = Upstream(load_settings(None, {"upstream": {"url": url, **settings}}).upstream)
        await cluster.open()
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(main())


def say(*parts: bytes, close: bool = False) -> Script:
    """A script that writes bytes, each part a packet of its own."""

    def script(_: Request, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return script


def ask_once(script: Script, method: str = "GET", **settings: Any) -> Answer:
    with upstream(script) as raw:
        return run(raw.url, lambda c: c.ask(method, b"/x", [], None, 10_000_000), **settings)


WHOLE = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
        b"abc",
    ),
    "trailers": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n",
        b"abc",
    ),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK
        + b"Content-Length: 3\r\n\r\nabc",
        b"abc",
    ),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "204": (b"HTTP/1.1 204 None\r\n\r\n", b""),
    "304": (b"HTTP/1.1 304 Same\r\nContent-Length: 10\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("pieces", ["one", "bytes"])
def test_whole_answers(name: str, pieces: str) -> None:
    raw, body = WHOLE[name]
    parts = [raw] if pieces == "one" else [raw[i : i + 1] for i in range(len(raw))]
    got = ask_once(say(*parts))
    assert (got.status, got.body) == (
        int(raw.split(b" ")[1][:3]) if name != "interim" else 200,
        body,
    )
    names = {key.lower() for key, _ in got.headers}
    assert names <= {b"content-length"}


def test_an_answer_until_the_connection_closes() -> None:
    assert ask_once(say(OK + b"\r\nab", b"c", close=True)).body == b"abc"


def test_the_answer_to_head_has_no_body_whatever_it_says() -> None:
    for head in (b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        with upstream(say(OK + head + b"\r\n")) as raw:

            async def twice(cluster: Upstream) -> list[bytes]:
                return [(await cluster.ask("HEAD", b"/x", [], None, 9)).body for _ in range(2)]

            assert run(raw.url, twice) == [b"", b""]


BROKEN = {
    "cut head": (OK + b"Content-Le", "broke off"),
    "cut length": (OK + b"Content-Length: 5\r\n\r\nabc", "broke off"),
    "cut chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "broke off"),
    "no last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "broke off"),
    "only interim": (b"HTTP/1.1 100 Continue\r\n\r\n", "broke off"),
    "garbage": (b"<html>no</html>", "broken answer"),
    "tls": (b"\x15\x03\x03\x00\x02\x02\x46", "it speaks TLS; write https://"),
    "http 2": (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "no HTTP/1.1"),
    "status 000": (b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", "no HTTP/1.1"),
    "status text": (b"HTTP/1.1 OK\r\n\r\n", "broken answer"),
    "two lengths": (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "broken answer"),
    "length and chunks": (
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "broken answer",
    ),
    "negative": (OK + b"Content-Length: -1\r\n\r\n", "broken answer"),
    "bad chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", "broken answer"),
    "other coding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not asked for"),
    "folded": (OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n", "broken answer"),
    "bare lf": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "broken answer"),
    "space in name": (OK + b"A B: c\r\nContent-Length: 0\r\n\r\n", "broken answer"),
    "nul": (OK + b"A: \0\r\nContent-Length: 0\r\n\r\n", "broken answer"),
    "upgrade": (
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "switches protocols",
    ),
    "long head": (OK + b"A: b\r\n" * (HEAD_BYTES // 6 + 9) + b"\r\n", "head is above"),
    "long line": (OK + b"A: " + b"b" * (HEAD_BYTES + 1), "head is above"),
    "interim flood": (b"HTTP/1.1 102 Wait\r\n\r\n" * 5000, "head is above"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers(name: str) -> None:
    raw, message = BROKEN[name]
    with pytest.raises(BrokenAnswerError, match=message):
        ask_once(say(raw, close=True))


def test_a_closed_connection_is_no_answer() -> None:
    with pytest.raises(UnreachableError, match="did not answer"):
        ask_once(say(close=True))


def test_what_follows_an_answer_is_never_the_next_one() -> None:
    """A length that lies: the rest would be taken for the answer to another's request."""
    lie = OK + b"Content-Length: 1\r\n\r\na" + OK + b"Content-Length: 6\r\n\r\nforged"

    def script(request: Request, connection: socket.socket) -> None:
        connection.sendall(lie if request.target == b"/lie" else OK + b"Content-Length: 0\r\n\r\n")

    async def both(cluster: Upstream) -> list[bytes]:
        first = await cluster.ask("GET", b"/lie", [], None, 100)
        return [first.body, (await cluster.ask("GET", b"/x", [], None, 100)).body]

    with upstream(script) as raw:
        assert run(raw.url, both) == [b"a", b""]
        assert [r.target for r in raw.requests] == [b"/lie", b"/x"]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "did not answer within 0.2 s"),
        (b"HTTP/1.1 102 Wait\r\n\r\n", "did not answer within 0.2 s"),
        (OK, "did not answer within 0.2 s"),
        (OK + b"Content-Length: 5\r\n\r\nabc", "was silent for 0.1 s"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "was silent for 0.1 s"),
    ],
)
def test_silence_is_timed(start: bytes, message: str) -> None:
    with pytest.raises(TimedOutError, match=message):
        ask_once(say(start), timeout_s=0.2, stall_timeout_s=0.1)


def test_an_early_refusal_ends_the_body() -> None:
    """Who answers 413 reads no more: the answer must arrive although the body did not."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async def post(cluster: Upstream) -> tuple[int, bytes]:
        async with cluster.stream("POST", b"/_bulk", [], endless()) as response:
            return response.status, b"".join([part async for part in response.chunks()])

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        async def refuse() -> None:
            loop = asyncio.get_running_loop()
            connection, _ = await loop.run_in_executor(None, server.accept)
            with connection:
                await loop.run_in_executor(None, connection.recv, 1000)
                connection.sendall(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
                await asyncio.sleep(0.1)

        async def both(cluster: Upstream) -> tuple[int, bytes]:
            return (await asyncio.gather(post(cluster), refuse()))[0]

        assert run(url, both) == (413, b"no")


def test_a_header_cannot_break_the_line() -> None:
    with (
        upstream(lambda _, c: answer(c, 200)) as raw,
        pytest.raises(ValueError, match="line break"),
    ):
        run(raw.url, lambda c: c.ask("GET", b"/", [(b"a", b"b\r\nc: d")], None, 9))
