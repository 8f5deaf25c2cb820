"""SIGHUP: settings that change while the proxy runs, and those that cannot."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_rerank.config import Settings, load_settings
from es_rerank.proxy.process.reload import join_settings
from tests.proxy.process.faulty_scorer import install
from tests.proxy.process.proxies import Proxy, running, tables
from tests.proxy.search.test_handler import Cluster
from tests.proxy.wire import upstream


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with upstream(Cluster()) as raw:
        yield raw.url


class Client:
    """A client that keeps its connection."""

    def __init__(self, proxy: Proxy) -> None:
        host, port = proxy.url.removeprefix("http://").split(":")
        self.connection = socket.create_connection((host, int(port)), 20)
        self.stream = self.connection.makefile("rb")

    def search(self) -> str:
        """Search on the same connection. Returns X-Es-Rerank."""
        body = json.dumps({"query": {"match": {"title": "shoes"}}}).encode()
        self.connection.sendall(
            b"POST /shop/_search HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = {}
        while (line := self.stream.readline().strip()) and line:
            name, _, value = line.decode().partition(": ")
            head[name.lower()] = value
        self.stream.read(int(head["content-length"]))
        return head["x-es-rerank"]


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_change_and_no_connection_is_dropped(
    tmp_path: Path, url: str, workers: int
) -> None:
    proxied = {"workers": workers}
    with running(tmp_path, tables(url, proxy=proxied)) as proxy:
        proxy.wait_until_applied()
        client = Client(proxy)
        proxy.wait_for(lambda: client.search() == "applied", "not applied")
        proxy.reload(tables(url, proxy=proxied, rerank={"enabled": False}))
        assert client.search() == "skipped; reason=disabled"
        shop = {"enabled": False}
        proxy.reload(tables(url, proxy=proxied, indices={"shop": shop}))
        assert client.search() == "skipped; reason=disabled"
        proxy.reload(tables(url, proxy=proxied))
        assert client.search() == "applied"
        client.stream.close()
        client.connection.close()


def test_a_wrong_configuration_is_told_and_the_old_one_stays(tmp_path: Path, url: str) -> None:
    with running(tmp_path, tables(url)) as proxy:
        proxy.wait_until_applied()
        for wrong in ('[rerank]\ndiversity = "much"', "no toml", "[plugin]\nx = 1"):
            before = len(proxy.logged("the one in use stays"))
            proxy.file.write_text(wrong)
            proxy.signal(signal.SIGHUP)
            proxy.wait_for(
                lambda n=before: len(proxy.logged("the one in use stays")) > n,  # type: ignore[misc]
                "not told",
                20,
            )
            assert proxy.find()[1] == "applied"
        assert all(line["level"] == "error" for line in proxy.logged("the one in use stays"))
        proxy.reload(tables(url, rerank={"signals": {"nobody": 1.0}}) | {"rerank": {}})
        assert proxy.find()[0] == 200


def test_a_plugin_that_is_not_there_changes_nothing(tmp_path: Path, url: str) -> None:
    with running(tmp_path, tables(url)) as proxy:
        proxy.wait_until_applied()
        proxy.write(tables(url, rerank={"enabled": False, "signals": {"nobody": 1.0}}))
        proxy.signal(signal.SIGHUP)
        proxy.wait_for(lambda: proxy.logged("nobody"), "not told", 20)
        assert proxy.find()[1] == "applied"


def test_what_needs_a_restart_is_named(tmp_path: Path, url: str) -> None:
    with running(tmp_path, tables(url)) as proxy:
        proxy.reload(tables(url, proxy={"port": 1, "workers": 3}, upstream={"timeout_s": 5.0}))
        (told,) = proxy.logged("need a restart")
        assert told["settings"] == ["upstream.timeout_s", "proxy.port", "proxy.workers"]
        assert proxy.find()[0] == 200


def test_the_log_level_changes_unless_a_flag_sets_it(tmp_path: Path, url: str) -> None:
    with running(tmp_path, tables(url)) as proxy:
        proxy.wait_until_applied()  # signals are taken by now
        proxy.write(tables(url, telemetry={"log_level": "error"}, proxy={"port": 1}))
        proxy.signal(signal.SIGHUP)
        proxy.file.write_text("broken")
        proxy.signal(signal.SIGHUP)
        proxy.wait_for(lambda: proxy.logged("the one in use stays"), "not told", 20)


def test_a_model_that_is_missing_is_told_and_found_on_reload(tmp_path: Path, url: str) -> None:
    (tmp_path / "fault").write_text("")
    settings = tables(
        url,
        model={"kind": "plugin", "name": "faulty"},
        plugins={"faulty": {"file": str(tmp_path / "fault")}},
    )
    with running(tmp_path, settings) as proxy:
        proxy.wait_for(lambda: proxy.logged("the model cannot be loaded"), "not told")
        status, state = proxy.ready()
        assert status == 503
        assert "there is no scorer 'faulty'" in json.dumps(state)
        status, mark, ids = proxy.find()
        assert (status, mark) == (200, "fallback; reason=model-not-ready")
        assert ids == list(range(1, 11))
        install(tmp_path)
        proxy.reload(settings)
        assert proxy.find()[1] == "applied"
        assert proxy.ready()[0] == 200


def test_a_model_that_cannot_be_loaded_leaves_the_one_in_use(tmp_path: Path, url: str) -> None:
    with running(tmp_path, tables(url)) as proxy:
        proxy.wait_until_applied()
        proxy.reload(tables(url, model={"kind": "plugin", "name": "nobody"}))
        assert proxy.logged("the model in use stays")
        assert proxy.find()[1] == "applied"


def test_live_tables_change_and_others_are_named() -> None:
    old = Settings()
    new = load_settings(
        None, {"rerank": {"enabled": False}, "proxy": {"port": 1}, "plugins": {"a": {"b": 1}}}
    )
    joined, waiting = join_settings(old, new)
    assert joined.rerank.enabled is False
    assert joined.proxy == old.proxy
    assert set(waiting) == {"proxy.port", "plugins"}
