"""Further searches before a scripted cluster: what they ask, and that no search breaks on them."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from es_rerank.ranking.score import VectorCache
from tests.proxy.wire import Request, answer, ask, find, proxy_settings, reranker, serve_app
from tests.proxy.wire import upstream as serve_upstream
from tests.ranking.bag_of_words import BagOfWords

MATCH: dict[str, Any] = {"query": {"match": {"title": "shoes"}}}
WINDOW = 10
ENRICHED = {
    "_meta": {"es_rerank": {"model": BagOfWords.name}},
    "properties": {
        "title": {"type": "text"},
        "es_rerank": {"properties": {"vector": {"type": "knn_vector"}}},
    },
}


def hits(keys: list[int]) -> bytes:
    found = [
        {
            "_index": "shop",
            "_id": str(key),
            "_score": 90.0 - place,
            "_source": {"title": f"n {key}"},
        }
        for place, key in enumerate(keys)
    ]
    whole = {"total": {"value": len(keys), "relation": "eq"}, "max_score": 90.0, "hits": found}
    shards = {"total": 1, "successful": 1, "failed": 0}
    return json.dumps({"took": 1, "timed_out": False, "_shards": shards, "hits": whole}).encode()


@dataclass
class Cluster:
    """Thirty hits, `1` to `30`, for words; `101` to `140` for vectors, unless `near` says other."""

    mapping: Any = field(default_factory=lambda: ENRICHED)
    product: str = ""
    near: Callable[[socket.socket], None] | None = None
    count: int = 30
    words: list[Request] = field(default_factory=list)
    vectors: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, connection: socket.socket) -> None:
        headers = {"Content-Type": "application/json"}
        if self.product:
            headers["X-Elastic-Product"] = self.product
        if request.target.endswith(b"/_mapping"):
            body = json.dumps({"shop": {"mappings": self.mapping}}).encode()
            answer(connection, 200, body, headers)
            return
        asked = json.loads(request.body or b"{}")
        if b'"knn"' not in request.body and b'"random_score"' not in request.body:
            if b'"suggest"' in request.body:
                self.vectors.append(request)
                assert self.near is not None
                self.near(connection)
                return
            self.words.append(request)
            start = asked["from"]
            answer(
                connection,
                200,
                hits(list(range(1, self.count + 1))[start : start + asked.get("size", 10)]),
                headers,
            )
            return
        self.vectors.append(request)
        if self.near is not None:
            self.near(connection)
        else:
            answer(connection, 200, hits(list(range(101, 101 + asked["size"]))), headers)


@contextlib.contextmanager
def shop(**more: Any) -> Iterator[tuple[str, Cluster]]:
    """A proxy that ranks by the engine's order, before the cluster."""
    rerank = {
        "timeout_ms": 2000,
        "rank_window_size": WINDOW,
        "relevance_weight": 0.0,
        "diversify": {"diversity": 0.0},
        "expand": more.pop("expand", "knn"),
    }
    cluster = Cluster(**more)
    with serve_upstream(cluster) as raw, reranker(lambda *_: 0.0) as model:
        settings = proxy_settings(raw.url, model.url, rerank=rerank)
        with serve_app(settings) as (proxy, app):
            app.ranker._vectors = VectorCache(BagOfWords())
            yield proxy, cluster


def search(proxy: str, body: Any, target: bytes = b"/shop/_search") -> tuple[int, str, list[int]]:
    status, head, text = ask(
        proxy, b"POST " + target, b"Content-Type: application/json", body=json.dumps(body).encode()
    )
    found = [int(hit["_id"]) for hit in json.loads(text)["hits"]["hits"]]
    return status, "".join(find(head, "x-es-rerank")), found


