"""Reading through a point in time: what an alias hides stays hidden, nothing stays open."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest

from es_rerank.cluster.bulk import send_stream
from es_rerank.cluster.client import SearchClient, connect
from es_rerank.cluster.source import count_documents, open_source, read_documents
from es_rerank.engine.node import Node
from es_rerank.errors import ConfigError


@pytest.fixture
def client(engine: Node) -> Iterator[SearchClient]:
    with closing(connect(engine.url)) as client:
        yield client


def _fill(client: SearchClient, index: str, shards: int, count: int) -> None:
    settings = {"number_of_shards": shards, "number_of_replicas": 0}
    client.request("PUT", f"/{index}", {"settings": settings})
    actions = [
        ({"index": {"_index": index, "_id": str(n)}}, f'{{"n":{n},"even":{n % 2 == 0}}}'.lower())
        for n in range(count)
    ]
    assert all(ok for ok, _ in send_stream(client, actions, chunk_size=500))
    client.request("POST", f"/{index}/_refresh")


def _open_contexts(client: SearchClient) -> int:
    nodes = client.request("GET", "/_nodes/stats/indices/search")["nodes"].values()
    return sum(node["indices"]["search"]["open_contexts"] for node in nodes)


@pytest.mark.parametrize(("shards", "page_size"), [(1, 10), (1, 100), (3, 7), (7, 1), (5, 100)])
def test_page_sizes_at_every_edge(
    client: SearchClient, index_name: str, shards: int, page_size: int
) -> None:
    _fill(client, index_name, shards, 100)
    source = open_source(client, index_name)
    read = [
        document.source["n"] for document in read_documents(client, source, page_size=page_size)
    ]
    assert sorted(read) == list(range(100))


def test_an_alias_with_a_filter(client: SearchClient, index_name: str) -> None:
    _fill(client, index_name, 3, 90)
    alias = f"{index_name}-even"
    add = {"index": index_name, "alias": alias, "filter": {"term": {"even": True}}}
    client.request("POST", "/_aliases", {"actions": [{"add": add}]})
    source = open_source(client, alias)
    assert (source.name, source.index) == (alias, index_name)
    read = [document.source["n"] for document in read_documents(client, source, page_size=11)]
    assert sorted(read) == list(range(0, 90, 2))
    assert count_documents(client, alias) == 45


def test_no_point_in_time_stays_open(client: SearchClient, index_name: str) -> None:
    _fill(client, index_name, 3, 30)
    source = open_source(client, index_name)
    before = _open_contexts(client)
    list(read_documents(client, source, page_size=4))
    with closing(read_documents(client, source, page_size=4)) as begun:
        assert len(list(itertools.islice(begun, 9))) == 9
        assert _open_contexts(client) > before
    assert _open_contexts(client) == before


def test_sources_that_will_not_do(client: SearchClient, index_name: str) -> None:
    with pytest.raises(ConfigError, match="no index"):
        open_source(client, index_name)
    with pytest.raises(ConfigError, match="no index"):
        open_source(client, f"{index_name}*")
    hidden = {"mappings": {"_source": {"enabled": False}}}
    client.request("PUT", f"/{index_name}", hidden)
    with pytest.raises(ConfigError, match="does not keep the whole `_source`"):
        open_source(client, index_name)
