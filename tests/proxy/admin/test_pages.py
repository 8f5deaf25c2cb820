"""The proxy's own pages."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from es_rerank import __version__
from es_rerank.proxy.admin.pages import without_credentials
from tests.proxy.wire import RawUpstream, ask, find, proxy_settings, serve_app, upstream


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[str, RawUpstream]]:
    with (
        upstream() as raw,
        serve_app(proxy_settings(raw.url, upstream={"api_key": "key"})) as (proxy, _),
    ):
        yield proxy, raw


def test_live_never_asks_the_cluster(stand: tuple[str, RawUpstream]) -> None:
    stand[1].requests.clear()
    assert ask(stand[0], b"GET /_es_rerank/live")[::2] == (200, b'{"live": true}')
    assert stand[1].requests == []


def test_ready_asks_the_cluster_as_itself(stand: tuple[str, RawUpstream]) -> None:
    stand[1].requests.clear()
    status, _, body = ask(stand[0], b"GET /_es_rerank/ready", b"Authorization: Basic other")
    assert (status, json.loads(body)) == (200, {"ready": True, "model": True, "upstream": True})
    assert stand[1].requests[0].headers("authorization") == [b"ApiKey key"]


def test_ready_says_what_is_missing() -> None:
    with serve_app(proxy_settings("http://127.0.0.1:9")) as (proxy, _):
        status, _, body = ask(proxy, b"GET /_es_rerank/ready")
    state = json.loads(body)
    (reason,) = state.pop("reasons")
    assert (status, state) == (503, {"ready": False, "model": True, "upstream": False})
    assert reason.startswith("upstream: http://127.0.0.1:9 cannot be reached")


def test_metrics_are_prometheus_text(stand: tuple[str, RawUpstream]) -> None:
    status, head, body = ask(stand[0], b"GET /_es_rerank/metrics")
    assert status == 200
    assert find(head, "content-type")[0].startswith("text/plain; version=")
    assert f'es_rerank_build_info{{version="{__version__}"}} 1.0' in body.decode()


def test_info(stand: tuple[str, RawUpstream]) -> None:
    status, _, body = ask(stand[0], b"GET /_es_rerank/info")
    info = json.loads(body)
    assert (status, info["version"], info["upstream"]) == (200, __version__, stand[1].url)
    assert info["model"] == {"kind": "remote", "name": "127.0.0.1:9"}
    assert (info["rank_window_size"], "fields" in info) == (100, False)


def test_compare_page_is_sealed_and_can_be_switched_off(stand: tuple[str, RawUpstream]) -> None:
    status, head, body = ask(stand[0], b"GET /_es_rerank/compare")
    assert (status, body[:15].lower()) == (200, b"<!doctype html>")
    assert find(head, "content-security-policy")[0].startswith("default-src 'none'")
    assert find(head, "x-content-type-options") == ["nosniff"]
    with serve_app(proxy_settings(stand[1].url, proxy={"compare": False})) as (proxy, _):
        assert ask(proxy, b"GET /_es_rerank/compare")[0] == 404


@pytest.mark.parametrize(
    "page",
    [b"live", b"ready", b"metrics", b"info", b"compare", b"explain-plan", b"none"],
)
def test_head_has_no_body(stand: tuple[str, RawUpstream], page: bytes) -> None:
    status, head, body = ask(stand[0], b"HEAD /_es_rerank/" + page)
    assert (status, body) == (404 if page == b"none" else 200, b"")
    assert int(find(head, "content-length")[0]) > 0


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /_es_rerank/live", 405),
        (b"GET /_es_rerank/", 404),
        (b"GET /_es_rerank/nothing", 404),
        (b"GET /_es_rerank/info/more", 404),
        (b"PUT /_es_rerank/pipeline", 405),
        (b"POST /_es_rerank/pipeline/one", 405),
        (b"GET /%5fes_rerank/../_cat", 404),
    ],
)
def test_errors_have_the_engines_shape(
    stand: tuple[str, RawUpstream], line: bytes, status: int
) -> None:
    stand[1].requests.clear()
    got, _, body = ask(stand[0], line)
    assert (got, json.loads(body)["status"]) == (status, status)
    assert stand[1].requests == []


def test_addresses_without_credentials() -> None:
    assert without_credentials("http://a:b@c:1") == "http://c:1"
    assert without_credentials("http://c:1") == "http://c:1"
