"""Serving: addresses that are taken, models that do not load, an end without loose threads."""

from __future__ import annotations

import socket
import threading

import pytest

from es_rerank.errors import ConfigError, EsRerankError
from es_rerank.proxy.server import listen, serve_in_thread
from tests.proxy.wire import ask, proxy_settings


def test_a_taken_port_is_told_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*--port"):
            listen("127.0.0.1", port)


def test_a_foreign_address_is_told() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_a_model_that_does_not_load_is_told_and_nothing_is_left() -> None:
    before = set(threading.enumerate())
    with (
        pytest.raises(EsRerankError, match="nonsense"),
        serve_in_thread(proxy_settings("http://127.0.0.1:9", "nonsense")),
    ):
        pass
    assert not {t for t in threading.enumerate() if t.name == "proxy"} - before


def test_it_serves_and_ends() -> None:
    with serve_in_thread(proxy_settings("http://127.0.0.1:9")) as url:
        assert ask(url, b"GET /_es_rerank/live")[0] == 200
    host, port = url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 1)
