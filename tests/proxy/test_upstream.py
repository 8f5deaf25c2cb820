"""Headers, addresses and credentials on the way to the cluster."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.config import load_settings
from es_rerank.errors import ConfigError
from es_rerank.proxy.upstream import Upstream, principal, write_lines
from es_rerank.proxy.wire.client import HOP_BY_HOP
from tests.proxy.wire import answer, upstream

NAMES = st.sampled_from(
    [b"Accept", b"X-A", b"x-b", b"TE", b"Upgrade", b"Host", b"Expect", b"Transfer-Encoding"]
)
HEADERS = st.lists(
    st.tuples(NAMES, st.just(b"1"))
    | st.tuples(st.just(b"Connection"), st.sampled_from([b"close", b"X-A, x-b", b" keep-alive "]))
)


def make(url: str, **settings: str) -> Upstream:
    return Upstream(load_settings(None, {"upstream": {"url": url, **settings}}).upstream)


@given(HEADERS)
def test_only_the_connections_own_headers_are_dropped(headers: list[tuple[bytes, bytes]]) -> None:
    lines, chunked = write_lines(headers, None)
    passed = [tuple(line.split(b": ")) for line in lines.split(b"\r\n") if line]
    named = {n.strip().lower() for k, v in headers if k == b"Connection" for n in v.split(b",")}
    dropped = HOP_BY_HOP | {b"host", b"expect", b"content-length"} | named
    assert passed == [(k, v) for k, v in headers if k.lower() not in dropped]
    assert not chunked
    assert lines.endswith(b"\r\n")


@pytest.mark.parametrize(
    "url", ["localhost:9200", "ftp://x", "http://", "nonsense", "", f"http://{'a' * 64}.example"]
)
def test_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        make(url)


@pytest.mark.parametrize(
    ("url", "settings", "expected", "header"),
    [
        ("http://c:1/", {}, "http://c:1", None),
        ("http://c:1/es", {}, "http://c:1/es", None),
        ("http://a:b@c:1", {}, "http://c:1", b"Basic YTpi"),
        ("http://a:b@c:1", {"api_key": "k"}, "http://c:1", b"ApiKey k"),
        ("http://c:1", {"username": "u", "password": "p:q"}, "http://c:1", b"Basic dTpwOnE="),
        ("http://a:b@c:1", {"username": "u", "password": "p"}, "http://c:1", b"Basic dTpw"),
    ],
)
def test_own_credentials(
    url: str, settings: dict[str, str], expected: str, header: bytes | None
) -> None:
    cluster = make(url, **settings)
    assert cluster.url == expected
    assert cluster.own_credentials() == ([(b"authorization", header)] if header else [])


def test_who_asks() -> None:
    headers = [(b"Authorization", b"a"), (b"Accept", b"b"), (b"es-security-runas-user", b"c")]
    assert principal(headers) == ((b"authorization", b"a"), (b"es-security-runas-user", b"c"))


def test_long_headers_of_the_cluster_pass() -> None:
    """Elasticsearch puts a whole deprecation into one Warning."""
    long = "299 " + "x" * 30_000

    async def ask(url: str) -> list[tuple[bytes, bytes]]:
        cluster = make(url)
        await cluster.open()
        try:
            return (await cluster.ask("GET", b"/", [], None, 100)).headers
        finally:
            await cluster.close()

    with upstream(lambda _, c: answer(c, 200, b"{}", {"Warning": long})) as raw:
        assert (b"Warning", long.encode()) in asyncio.run(ask(raw.url))