def test_what_is_asked_for_of_opensearch() -> None:
    filters = [{"term": {"brand": "acme"}}]
    body = {
        "query": {"bool": {"must": MATCH["query"], "filter": filters}},
        "post_filter": {"term": {"version": 1.10}},
        "aggs": {"brands": {"terms": {"field": "brand"}}},
        "highlight": {"fields": {"title": {}}},
        "_source": ["title"],
        "version": True,
    }
    target = b"/shop/_search?routing=a&preference=b&pretty&track_total_hits=true"
    with shop() as (proxy, cluster):
        status, mark, found = search(proxy, body, target)
    assert (status, mark) == (200, "applied; expanded=knn")
    assert found == [1, 101, 2, 102, 3, 103, 4, 104, 5, 105]
    (asked,) = cluster.vectors
    assert asked.target == b"/shop/_search?routing=a&preference=b"
    sent = json.loads(asked.body)
    clause = sent["query"]["knn"].pop("es_rerank.vector")
    assert len(clause.pop("vector")) == 64
    assert clause == {
        "k": WINDOW,
        "filter": {"bool": {"filter": [*filters, {"term": {"version": 1.1}}]}},
    }
    assert b'"version":1.1}' in asked.body  # json.dumps wrote it so: the bytes are kept
    assert sent.pop("query") == {"knn": {}}
    assert sent == {
        "_source": ["title"],
        "fields": ["title"],
        "version": True,
        "from": 0,
        "size": WINDOW,
        "track_total_hits": False,
    }


def test_what_is_asked_for_of_elasticsearch() -> None:
    with shop(product="Elasticsearch") as (proxy, cluster):
        assert search(proxy, MATCH)[1] == "applied; expanded=knn"
    sent = json.loads(cluster.vectors[0].body)
    assert "query" not in sent
    knn = sent["knn"]
    assert (knn["field"], knn["k"], knn["num_candidates"]) == ("es_rerank.vector", WINDOW, 100)
    assert "filter" not in knn


def test_pages_past_the_window_leave_out_what_is_in_it() -> None:
    with shop() as (proxy, cluster):
        status, mark, found = search(proxy, {**MATCH, "from": 12, "size": 5})
    assert (status, mark) == (200, "skipped; reason=beyond-window; expanded=knn")
    # The window holds 1 to 5 and 101 to 105; place 10 is hit 6.
    assert found == [8, 9, 10, 11, 12]
    assert json.loads(cluster.words[0].body)["size"] == 17


def refuse(connection: socket.socket) -> None:
    answer(connection, 400, b'{"error":"no such field"}')


def answer_in_part(connection: socket.socket) -> None:
    answer(connection, 200, hits([101]).replace(b'"failed": 0', b'"failed": 1'))


def answer_late(connection: socket.socket) -> None:
    time.sleep(3)
    answer(connection, 200, hits([101]))


def answer_timed_out(connection: socket.socket) -> None:
    answer(connection, 200, hits([101]).replace(b'"timed_out": false', b'"timed_out": true'))


def answer_nonsense(connection: socket.socket) -> None:
    answer(connection, 200, b"[")


def break_off(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("near", "note"),
    [
        (refuse, "knn-failed"),
        (answer_in_part, "knn-failed"),
        (answer_timed_out, "knn-failed"),
        (answer_nonsense, "knn-failed"),
        (break_off, "knn-failed"),
        (answer_late, "knn-deadline"),
    ],
)
def test_the_clients_own_search_comes_through(
    near: Callable[[socket.socket], None], note: str
) -> None:
    with shop(near=near) as (proxy, cluster):
        assert search(proxy, MATCH) == (200, f"applied; reason={note}", list(range(1, 11)))
        beyond = search(proxy, {**MATCH, "from": 12, "size": 5})
        assert beyond == (200, f"skipped; reason=beyond-window,{note}", [13, 14, 15, 16, 17])
    assert len(cluster.vectors) >= 2


@pytest.mark.parametrize(
    "mapping",
    [
        {"properties": {"title": {"type": "text"}}},
        {**ENRICHED, "_meta": {"es_rerank": {"model": "another"}}},
        {**ENRICHED, "_meta": {}},
    ],
)
def test_vectors_of_another_model_are_not_searched(mapping: Any) -> None:
    with shop(mapping=mapping) as (proxy, cluster):
        assert search(proxy, MATCH)[1] == "applied; reason=knn-vectors"
        beyond = search(proxy, {**MATCH, "from": 12, "size": 5})
    assert beyond == (200, "skipped; reason=beyond-window", [13, 14, 15, 16, 17])
    assert cluster.vectors == []
    assert json.loads(cluster.words[-1].body)["from"] == 12


