"""Bodies written for the engines' own reranking, which the engines that run here would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread
from tests.proxy.catalogue import load, make_sources, request

pytestmark = pytest.mark.live

INDEX = "dialects-cases"
MATCH: dict[str, Any] = {"match": {"description": "shoes"}}
WORDS = "warm leather boots for the winter"


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str
    kind: str

    def search(self, body: Any) -> Any:
        return request(self.proxied, "POST", f"/{INDEX}/_search", body)


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    load(engine.url, INDEX, make_sources(120, seed=9))
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000, "dialects": ["opensearch", "elasticsearch"]},
    }
    with serve_in_thread(load_settings(None, tables)) as proxied:
        yield Stand(engine.url, proxied, engine.kind)
    request(engine.url, "DELETE", f"/{INDEX}")


def similar(inner: Any, **more: Any) -> Any:
    body = {"retriever": inner, "field": "description", "inference_text": WORDS, **more}
    return {"text_similarity_reranker": body}


def diverse(inner: Any, **more: Any) -> Any:
    body = {"type": "mmr", "field": "vector", "lambda": 0.4, "retriever": inner, **more}
    return {"diversify": body}


STANDARD = {"standard": {"query": MATCH}}
FILTERED = {"standard": {"query": MATCH, "filter": {"term": {"brand": "Acme"}}}}
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "rerank": (
        {"query": MATCH, "ext": {"rerank": {"query_context": {"query_text": WORDS}}}},
        MATCH,
        {"query_text": WORDS},
    ),
    "rerank by path": (
        {
            "query": MATCH,
            "ext": {"rerank": {"query_context": {"query_text_path": "query.match.description"}}},
        },
        MATCH,
        {"query_text": "shoes"},
    ),
    "mmr": (
        {"query": MATCH, "ext": {"mmr": {"diversity": 0.6, "candidates": 40}}},
        MATCH,
        {"diversity": 0.6, "rank_window_size": 40},
    ),
    "text similarity": (
        {"retriever": similar(STANDARD, rank_window_size=30)},
        MATCH,
        {"query_text": WORDS, "fields": ["description"], "rank_window_size": 30},
    ),
    "diversify": ({"retriever": diverse(STANDARD)}, MATCH, {"diversity": 0.6}),
    "both": (
        {"retriever": diverse(similar(FILTERED, min_score=0.5), rank_window_size=25, size=3)},
        {"bool": {"must": [MATCH], "filter": [{"term": {"brand": "Acme"}}]}},
        {
            "query_text": WORDS,
            "fields": ["description"],
            "min_score": 0.5,
            "diversity": 0.6,
            "rank_window_size": 25,
        },
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_each_is_the_same_as_in_our_words(stand: Stand, name: str) -> None:
    written, query, block = BODIES[name]
    if name != "diversify" or stand.kind == "opensearch":
        refused = request(stand.direct, "POST", f"/{INDEX}/_search", written)
        # OpenSearch's neural search takes its block, and does nothing with it without a pipeline.
        taken = stand.kind == "opensearch" and name.startswith("rerank")
        assert refused.status in ({200, 400} if taken else {400}), refused.data
    answer = stand.search(written)
    assert answer.status == 200, answer.data
    assert answer.headers["X-Es-Rerank"].startswith("applied")
    plain = stand.search({"query": query, "ext": {"es_rerank": {**block}}})
    assert answer.json()["hits"] == plain.json()["hits"]
    assert len(answer.json()["hits"]["hits"]) == 10
    paged = stand.search({**written, "from": 5, "size": 5}).json()["hits"]["hits"]
    assert [hit["_id"] for hit in paged] == [
        hit["_id"] for hit in answer.json()["hits"]["hits"][5:]
    ]


def test_what_it_holds_else_is_the_engines(stand: Stand) -> None:
    for body in (
        {"retriever": similar({"rrf": {"retrievers": [STANDARD, STANDARD]}})},
        {"query": MATCH, "ext": {"nobodys": {}}},
    ):
        direct = request(stand.direct, "POST", f"/{INDEX}/_search", body)
        answer = stand.search(body)
        assert (answer.status, answer.data) == (direct.status, direct.data)


def test_unknown_keys_get_the_engines_kind_of_error(stand: Stand) -> None:
    answer = stand.search({"retriever": similar(STANDARD, fild="x")})
    error = answer.json()["error"]
    assert (answer.status, error["type"]) == (400, "x_content_parse_exception")
    assert error["reason"] == "[text_similarity_reranker] unknown field [fild]"


def test_an_msearch_speaks_them_too(stand: Stand) -> None:
    import json

    lines = "".join(
        f"{{}}\n{json.dumps(written)}\n" for written, _, _ in (BODIES["mmr"], BODIES["both"])
    )
    answer = request(
        stand.proxied,
        "POST",
        f"/{INDEX}/_msearch",
        lines.encode(),
        **{"content-type": "application/x-ndjson"},
    )
    assert answer.headers["X-Es-Rerank"] == "applied; items=2; applied=2"
    for response, name in zip(answer.json()["responses"], ("mmr", "both"), strict=True):
        assert response["hits"] == stand.search(BODIES[name][0]).json()["hits"]


def test_the_official_client_sends_retrievers(elasticsearch: Node, stand: Stand) -> None:
    if stand.kind != "elasticsearch":
        pytest.skip("retrievers are Elasticsearch's")
    with Elasticsearch(stand.proxied, max_retries=0) as client:
        answer = client.search(index=INDEX, retriever=similar(STANDARD), size=4)
    assert answer.meta.headers["x-es-rerank"].startswith("applied")
    assert len(answer["hits"]["hits"]) == 4
