"""Several nodes: spread, failover where it can do no harm, out when dead, in again when back."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from es_rerank import telemetry
from tests.proxy.test_upstream_faults import OK, assert_cut, assert_error, reset
from tests.proxy.wire import (
    RawUpstream,
    Request,
    Script,
    answer,
    ask,
    find,
    proxy_settings,
    serve_app,
    upstream,
)

GET, BULK, SEARCH = b"GET /_cat/health", b"POST /_bulk", b"POST /i/_search"
EMPTY = b"""{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},
"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}"""
FAST = {"check_interval_s": 0.1, "connect_timeout_s": 2.0}
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """A port at which nobody listens, kept from others."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def named(name: str, then: Script | None = None) -> Script:
    """A node that answers checks and mappings; to all else it says its name, or does `then`."""

    def script(request: Request, connection: socket.socket) -> None:
        if request.target == b"/":
            answer(connection, 401, b"{}")  # whoever refuses our credentials is alive
        elif request.target.endswith(b"/_mapping"):
            answer(connection, 200, b"{}")
        elif then is not None:
            then(request, connection)
        else:
            answer(connection, 200, json.dumps({"name": name}).encode())

    return script


def say(data: bytes) -> Script:
    def script(_: Request, connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return script


def asked(node: RawUpstream) -> list[bytes]:
    """What was asked for but for checks and mappings."""
    return [
        r.line[:-9]
        for r in node.requests
        if r.target != b"/" and not r.target.endswith(b"/_mapping")
    ]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def nodes_in() -> float:
    found = telemetry.METRICS.get_sample_value("es_rerank_upstream_nodes", {"state": "in"})
    assert found is not None
    return found


@contextlib.contextmanager
def cluster_of(*nodes: RawUpstream | int, **settings: object) -> Iterator[str]:
    """The proxy before nodes and bare ports."""
    urls = [n.url if isinstance(n, RawUpstream) else f"http://127.0.0.1:{n}" for n in nodes]
    with serve_app(proxy_settings("", upstream={"url": urls, **FAST, **settings})) as (proxy, _):
        yield proxy


def test_requests_go_to_all_nodes_in_turn() -> None:
    with upstream(named("a")) as a, upstream(named("b")) as b, cluster_of(a, b) as proxy:
        for _ in range(6):
            assert ask(proxy, GET)[0] == 200
        assert (len(asked(a)), len(asked(b))) == (3, 3)


@pytest.mark.parametrize("line", [GET, BULK, SEARCH])
def test_a_dead_node_is_never_noticed(line: bytes) -> None:
    """Where no connection can be made nothing was written, so that even a bulk goes elsewhere."""
    with unused_port() as dead, upstream(named("a")) as a, cluster_of(dead, a) as proxy:
        for _ in range(6):
            assert ask(proxy, line, b"Content-Type: application/json", body=b"{}")[0] == 200
        assert len(asked(a)) == (
            12 if line is SEARCH else 6
        )  # what is no search answer is asked anew
        assert nodes_in() == 1


def test_what_may_be_repeated_goes_to_another_node() -> None:
    with (
        upstream(named("a", reset)) as a,
        upstream(named("b")) as b,
        cluster_of(a, b) as proxy,
    ):
        for _ in range(4):
            assert ask(proxy, GET)[::2] == (200, b'{"name": "b"}')
        assert len(asked(b)) == 4
        assert len(asked(a)) >= 1


@pytest.mark.parametrize(
    "line",
    [BULK, b"PUT /i/_bulk", b"POST /i/_doc", b"GET /_search/scroll", b"POST /_search/scroll"],
)
def test_what_may_not_be_repeated_is_never_sent_twice(line: bytes) -> None:
    with (
        upstream(named("a", reset)) as a,
        upstream(named("b")) as b,
        cluster_of(a, b) as proxy,
    ):
        answers = [ask(proxy, line, body=b"{}\n") for _ in range(4)]
        failed = [got for got in answers if got[0] != 200]
        assert len(failed) == len(asked(a)) >= 1
        assert len(asked(a)) + len(asked(b)) == 4
        for got in failed:
            assert_error(
                got,
                502,
                "upstream_unreachable_exception",
                f"{a.url} closed the connection and did not answer",
            )


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 20",
        OK,
        b"<html>",
    ],
)
def test_a_node_that_breaks_off_in_the_head(start: bytes) -> None:
    with (
        upstream(named("a", say(start))) as a,
        upstream(named("b")) as b,
        cluster_of(a, b) as proxy,
    ):
        for _ in range(2):
            assert ask(proxy, GET)[::2] == (200, b'{"name": "b"}')


@pytest.mark.parametrize(
    "start",
    [
        OK + b'Content-Length: 100\r\n\r\n{"hits',
        OK + b'Transfer-Encoding: chunked\r\n\r\n6\r\n{"hits\r\n',
    ],
)
def test_a_node_that_breaks_off_in_the_body(start: bytes) -> None:
    """Of a relayed answer bytes have been passed on; a search's is held, and asked for again."""
    with (
        upstream(named("a", say(start))) as a,
        upstream(named("b", say(start))) as b,
        cluster_of(a, b) as proxy,
    ):
        assert_cut(ask(proxy, GET))
        assert len(asked(a)) + len(asked(b)) == 1
        b.script = named("b", lambda _, c: answer(c, 200, EMPTY))
        for _ in range(2):
            status, head, body = ask(proxy, SEARCH, b"Content-Type: application/json", body=b"{}")
            assert status == 200
            assert json.loads(body)["hits"] == json.loads(EMPTY)["hits"]
            assert find(head, "x-es-rerank") == ["skipped; reason=few-hits"]


