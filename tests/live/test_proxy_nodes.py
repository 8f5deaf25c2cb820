"""Several addresses and sniffing clients before real engines."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from opensearchpy import OpenSearch

from es_rerank.cluster.client import connect_upstream
from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread

pytestmark = pytest.mark.live


@contextlib.contextmanager
def proxy(*urls: str, **upstream: Any) -> Iterator[str]:
    tables = {
        "upstream": {"url": list(urls), **upstream},
        "proxy": {"port": 0},
        "rerank": {"enabled": False},
    }
    with serve_in_thread(load_settings(None, tables)) as url:
        yield url


def connect(engine: Node, url: str, **options: Any) -> Any:
    make: Any = Elasticsearch if engine.kind == "elasticsearch" else OpenSearch
    return make(url, max_retries=0, **options)


def test_a_dead_address_among_the_nodes(engine: Node, index_name: str) -> None:
    """Every call succeeds, writes too, and each document is there once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with proxy(dead, engine.url) as url, contextlib.closing(connect(engine, url)) as client:
            body = "document" if engine.kind == "elasticsearch" else "body"
            for i in range(10):
                client.index(index=index_name, **{body: {"n": i}})
            client.indices.refresh(index=index_name)
            for _ in range(4):
                assert client.count(index=index_name)["count"] == 10
                assert client.search(index=index_name)["hits"]["total"]["value"] == 10


def test_commands_find_the_node_that_lives(engine: Node) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{unused.getsockname()[1]}", engine.url]
        client = connect_upstream(load_settings(None, {"upstream": {"url": urls}}).upstream)
    assert client.kind == engine.kind
    client.close()


def test_sniffing_clients_stay_with_the_proxy(engine: Node) -> None:
    options: dict[str, Any] = (
        {"sniff_on_start": True, "sniff_on_connection_fail": True}
        if engine.kind == "opensearch"
        else {"sniff_on_start": True, "sniff_on_node_failure": True}
    )
    with (
        proxy(engine.url, rewrite_nodes=True) as url,
        contextlib.closing(connect(engine, url, **options)) as client,
    ):
        assert client.info()["version"]["number"] == engine.version
        assert addresses(engine, client) == {url}
        assert client.search(size=1)["timed_out"] is False


def test_without_rewriting_they_leave(engine: Node) -> None:
    """What the documentation warns of."""
    with (
        proxy(engine.url) as url,
        contextlib.closing(connect(engine, url, sniff_on_start=True)) as client,
    ):
        assert client.info()["version"]["number"] == engine.version
        assert engine.url in addresses(engine, client)


def addresses(engine: Node, client: Any) -> set[str]:
    """The nodes that a client would send its next request to."""
    if engine.kind == "opensearch":
        return {connection.host for connection in client.transport.connection_pool.connections}
    return {node.base_url for node in client.transport.node_pool.all()}
