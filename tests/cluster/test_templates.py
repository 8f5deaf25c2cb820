"""Templates of both engines, and the destination that is made from them."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from es_rerank.cluster.client import Kind
from es_rerank.cluster.fields import find_fields
from es_rerank.cluster.source import SourceIndex
from es_rerank.cluster.templates import (
    COMPONENT,
    INDEX_TEMPLATE,
    count_fields,
    destination_body,
    load_component,
    load_template,
)

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
