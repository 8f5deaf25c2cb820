"""The token, and the admin routes' own address, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from es_rerank.config import load_settings
from es_rerank.errors import ConfigError
from es_rerank.proxy.admin.door import Door, Visitor
from es_rerank.proxy.server import listen_all
from tests.proxy.wire import RawUpstream, ask, find, proxy_settings, serve_app, upstream

TOKEN = "correct-horse"
PAGES = [b"metrics", b"info", b"compare", b"explain-plan", b"pipeline", b"pipeline/one"]


def test_without_a_token_everybody_comes_in_untrusted() -> None:
    shown = [(b"Authorization", b"Bearer x"), (b"x-es-rerank-token", b"y")]
    assert Door(None).admit(shown) == Visitor(((b"authorization", b"Bearer x"),), False)


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ([(b"Authorization", b"Bearer correct-horse")], ()),
        ([(b"authorization", b"bearer  correct-horse ")], ()),
        (
            [(b"X-Es-Rerank-Token", b"correct-horse"), (b"authorization", b"ApiKey k")],
            ((b"authorization", b"ApiKey k"),),
        ),
        (
            [(b"X-Es-Rerank-Token", b"correct-horse"), (b"authorization", b"Bearer clusters")],
            ((b"authorization", b"Bearer clusters"),),
        ),
    ],
)
def test_the_token_opens_and_is_taken_out(
    headers: list[tuple[bytes, bytes]], left: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert Door(SecretStr(TOKEN)).admit(headers) == Visitor(left, True)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer correct-horse-")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic correct-horse")],
        [(b"x-es-rerank-token", b"Correct-horse")],
        [(b"cookie", b"correct-horse")],
    ],
)
def test_nothing_else_opens(headers: list[tuple[bytes, bytes]]) -> None:
    assert Door(SecretStr(TOKEN)).admit(headers) is None


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[str, RawUpstream]]:
    with (
        upstream() as raw,
        serve_app(proxy_settings(raw.url, admin={"token": TOKEN})) as (proxy, _),
    ):
        yield proxy, raw


@pytest.mark.parametrize("page", PAGES)
def test_every_page_wants_the_token(stand: tuple[str, RawUpstream], page: bytes) -> None:
    stand[1].requests.clear()
    for shown in ([], [b"Authorization: Bearer wrong"], [b"X-Es-Rerank-Token: wrong"]):
        status, head, body = ask(stand[0], b"GET /_es_rerank/" + page, *shown)
        assert (status, json.loads(body)["status"]) == (401, 401)
        assert json.loads(body)["error"]["type"] == "security_exception"
        assert find(head, "www-authenticate") == ['Bearer realm="es-rerank"']
        assert TOKEN not in head.decode() + body.decode()
    assert stand[1].requests == []


@pytest.mark.parametrize("page", [b"live", b"ready"])
def test_live_and_ready_want_none(stand: tuple[str, RawUpstream], page: bytes) -> None:
    assert ask(stand[0], b"GET /_es_rerank/" + page)[0] == 200


@pytest.mark.parametrize("page", [b"metrics", b"info", b"compare", b"explain-plan"])
def test_the_token_opens_every_page(stand: tuple[str, RawUpstream], page: bytes) -> None:
    bearer = f"Authorization: Bearer {TOKEN}".encode()
    assert ask(stand[0], b"GET /_es_rerank/" + page, bearer)[0] == 200
    assert ask(stand[0], b"HEAD /_es_rerank/" + page, bearer)[0] == 200


def test_the_token_never_reaches_the_cluster(stand: tuple[str, RawUpstream]) -> None:
    stand[1].requests.clear()
    both = [f"X-Es-Rerank-Token: {TOKEN}".encode(), b"Authorization: ApiKey mine"]
    ask(stand[0], b"GET /_es_rerank/info?index=a", *both)
    ask(stand[0], b"GET /_es_rerank/info?index=b", f"Authorization: Bearer {TOKEN}".encode())
    assert [r.headers("authorization") for r in stand[1].requests] == [[b"ApiKey mine"], []]
    assert all(TOKEN.encode() not in request.head for request in stand[1].requests)


def test_a_browser_gets_the_compare_page_that_asks(stand: tuple[str, RawUpstream]) -> None:
    line = b"GET /_es_rerank/compare"
    status, head, body = ask(stand[0], line, b"Accept: text/html,*/*;q=0.8")
    assert (status, find(head, "www-authenticate")) == (401, ['Bearer realm="es-rerank"'])
    assert b'name="token"' in body


def test_searches_and_the_rest_need_no_token(stand: tuple[str, RawUpstream]) -> None:
    assert ask(stand[0], b"GET /products/_search")[0] == 200
    assert ask(stand[0], b"GET /_cat/indices")[0] == 200


def test_a_token_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    settings = load_settings(None, {"admin": {"token_file": str(file)}})
    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == "from-a-file"


def test_the_token_must_not_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "es-rerank.toml"
    file.write_text('[admin]\ntoken = "long-enough"\n')
    with pytest.raises(ConfigError, match="ES_RERANK_ADMIN__TOKEN"):
        load_settings(file)


def test_an_address_of_their_own() -> None:
    with (
        upstream() as raw,
        serve_app(proxy_settings(raw.url, admin={"port": 0})) as (proxy, app),
    ):
        admin = f"http://127.0.0.1:{app.admin_port}"
        for page in (b"live", b"ready"):
            assert ask(proxy, b"GET /_es_rerank/" + page)[0] == 200
            assert ask(admin, b"GET /_es_rerank/" + page)[0] == 200
        for page in (b"metrics", b"info", b"compare", b"explain-plan"):
            assert ask(proxy, b"GET /_es_rerank/" + page)[0] == 404
            assert ask(admin, b"GET /_es_rerank/" + page)[0] == 200
        raw.requests.clear()
        assert ask(proxy, b"GET /_cat/indices")[0] == 200
        assert ask(admin, b"GET /products/_search")[0] == 200  # the compare page asks this
        seen = len(raw.requests)
        for line in (b"GET /_cat/indices", b"DELETE /products", b"GET /", b"PUT /_search"):
            status, _, body = ask(admin, line)
            assert (status, json.loads(body)["error"]["type"]) == (404, "no_such_page")
        assert len(raw.requests) == seen


def test_one_port_for_both_is_refused() -> None:
    tables = {"proxy": {"port": 9411}, "admin": {"port": 9411}}
    with pytest.raises(ConfigError, match=r"both 9411"):
        listen_all(load_settings(None, tables))


def test_a_taken_admin_port_is_told_by_its_name() -> None:
    with upstream() as raw, pytest.raises(ConfigError, match=r"choose another port with \[admin\]"):
        listen_all(proxy_settings(raw.url, admin={"port": raw.address[1]}))
