"""Documents whose text is not shown: they keep the engine's place, the others are ranked round it.

Field-level security hides fields per document or caller; it needs a security plugin, so documents
that lack the field stand for it here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, request
from tests.proxy.wire import proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

QUERY = {"query": {"match": {"body": "shoe"}}, "size": 10}
WEIGHTS: dict[str, Any] = {
    "order_cache_s": 0,
    "relevance_weight": 1.0,
    "first_stage_weight": 0.0,
    "text_fields": ["title"],
    "diversify": {"diversity": 0.0},
}


def sources(hidden: set[int]) -> list[bytes]:
    """Ten documents whose engine order is by number; the model prefers high numbers."""
    return [
        json.dumps(
            {"body": "shoe " + "x " * i, **({} if i in hidden else {"title": f"shoe {i}"})}
        ).encode()
        for i in range(10)
    ]


def pages(engine: Node, index: str, **extra: Any) -> tuple[list[int], list[int], str]:
    """The engine's order, ours, and the mark."""
    body = {**QUERY, **extra}
    direct = request(engine.url, "POST", f"/{index}/_search", body)
    with (
        reranker(lambda query, text: float(text.rsplit(maxsplit=1)[-1])) as model,
        serve_app(proxy_settings(engine.url, model.url, rerank=WEIGHTS)) as (proxied, _),
    ):
        answer = request(proxied, "POST", f"/{index}/_search", body)
    found = [[int(h["_id"]) for h in a.json()["hits"]["hits"]] for a in (direct, answer)]
    return found[0], found[1], answer.headers["X-Es-Rerank"]


MAPPING = {"properties": {"title": {"type": "text"}, "body": {"type": "text"}}}


@pytest.mark.parametrize("extra", [{}, {"_source": False}, {"_source": ["body"]}])
def test_hits_without_text_keep_their_place(
    engine: Node, index_name: str, extra: dict[str, Any]
) -> None:
    load(engine.url, index_name, sources({0, 4, 7}), MAPPING)
    engines, ours, mark = pages(engine, index_name, **extra)
    assert (engines, mark) == (list(range(10)), "applied")
    assert ours == [0, 9, 8, 6, 4, 5, 3, 7, 2, 1]


def test_an_index_without_source_keeps_the_engines_order(engine: Node, index_name: str) -> None:
    load(engine.url, index_name, sources(set()), {**MAPPING, "_source": {"enabled": False}})
    engines, ours, mark = pages(engine, index_name)
    assert ours == engines == list(range(10))
    assert mark == "applied"


def test_stored_fields_serve_where_there_is_no_source(engine: Node, index_name: str) -> None:
    stored = {"title": {"type": "text", "store": True}, "body": {"type": "text"}}
    mapping = {"properties": stored, "_source": {"enabled": False}}
    load(engine.url, index_name, sources(set()), mapping)
    _, ours, mark = pages(engine, index_name, stored_fields=["title"])
    assert (ours, mark) == (list(range(9, -1, -1)), "applied")


def test_synthetic_sources_are_read(elasticsearch: Node, index_name: str) -> None:
    settings = {"index.mapping.source.mode": "synthetic"}
    probe = {"settings": settings, "mappings": MAPPING}
    made = request(elasticsearch.url, "PUT", f"/{index_name}-probe", probe)
    if made.status != 200:
        pytest.skip("this Elasticsearch has no synthetic sources")
    load(elasticsearch.url, index_name, sources(set()), MAPPING, **settings)
    _, ours, mark = pages(elasticsearch, index_name)
    assert (ours, mark) == (list(range(9, -1, -1)), "applied")
