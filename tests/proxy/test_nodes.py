"""`GET /_nodes` with our address: which requests, and that nothing else changes."""

from __future__ import annotations

import json

import pytest

from es_rerank.proxy.nodes import NODES_PATH, as_address, rewrite_nodes
from tests.proxy.wire import Request, answer, ask, find, proxy_settings, serve_app, upstream

HTTP = {"bound_address": ["10.0.0.1:9200"], "publish_address": "es1/10.0.0.1:9200", "max": 10**20}
NODES = {
    "_nodes": {"total": 2},
    "nodes": {
        "a": {"name": "a", "transport_address": "10.0.0.1:9300", "http": HTTP},
        "b": {"name": "b", "roles": ["master"], "http": {"publish_address": "[::1]:9200"}},
        "c": {"name": "no http"},
    },
}
OURS = json.loads(json.dumps(NODES))
OURS["nodes"]["a"]["http"].update(publish_address="proxy:9400", bound_address=["proxy:9400"])
OURS["nodes"]["b"]["http"]["publish_address"] = "proxy:9400"


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        (b"/_nodes", True),
        (b"/_nodes/http", True),
        (b"/_nodes/_all/http", True),
        (b"/_nodes/a,b/http,os", True),
        (b"/_nodes/", True),
        (b"/_nodes/stats", False),
        (b"/_nodes/a/stats/http", False),
        (b"/_nodes/hot_threads", False),
        (b"/_nodes/a/usage", False),
        (b"/idx/_nodes", False),
        (b"/_nodesx", False),
        (b"/_cat/nodes", False),
    ],
)
def test_which_requests(path: bytes, fits: bool) -> None:
    assert (NODES_PATH.match(path) is not None) == fits


def test_addresses_are_replaced_and_nothing_else() -> None:
    raw = json.dumps(NODES, indent=1).encode()
    assert json.loads(rewrite_nodes(raw, "proxy:9400")) == OURS


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"nodes", b'{"nodes": 1}', b'{"a": {}}', b'{"nodes": {"a": {"http": 7}}}']
)
def test_what_is_no_answer_about_nodes_stays(body: bytes) -> None:
    assert rewrite_nodes(body, "proxy:9400") == body


@pytest.mark.parametrize(
    ("host", "address"),
    [("p:1", "p:1"), ("p", "p:80"), ("[::1]:9400", "[::1]:9400"), ("[::1]", "[::1]:80"), ("", "")],
)
def test_the_address_in_host(host: str, address: str) -> None:
    assert as_address(host) == address


@pytest.mark.parametrize("public", [None, "search.example:443"])
def test_sniffers_are_told_our_address(public: str | None) -> None:
    def script(request: Request, connection: object) -> None:
        assert request.headers("accept-encoding") == []
        body = json.dumps(NODES).encode()
        answer(connection, 200, body, {"Content-Type": "application/json", "X-A": "b"})  # type: ignore[arg-type]

    with (
        upstream(script) as raw,
        serve_app(
            proxy_settings(
                raw.url, upstream={"rewrite_nodes": True}, proxy={"public_address": public}
            )
        ) as (proxy, _),
    ):
        status, head, body = ask(proxy, b"GET /_nodes/http?x=1", b"Accept-Encoding: gzip")
    told = {
        node["http"]["publish_address"]
        for node in json.loads(body)["nodes"].values()
        if "http" in node
    }
    assert (status, told) == (200, {public or "proxy:80"})
    assert find(head, "x-a") == ["b"]
    assert raw.requests[0].target == b"/_nodes/http?x=1"


def test_errors_and_other_answers_pass() -> None:
    with (
        upstream(lambda _, c: answer(c, 403, json.dumps(NODES).encode())) as raw,
        serve_app(proxy_settings(raw.url, upstream={"rewrite_nodes": True})) as (proxy, _),
    ):
        status, _, body = ask(proxy, b"GET /_nodes/http")
        assert (status, json.loads(body)) == (403, NODES)
    with serve_app(proxy_settings(raw.url, upstream={"rewrite_nodes": True})) as (proxy, _):
        assert ask(proxy, b"GET /_nodes/http")[0] == 502


def test_without_the_setting_nothing_is_touched() -> None:
    raw_body = json.dumps(NODES, indent=3).encode()
    with (
        upstream(lambda _, c: answer(c, 200, raw_body)) as raw,
        serve_app(proxy_settings(raw.url)) as (proxy, _),
    ):
        assert ask(proxy, b"GET /_nodes/http")[2] == raw_body
