"""Connections kept, limited, closed; requests sent again where that is right and nowhere else."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from es_rerank.proxy.upstream import Upstream
from es_rerank.proxy.wire.failure import TimedOutError, UnreachableError, UpstreamError
from tests.proxy.wire import Request, Script, answer, upstream
from tests.proxy.wire.test_client import run

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def peers(seen: set[int]) -> Script:
    """A script that notes by which connection a request came."""

    def script(_: Request, connection: socket.socket) -> None:
        seen.add(connection.getpeername()[1])
        answer(connection, 200, b"{}")

    return script


def stale(_: Request, connection: socket.socket) -> None:
    """Answer, and close at the next request without a word, as a connection that went stale."""
    answer(connection, 200, b"{}")
    connection.recv(65_536)
    connection.shutdown(socket.SHUT_RDWR)


def test_requests_one_after_another_use_one_connection() -> None:
    seen: set[int] = set()

    async def twenty(cluster: Upstream) -> None:
        for i in range(20):
            if i % 2:
                await cluster.ask("GET", b"/", [], None, 10)
            else:
                async with cluster.stream("POST", b"/_bulk", [], b"{}") as response:
                    assert [part async for part in response.chunks()] == [b"{}"]

    with upstream(peers(seen)) as raw:
        run(raw.url, twenty)
        assert len(raw.requests) == 20
    assert len(seen) == 1


def test_a_connection_that_rested_too_long_is_not_used() -> None:
    seen: set[int] = set()

    async def two(cluster: Upstream) -> None:
        await cluster.ask("GET", b"/", [], None, 10)
        await asyncio.sleep(0.1)
        await cluster.ask("GET", b"/", [], None, 10)

    with upstream(peers(seen)) as raw:
        run(raw.url, two, keep_alive_s=0.05)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("method", "target", "again"),
    [
        ("GET", b"/x", True),
        ("HEAD", b"/x", True),
        ("PUT", b"/i/_doc/1", True),
        ("DELETE", b"/i", True),
        ("OPTIONS", b"/", True),
        ("POST", b"/_search", True),
        ("POST", b"/i/_search?size=1", True),
        ("POST", b"/i/_msearch", True),
        ("POST", b"/_msearch/template", True),
        ("POST", b"/i/_count", True),
        ("POST", b"/i/_search/template", True),
        ("POST", b"/_bulk", False),
        ("PUT", b"/i/_bulk", False),
        ("POST", b"/i/_doc", False),
        ("POST", b"/i/_update/1", False),
        ("POST", b"/i/_update/_search", False),
        ("POST", b"/i/_update_by_query?q=/_search", False),
        ("POST", b"/_search/scroll", False),
        ("GET", b"/_search/scroll?scroll_id=a", False),
        ("GET", b"/_search/scroll/a", False),
        ("PATCH", b"/x", False),
    ],
)
def test_a_stale_connection(method: str, target: bytes, again: bool) -> None:
    """The request is repeated on a fresh connection when that can do no harm, once."""

    async def two(cluster: Upstream) -> int:
        await cluster.ask("GET", b"/first", [], None, 10)
        return (await cluster.ask(method, target, [], b"{}", 10)).status

    with upstream(stale) as raw:
        if again:
            assert run(raw.url, two) == 200
        else:
            with pytest.raises(UnreachableError, match="closed the connection"):
                run(raw.url, two)
        # The script swallows the request that finds its connection stale.
        assert [r.target for r in raw.requests] == [b"/first", *([target] if again else [])]


def test_a_fresh_connection_that_fails_is_not_tried_again() -> None:
    with upstream(lambda _, c: c.shutdown(socket.SHUT_RDWR)) as raw:
        with pytest.raises(UnreachableError):
            run(raw.url, lambda c: c.ask("GET", b"/x", [], None, 10))
        assert len(raw.requests) == 1


def test_the_limit_holds_and_who_waits_is_served() -> None:
    seen: set[int] = set()
    at_once, most = 0, 0
    lock = threading.Lock()

    def script(_: Request, connection: socket.socket) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        seen.add(connection.getpeername()[1])
        answer(connection, 200, b"{}")

    async def many(cluster: Upstream) -> None:
        asked = (cluster.ask("GET", b"/", [], None, 10) for _ in range(12))
        assert [answer.body for answer in await asyncio.gather(*asked)] == [b"{}"] * 12

    with upstream(script) as raw:
        run(raw.url, many, connections=3)
    assert most <= 3
    assert len(seen) == 3


def test_waiting_for_a_connection_is_bounded() -> None:
    held = threading.Event()

    async def two(cluster: Upstream) -> None:
        async with cluster.stream("GET", b"/", [], None) as response:
            with pytest.raises(TimedOutError, match="all 1 connections to the cluster were in use"):
                await cluster.ask("GET", b"/", [], None, 10)
            held.set()
            assert [part async for part in response.chunks()] == [b"{}"]
        assert (await cluster.ask("GET", b"/", [], None, 10)).body == b"{}"

    def script(_: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        assert held.wait(5)
        connection.sendall(b"{}")

    with upstream(script) as raw:
        run(raw.url, two, connections=1, timeout_s=0.1, stall_timeout_s=5)


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_request_closes_its_connection(begun: bool) -> None:
    asked, closed = threading.Event(), threading.Event()

    def script(_: Request, connection: socket.socket) -> None:
        if begun:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        asked.set()
        connection.settimeout(5)
        try:
            left = connection.recv(1)
        except ConnectionResetError:
            left = b""
        if left == b"":
            closed.set()

    async def cancel(cluster: Upstream) -> None:
        task = asyncio.ensure_future(cluster.ask("GET", b"/", [], None, 10))
        assert await asyncio.to_thread(asked.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(closed.wait, 5)

    with upstream(script) as raw:
        run(raw.url, cancel)


def test_closing_ends_what_is_under_way() -> None:
    async def close(cluster: Upstream) -> None:
        asked = [asyncio.ensure_future(cluster.ask("GET", b"/", [], None, 10)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await cluster.close()
        for task in asked:
            with pytest.raises(UpstreamError, match="shutting down"):
                await task

    with upstream(lambda _, __: None) as raw:
        run(raw.url, close, connections=2)
