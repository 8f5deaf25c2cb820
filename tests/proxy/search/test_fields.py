"""Which settings an index has, and the catalogue's manners towards the cluster."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from es_rerank.cluster.fields import list_paths
from es_rerank.config import IndexSettings
from es_rerank.proxy.search.fields import find_index_settings, holds_path
from tests.proxy.wire import RawUpstream, Request, answer, ask, proxy_settings, serve_app, upstream

SHOP, LOGS, OWN = (IndexSettings(rank_window_size=n) for n in (1, 2, 3))
NAMED = {"products-*": SHOP, "logs": LOGS, "products-own": OWN}


@pytest.mark.parametrize(
    ("index", "found"),
    [
        (b"products-1", SHOP),
        (b"products-own", OWN),
        (b"logs", LOGS),
        (b"logs-1", None),
        (b"other,%20products-9", SHOP),
        (b"other,logs", LOGS),
        (b"%70roducts-2", SHOP),
        (b"", None),
    ],
)
def test_settings_by_name_or_pattern(index: bytes, found: IndexSettings | None) -> None:
    assert find_index_settings(index, NAMED) is found


MAPPINGS = {
    "shop": {"mappings": {"properties": {"title": {"type": "text"}, "brand": {"type": "keyword"}}}},
    ".hidden": {"mappings": {"properties": {"body": {"type": "text"}}}},
}


@pytest.fixture
def stand() -> Iterator[tuple[str, RawUpstream]]:
    def script(request: Request, connection: socket.socket) -> None:
        if request.headers("authorization") == [b"Basic refused"]:
            answer(connection, 403, b"{}")
        elif b"broken" in request.target:
            answer(connection, 200, b"[1]")
        else:
            answer(connection, 200, json.dumps(MAPPINGS).encode())

    with upstream(script) as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        yield proxy, raw


def fields(proxy: str, index: bytes, *headers: bytes) -> list[str]:
    status, _, body = ask(proxy, b"GET /_es_rerank/info?index=" + index, *headers)
    assert status == 200
    found: list[str] = json.loads(body)["fields"]["text"]
    return found


def test_mappings_are_read_once_for_each_caller(stand: tuple[str, RawUpstream]) -> None:
    proxy, raw = stand
    for _ in range(2):
        assert fields(proxy, b"shop") == ["title"]
        assert fields(proxy, b"shop", b"Authorization: Basic a") == ["title"]
        assert fields(proxy, b"shop", b"Authorization: Basic refused") == []
    assert [r.headers("authorization") for r in raw.requests] == [
        [],
        [b"Basic a"],
        [b"Basic refused"],
    ]


def test_an_odd_mapping_is_no_mapping(stand: tuple[str, RawUpstream]) -> None:
    assert fields(stand[0], b"broken") == []


def test_an_index_name_cannot_lead_elsewhere(stand: tuple[str, RawUpstream]) -> None:
    proxy, raw = stand
    fields(proxy, b"a/../_security/user%3Fx=%0d%0aX:1")
    assert raw.requests[0].line == (
        b"GET /a%2F..%2F_security%2Fuser%3Fx%3D%0D%0AX%3A1/_mapping HTTP/1.1"
    )


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("brand", True),
        ("brand.keyword", False),
        ("brnad", False),
        ("note", True),
        ("note.any.thing", True),
        ("labels.colour", True),
        ("seller.name", True),
        ("seller.nam", False),
        ("seller", True),
    ],
)
def test_paths_that_the_mapping_holds(path: str, held: bool) -> None:
    properties = {
        "brand": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
        "note": {"type": "object", "enabled": False},
        "labels": {"type": "flattened"},
        "seller": {"properties": {"name": {"type": "keyword"}}},
    }
    assert holds_path(frozenset(list_paths({"properties": properties})), path) is held