def test_who_was_silent_may_be_at_work_still() -> None:
    """A request that timed out is not sent again; the node stays in when it answers its check."""
    with (
        upstream(named("a", lambda *_: None)) as a,
        upstream(named("b", lambda *_: None)) as b,
        cluster_of(a, b, timeout_s=1.0) as proxy,
    ):
        got = ask(proxy, GET)
        assert_error(got, 504, "upstream_timeout_exception", "http://.* did not answer within 1 s")
        assert len(asked(a)) + len(asked(b)) == 1
        wait_until(lambda: b"/" in {r.target for r in [*a.requests, *b.requests]})
        assert nodes_in() == 2


def test_a_node_that_hangs_is_put_out_and_comes_back() -> None:
    hangs = threading.Event()
    hangs.set()

    def script(request: Request, connection: socket.socket) -> None:
        if not hangs.is_set():
            named("a")(request, connection)

    with (
        upstream(script) as a,
        upstream(named("b")) as b,
        cluster_of(a, b, timeout_s=1.0) as proxy,
    ):
        statuses = [ask(proxy, GET)[0] for _ in range(2)]
        assert sorted(statuses) == [200, 504]
        wait_until(lambda: nodes_in() == 1)
        assert {ask(proxy, GET)[::2] for _ in range(4)} == {(200, b'{"name": "b"}')}
        hangs.clear()
        wait_until(lambda: nodes_in() == 2)
        assert {ask(proxy, GET)[2] for _ in range(2)} == {b'{"name": "a"}', b'{"name": "b"}'}


def test_all_nodes_out_is_503_at_once_until_one_is_back() -> None:
    with (
        unused_port() as first,
        upstream(named("a")) as a,
        cluster_of(first, a.address[1], check_interval_s=0.2) as proxy,
    ):
        assert ask(proxy, GET)[0] == 200
        a.script = lambda _, c: c.shutdown(socket.SHUT_RDWR)
        ask(proxy, GET)
        wait_until(lambda: nodes_in() == 0)
        for line in (GET, BULK, SEARCH):
            before = len(asked(a))
            assert_error(
                ask(proxy, line, b"Content-Type: application/json", body=b"{}"),
                503,
                "no_healthy_node_exception",
                "every node of the cluster is out; they are tried again shortly",
            )
            assert len(asked(a)) == before
        a.script = named("a")
        wait_until(lambda: nodes_in() == 1)
        assert ask(proxy, BULK, body=b"{}")[0] == 200


def test_a_single_node_is_always_tried() -> None:
    with unused_port() as port, cluster_of(port, check_interval_s=60) as proxy:
        assert ask(proxy, GET)[0] == 502
    with upstream(named("a")) as a:
        down, a.script = named("a"), lambda _, c: c.shutdown(socket.SHUT_RDWR)
        with cluster_of(a, check_interval_s=60) as proxy:
            assert ask(proxy, GET)[0] == 502
            a.script = down
            assert ask(proxy, GET)[0] == 200


def test_nodes_are_checked_always_when_wanted() -> None:
    with upstream(named("a")) as a, upstream(named("b")) as b:
        with cluster_of(a, b, check_nodes="always"):
            wait_until(lambda: all(len(n.requests) >= 2 for n in (a, b)))
            a.script = lambda _, c: c.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: nodes_in() == 1)
            a.script = named("a")
            wait_until(lambda: nodes_in() == 2)
        with cluster_of(a, b):
            count = len(a.requests)
            time.sleep(0.3)
            assert len(a.requests) == count


def test_a_gateway_without_a_node_is_no_node() -> None:
    with (
        upstream(lambda _, c: answer(c, 502)) as gateway,
        upstream(named("b")) as b,
        cluster_of(gateway, b, check_nodes="always") as proxy,
    ):
        wait_until(lambda: nodes_in() == 1)
        assert {ask(proxy, GET)[2] for _ in range(4)} == {b'{"name": "b"}'}


@pytest.mark.parametrize("others", [0, 1])
def test_a_node_that_takes_no_connection(others: int) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = full.getsockname()
        for _ in range(4):  # what the queue does not hold is not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        more = [stack.enter_context(upstream(named("a"))) for _ in range(others)]
        proxy = stack.enter_context(cluster_of(address[1], *more, connect_timeout_s=0.5))
        began = time.perf_counter()
        got = ask(proxy, BULK, body=b"{}")
        assert time.perf_counter() - began < 10
        if others:
            assert got[0] == 200
        else:
            reason = f"http://127.0.0.1:{address[1]} took no connection within 0.5 s"
            assert_error(got, 504, "upstream_timeout_exception", reason)
