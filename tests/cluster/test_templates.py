"""Templates of both engines, and the destination that is made from them."""

from __future__ import annotations

import base64
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args

import pytest

from es_rerank.cluster.client import SearchClient, connect
from es_rerank.cluster.document import Hit
from es_rerank.cluster.fields import find_fields
from es_rerank.cluster.server import Kind
from es_rerank.cluster.source import SourceIndex, count_documents
from es_rerank.cluster.templates import (
    COMPONENT,
    INDEX_TEMPLATE,
    count_fields,
    destination_body,
    install_templates,
    load_component,
    load_template,
    swap_alias,
)
from es_rerank.engine.node import Node

KINDS: tuple[Kind, ...] = get_args(Kind)
SOURCE = SourceIndex(
    "shop",
    "shop-v1",
    {
        "dynamic": "strict",
        "_meta": {"owner": "search team"},
        "properties": {"标题": {"type": "text", "analyzer": "mine"}},
    },
    {
        "index.number_of_shards": "5",
        "index.number_of_replicas": "2",
        "index.analysis.analyzer.mine.tokenizer": "standard",
        "index.uuid": "u",
        "index.provided_name": "shop-v1",
        "index.creation_date": "1",
        "index.version.created": "9",
        "index.blocks.write": "true",
        "index.lifecycle.name": "delete-after-30-days",
        "index.default_pipeline": "stamp",
        "index.refresh_interval": "30s",
    },
    5,
)


@pytest.mark.parametrize("kind", KINDS)
def test_templates_belong_together(kind: Kind) -> None:
    index_template = load_template(kind, INDEX_TEMPLATE)
    assert index_template["composed_of"] == [COMPONENT]
    template = load_component(kind, 384)["template"]
    fields = find_fields(template["mappings"])
    assert (fields.vector, fields.code) == ("es_rerank.vector", "es_rerank.code")
    own = template["mappings"]["properties"]["es_rerank"]["properties"]
    assert own["code"] == {"type": "binary", "doc_values": True}
    expected = {"title", "summary", "vector", "code", "sentiment", "graph", "provenance"}
    assert set(own) == expected


def test_both_engines_have_the_same_fields() -> None:
    shapes = []
    for kind in KINDS:
        own = load_component(kind, 8)["template"]["mappings"]["properties"]["es_rerank"]
        del own["properties"]["vector"]
        shapes.append(own)
    assert shapes[0] == shapes[1]


def test_the_dimension_is_the_models() -> None:
    def vector(kind: Kind) -> dict[str, object]:
        own = load_component(kind, 8)["template"]["mappings"]["properties"]["es_rerank"]
        found: dict[str, object] = own["properties"]["vector"]
        return found

    assert vector("opensearch")["dimension"] == 8
    assert vector("elasticsearch")["dims"] == 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_destination_copies_what_makes_the_source_searchable(kind: Kind) -> None:
    body = destination_body(kind, SOURCE, 8, {"model": "m"})
    expected = {
        "index.number_of_shards": "5",
        "index.number_of_replicas": "2",
        "index.analysis.analyzer.mine.tokenizer": "standard",
        "index.refresh_interval": "-1",
    }
    del body["settings"]["index.mapping.total_fields.limit"]
    if kind == "opensearch":
        expected["index.knn"] = True  # type: ignore[assignment]
    assert body["settings"] == expected
    mappings = body["mappings"]
    assert mappings["dynamic"] == "strict"
    assert mappings["_meta"] == {"owner": "search team", "es_rerank": {"model": "m"}}
    assert mappings["properties"]["标题"] == {"type": "text", "analyzer": "mine"}
    assert "vector" in mappings["properties"]["es_rerank"]["properties"]
    assert "es_rerank" not in SOURCE.mappings["properties"]  # not changed in place


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_room_for_our_fields_but_the_limit_does_not_creep_up(kind: Kind) -> None:
    limit = "index.mapping.total_fields.limit"
    first = destination_body(kind, SOURCE, 8, {})
    own = count_fields(first["mappings"]["properties"]["es_rerank"])
    assert own > 20
    assert first["settings"][limit] == 1000 + own
    again = dataclasses.replace(
        SOURCE, mappings=first["mappings"], settings={limit: str(first["settings"][limit])}
    )
    assert destination_body(kind, again, 8, {})["settings"][limit] == str(1000 + own)


TEMPLATES = ("/_index_template/es-rerank", "/_component_template/es-rerank-fields")


@pytest.fixture
def client(engine: Node) -> Iterator[SearchClient]:
    with closing(connect(engine.url)) as client:
        yield client


def _search_near(client: SearchClient, index: str, vector: list[float]) -> list[Hit]:
    field = "es_rerank.vector"
    body: dict[str, Any] = {"query": {"knn": {field: {"vector": vector, "k": 5}}}}
    if client.kind == "elasticsearch":
        body = {"knn": {"field": field, "query_vector": vector, "k": 5, "num_candidates": 50}}
    return client.search(index, body).hits


def test_the_alias_is_never_away(client: SearchClient, index_name: str) -> None:
    alias = f"{index_name}-er"
    for number in (1, 2):
        client.request("PUT", f"/{alias}-00000{number}", {"settings": {"number_of_shards": 1}})
    swap_alias(client, alias, f"{alias}-000001")
    stop = threading.Event()
    seen: list[list[str]] = []
    failed: list[BaseException] = []

    def watch() -> None:
        try:
            with closing(connect(client.url)) as other:
                while not stop.is_set():
                    seen.append(sorted(other.request("GET", f"/_alias/{alias}")))
                    count_documents(other, alias)
        except BaseException as error:
            failed.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for turn in range(30):
            before = swap_alias(client, alias, f"{alias}-00000{2 - turn % 2}")
            assert before == [f"{alias}-00000{1 + turn % 2}"]
    finally:
        stop.set()
        watcher.join()
    assert not failed
    assert {tuple(names) for names in seen} <= {(f"{alias}-000001",), (f"{alias}-000002",)}


def test_templates_make_an_index_that_takes_documents(client: SearchClient) -> None:
    index = "es-rerank-template-test"
    assert install_templates(client, 8) == install_templates(client, 8)
    try:
        own = {
            "title": "t",
            "summary": "s",
            "vector": [1, 0, 0, 0, 0, 0, 0, 0],
            "code": base64.b64encode(bytes(8)).decode(),
            "sentiment": {"polarity": 0.5, "confidence": 0.9, "count": 3},
            "graph": {"type": "shoe", "similar_to": ["a", "b"]},
            "provenance": {"vector": {"model": "m", "time": "2026-01-01T00:00:00Z"}},
        }
        body = {"title": "t", "es_rerank": own}
        client.request("PUT", f"/{index}/_doc/1", body, params={"refresh": True})
        mappings = client.request("GET", f"/{index}")[index]["mappings"]
        fields = find_fields(mappings)
        assert (fields.vector, fields.code) == ("es_rerank.vector", "es_rerank.code")
        assert mappings["properties"]["es_rerank"]["properties"]["graph"]["properties"]["type"] == {
            "type": "keyword"
        }
        assert len(_search_near(client, index, [1.0] + [0.0] * 7)) == 1
    finally:
        client.request("DELETE", f"/{index}", allow=(404,))
        for path in TEMPLATES:
            client.request("DELETE", path, allow=(404,))