def test_the_words_in_the_address_count() -> None:
    with shop() as (proxy, cluster):
        assert search(proxy, {}, b"/shop/_search?q=shoes")[1] == "applied; expanded=knn"
        assert cluster.vectors[0].target == b"/shop/_search"
        assert search(proxy, {}, b"/shop/_search?q=-red+shoes")[1] == "applied; reason=knn-filters"


def test_without_words_nothing_is_added() -> None:
    with shop() as (proxy, cluster):
        assert search(proxy, {"query": {"match_all": {}}})[1] == "applied; reason=no-query-text"
    assert cluster.vectors == []


def suggest(connection: socket.socket) -> None:
    option = {"text": "shoes", "score": 0.8, "freq": 30}
    entry = {"text": "shoos", "offset": 0, "length": 5, "options": [option]}
    told = {
        "_shards": {"failed": 0},
        "hits": {"hits": []},
        "aggregations": {"known": {"buckets": {"shoos": {"doc_count": 0}}}},
        "suggest": {"title": [entry]},
    }
    answer(connection, 200, json.dumps(told).encode())


def suggest_in_part(connection: socket.socket) -> None:
    answer(connection, 200, b'{"_shards":{"failed":0},"hits":{"hits":[]}}')


@pytest.mark.parametrize(
    ("near", "mark"),
    [
        # The mended search finds no more than the first: it is not used.
        (suggest, "applied"),
        (refuse, "applied; reason=spelling-failed"),
        (suggest_in_part, "applied; reason=spelling-failed"),
        (answer_in_part, "applied; reason=spelling-failed"),
    ],
)
def test_spelling_that_helps_nothing_changes_nothing(
    near: Callable[[socket.socket], None], mark: str
) -> None:
    body = {"query": {"match": {"title": "shoos"}}}
    with shop(near=near, count=2, expand="spelling") as (proxy, cluster):
        assert search(proxy, body) == (200, mark, [1, 2])
        asked = [json.loads(request.body)["query"]["match"]["title"] for request in cluster.words]
        assert asked == (["shoos", "shoes"] if near is suggest else ["shoos"])
        assert search(proxy, {**body, "from": 10})[1].startswith("skipped; reason=beyond-window")


def test_a_search_that_finds_enough_is_not_mended() -> None:
    with shop(count=3, expand="spelling") as (proxy, cluster):
        assert search(proxy, {"query": {"match": {"title": "shoos"}}})[1] == "applied"
        assert search(proxy, {**MATCH, "from": 10})[1] == "skipped; reason=beyond-window"
    assert cluster.vectors == []
    assert json.loads(cluster.words[-2].body)["_source"] is False


def test_a_vocabulary_that_cannot_be_learnt_is_noted() -> None:
    with shop(near=refuse, expand="synonyms") as (proxy, cluster):
        for _ in range(2):
            assert search(proxy, MATCH)[1] == "applied; reason=synonyms-learning"
            time.sleep(0.2)
        odd = {**MATCH, "collapse": {"field": "brand"}}
        assert search(proxy, odd)[1] == "applied; reason=synonyms-request"
    assert len(cluster.vectors) == 1  # tried again only after a minute


def test_stored_fields_hold_for_neighbours_too() -> None:
    with shop() as (proxy, cluster):
        assert search(proxy, {**MATCH, "stored_fields": ["serial"]})[1] == "applied; expanded=knn"
        search(proxy, {**MATCH, "from": 0}, b"/shop/_search?stored_fields=serial&filter_path=hits")
    first, second = cluster.vectors
    assert json.loads(first.body)["stored_fields"] == ["serial"]
    assert second.target == b"/shop/_search?stored_fields=serial"
