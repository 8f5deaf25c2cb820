"""Vector searches on real engines: left alone by default, raised and reranked where allowed.

`rrf` and `linear` need modules that this Elasticsearch lacks; what is asked for then is in
tests/proxy/search/test_vectors.py. `hybrid` is in test_proxy_hybrid.py.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, request, without_took
from tests.proxy.wire import proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

INDEX = f"vectors-{uuid.uuid4().hex[:8]}"
DOCUMENTS, WINDOW = 60, 20


@dataclass(frozen=True)
class Stand:
    direct: str
    off: str
    on: str
    kind: str


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    """Documents 0 to 59, their vectors turning away from the first one's."""
    sources = [
        json.dumps({"title": f"shoe {i}", "vector": [60.0 - i, float(i + 1)]}).encode()
        for i in range(DOCUMENTS)
    ]
    knn = {"type": "knn_vector", "dimension": 2, "method": {"name": "hnsw", "engine": "lucene"}}
    dense = {"type": "dense_vector", "dims": 2, "index_options": {"type": "hnsw"}}
    vector, extra = (dense, {}) if engine.kind == "elasticsearch" else (knn, {"index.knn": True})
    mapping = {"properties": {"title": {"type": "text"}, "vector": vector}}
    load(engine.url, INDEX, sources, mapping, **extra)
    rerank = {
        "rank_window_size": WINDOW,
        "relevance_weight": 1.0,
        "first_stage_weight": 0.0,
        "diversify": {"diversity": 0.0},
    }
    with reranker(lambda query, text: float(text.rsplit(maxsplit=1)[-1])) as model:
        off = proxy_settings(engine.url, model.url, rerank=rerank)
        on = proxy_settings(engine.url, model.url, rerank={**rerank, "vector_queries": True})
        with serve_app(off) as (plain, _), serve_app(on) as (raised, _):
            yield Stand(engine.url, plain, raised, engine.kind)
    request(engine.url, "DELETE", f"/{INDEX}")


NEAR = [60.0, 1.0]
BODIES: dict[str, dict[str, dict[str, Any]]] = {
    "elasticsearch": {
        "knn": {"knn": {"field": "vector", "query_vector": NEAR, "k": 5, "num_candidates": 9}},
        "knn without k": {"knn": {"field": "vector", "query_vector": NEAR}},
        "vector-query": {"query": {"knn": {"field": "vector", "query_vector": NEAR, "k": 5}}},
        "retriever": {
            "retriever": {
                "knn": {"field": "vector", "query_vector": NEAR, "k": 5, "num_candidates": 9}
            }
        },
    },
    "opensearch": {
        "vector-query": {"query": {"knn": {"vector": {"vector": NEAR, "k": 5}}}},
        "vector-query in bool": {
            "query": {"bool": {"must": [{"knn": {"vector": {"vector": NEAR, "k": 5}}}]}}
        },
    },
}
WORDS = {"es_rerank": {"query_text": "shoe"}}


def ids(answer: Any) -> list[int]:
    assert answer.status == 200, answer.data
    return [int(hit["_id"]) for hit in answer.json()["hits"]["hits"]]


@pytest.mark.parametrize("case", [f"{kind}: {name}" for kind in BODIES for name in BODIES[kind]])
def test_vector_searches(stand: Stand, case: str) -> None:
    kind, _, name = case.partition(": ")
    if kind != stand.kind:
        pytest.skip(f"a search of {kind}")
    body, path = BODIES[kind][name], f"/{INDEX}/_search"
    direct = request(stand.direct, "POST", path, {**body, "size": 3})
    passed = request(stand.off, "POST", path, {**body, "size": 3})
    assert passed.headers["X-Es-Rerank"].startswith("skipped; reason=" + name.split(" ")[0])
    assert without_took(passed.data) == without_took(direct.data)

    pages = [
        request(stand.on, "POST", path, {**body, "ext": WORDS, "from": start, "size": 7})
        for start in (0, 7, 14, 21)
    ]
    found = [ids(page) for page in pages]
    marks = [page.headers["X-Es-Rerank"] for page in pages]
    assert marks == ["applied"] * 3 + ["skipped; reason=beyond-window"]
    # The nearest twenty, the highest number first; past the window the list has ended.
    assert found == [list(range(19, 12, -1)), list(range(12, 5, -1)), list(range(5, -1, -1)), []]


def test_words_beside_vectors(stand: Stand) -> None:
    """A list of both goes on past the window, and every page is asked for with the same numbers."""
    words = {"match": {"title": "shoe"}}
    if stand.kind == "elasticsearch":
        body: dict[str, Any] = {**BODIES[stand.kind]["knn"], "query": words}
    else:
        near = {"knn": {"vector": {"vector": NEAR, "k": 5}}}
        body = {"query": {"bool": {"should": [near, words]}}}
    path = f"/{INDEX}/_search"
    pages = [
        ids(request(stand.on, "POST", path, {**body, "from": start, "size": 13}))
        for start in range(0, DOCUMENTS, 13)
    ]
    found = [one for page in pages for one in page]
    assert sorted(found) == list(range(DOCUMENTS))
    assert found[:WINDOW] == list(range(WINDOW - 1, -1, -1))
    assert found[WINDOW:] == list(range(WINDOW, DOCUMENTS))
