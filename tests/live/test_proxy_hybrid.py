"""OpenSearch's `hybrid` query on the real plugin: normalized lists, raised to the window."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, request, without_took
from tests.proxy.wire import proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

RUN = uuid.uuid4().hex[:8]
INDEX, PIPELINE = f"hybrid-{RUN}", f"hybrid-{RUN}"
DOCUMENTS, WINDOW = 60, 20
PATH = f"/{INDEX}/_search?search_pipeline={PIPELINE}"
NORMALIZER = {
    "normalization-processor": {
        "normalization": {"technique": "min_max"},
        "combination": {"technique": "arithmetic_mean"},
    }
}
Stand = tuple[str, str, str]


@pytest.fixture(scope="module")
def stand(opensearch: Node) -> Iterator[Stand]:
    """The engine, a proxy that leaves vector searches alone, and one that raises them."""
    url = opensearch.url
    pipeline = f"/_search/pipeline/{PIPELINE}"
    made = request(url, "PUT", pipeline, {"phase_results_processors": [NORMALIZER]})
    if made.status == 400:
        pytest.skip("this node was booted without the neural search plugin")
    sources = [
        json.dumps(
            {"title": "red shoe " + "x " * i + str(i), "vector": [60.0 - i, i + 1.0]}
        ).encode()
        for i in range(DOCUMENTS)
    ]
    vector = {"type": "knn_vector", "dimension": 2, "method": {"name": "hnsw", "engine": "lucene"}}
    mapping = {"properties": {"title": {"type": "text"}, "vector": vector}}
    load(url, INDEX, sources, mapping, **{"index.knn": True})
    rerank = {
        "rank_window_size": WINDOW,
        "relevance_weight": 1.0,
        "first_stage_weight": 0.0,
        "diversify": {"diversity": 0.0},
    }
    with reranker(lambda query, text: float(text.rsplit(maxsplit=1)[-1])) as model:
        off = proxy_settings(url, model.url, rerank=rerank)
        on = proxy_settings(url, model.url, rerank={**rerank, "vector_queries": True})
        with serve_app(off) as (plain, _), serve_app(on) as (raised, _):
            yield url, plain, raised
    request(url, "DELETE", f"/{INDEX}")
    request(url, "DELETE", pipeline)


def hybrid(**rest: Any) -> dict[str, Any]:
    near = {"knn": {"vector": {"vector": [60.0, 1.0], "k": 5}}}
    queries = [{"match": {"title": "shoe"}}, {"match": {"title": "red"}}, near]
    return {"query": {"hybrid": {"queries": queries, **rest}}}


def ids(answer: Any) -> list[int]:
    assert answer.status == 200, answer.data
    return [int(hit["_id"]) for hit in answer.json()["hits"]["hits"]]


def test_hybrid_passes_by_default(stand: Stand) -> None:
    direct, off, _ = stand
    body = {**hybrid(pagination_depth=10), "size": 5}
    proxied = request(off, "POST", PATH, body)
    assert proxied.headers["X-Es-Rerank"] == "skipped; reason=vector-query"
    assert without_took(proxied.data) == without_took(request(direct, "POST", PATH, body).data)


@pytest.mark.parametrize("depth", [{"pagination_depth": 10}, {"pagination_depth": 35}])
def test_hybrid_pages_are_one_list(stand: Stand, depth: dict[str, int]) -> None:
    _, _, on = stand
    end = max(WINDOW, depth["pagination_depth"])
    whole = {**hybrid(pagination_depth=end), "size": DOCUMENTS}
    whole["query"]["hybrid"]["queries"][2]["knn"]["vector"]["k"] = WINDOW
    engines = ids(request(stand[0], "POST", PATH, whole))
    assert len(engines) >= end
    found: list[int] = []
    for start in range(0, len(engines), 7):
        page = request(on, "POST", PATH, {**hybrid(**depth), "from": start, "size": 7})
        expected = "applied" if start < WINDOW else "skipped; reason=beyond-window"
        assert page.headers["X-Es-Rerank"] == expected
        found += ids(page)
    assert found[:WINDOW] == sorted(engines[:WINDOW], reverse=True)
    assert found[WINDOW:] == engines[WINDOW:]


def test_hybrid_without_depth(stand: Stand) -> None:
    """The first pages are reranked; of further ones the engine itself wants to know the depth."""
    direct, _, on = stand
    first = request(on, "POST", PATH, {**hybrid(), "size": 5})
    assert first.headers["X-Es-Rerank"] == "applied"
    assert ids(first) == [19, 18, 17, 16, 15]
    assert ids(request(on, "POST", PATH, {**hybrid(), "from": 5, "size": 5})) == [
        14,
        13,
        12,
        11,
        10,
    ]
    beyond = {**hybrid(), "from": 20, "size": 5}
    assert request(on, "POST", PATH, beyond).status == request(direct, "POST", PATH, beyond).status
