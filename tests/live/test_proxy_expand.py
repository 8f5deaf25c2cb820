"""Searches with added candidates on both engines: nothing lost, nothing twice, filters hold."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.cluster.templates import load_component
from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.models.embedder import load_embedder
from tests.proxy.catalogue import MAPPING, load, make_sources, request
from tests.proxy.wire import serve_app

pytestmark = pytest.mark.live

MODEL = "all-MiniLM-L6-v2"
DOCUMENTS = 150
CATALOGUE = make_sources(DOCUMENTS, seed=5)
MATCH: dict[str, Any] = {"query": {"match": {"title": "red running shoes"}}}


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str
    index: str
    plain: str

    def search(self, body: Any, expand: Any, index: str | None = None, **block: Any) -> Any:
        """A search through the proxy that asks for those expansions."""
        own = {"expand": expand, "rank_window_size": 20, **block}
        path = f"/{index or self.index}/_search"
        return request(self.proxied, "POST", path, {**body, "ext": {"es_rerank": own}})

    def own(self, body: Any) -> Any:
        """The engine's own answer, whole."""
        return request(self.direct, "POST", f"/{self.index}/_search", {**body, "size": 500})


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    texts = [
        f"{s.get('title', '')}. {s.get('description', '')}" for s in map(json.loads, CATALOGUE)
    ]
    rows = load_embedder(MODEL, "cpu").encode(texts)
    sources = [
        source[:-1] + b',"es_rerank":{"vector":' + json.dumps(row.tolist()).encode() + b"}}"
        for source, row in zip(CATALOGUE, rows, strict=True)
    ]
    component = load_component(engine.kind, rows.shape[1])["template"]
    mapping = {
        "_meta": {"es_rerank": {"text_fields": ["title", "description"], "model": MODEL}},
        "properties": {**MAPPING["properties"], **component["mappings"]["properties"]},
    }
    name = f"test-expand-{uuid.uuid4().hex[:8]}"
    knn = component.get("settings", {}).get("index", {})
    load(engine.url, name, sources, mapping, number_of_shards=2, **knn)
    load(engine.url, f"{name}-plain", CATALOGUE)
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000, "expand_on_request": ["knn", "spelling", "synonyms"]},
    }
    with serve_app(load_settings(None, tables)) as (proxied, _):
        yield Stand(engine.url, proxied, name, f"{name}-plain")
    for index in (name, f"{name}-plain"):
        request(engine.url, "DELETE", f"/{index}")


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer.json()["hits"]["hits"]]


def mark(answer: Any) -> str:
    value: str = answer.headers.get("X-Es-Rerank", "")
    return value


QUERIES: dict[str, dict[str, Any]] = {
    "plain": MATCH,
    "few hits": {"query": {"match": {"title": {"query": "kids wool sandals", "operator": "and"}}}},
    "no hits": {"query": {"match": {"title": "zebra crossing at night"}}},
    "filtered": {
        "query": {
            "bool": {
                "must": [MATCH["query"], {"range": {"price": {"lt": 250.0}}}],
                "filter": [{"terms": {"brand": ["Acme", "Birch", "Dune"]}}],
                "must_not": [{"term": {"category": "red"}}],
            }
        },
        "post_filter": {"range": {"price": {"gte": 20}}},
    },
    "function score": {
        "query": {
            "function_score": {
                "query": {"bool": {"must": MATCH["query"], "filter": {"term": {"brand": "Acme"}}}},
                "functions": [{"filter": {"term": {"category": "kids"}}, "weight": 3}],
            }
        }
    },
    "shaped": {**MATCH, "_source": ["price"], "fields": ["brand"], "explain": True},
    "more of a body": {
        **MATCH,
        "aggs": {"brands": {"terms": {"field": "brand"}}},
        "highlight": {"fields": {"title": {}}},
        "track_total_hits": False,
    },
}


@pytest.mark.parametrize("name", QUERIES)
def test_pages_lose_nothing_and_repeat_nothing(stand: Stand, name: str) -> None:
    """All pages together are the window, then what the words find and the window has not."""
    body = QUERIES[name]
    engines = stand.own(body).json()
    whole = stand.search({**body, "size": 500}, ["knn"])
    assert mark(whole).startswith("applied"), mark(whole)
    assert mark(whole).endswith("expanded=knn")
    listed = ids(whole)
    lexical = [hit["_id"] for hit in engines["hits"]["hits"]]
    assert len(listed) == len(set(listed))
    assert set(listed) >= set(lexical)
    assert len(listed) - len(lexical) <= 20
    assert listed[20:] == [key for key in lexical if key not in listed[:20]]
    scores = [hit["_score"] for hit in whole.json()["hits"]["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[: len(lexical)] == [hit["_score"] for hit in engines["hits"]["hits"]]
    for key in set(engines["hits"]) - {"hits", "max_score"}:
        assert whole.json()["hits"][key] == engines["hits"][key]
    assert whole.json().get("aggregations") == engines.get("aggregations")
    chance = random.Random(name)
    for _ in range(3):
        start, paged, scored = 0, [], []
        while start < len(listed) + 5:
            size = chance.randint(1, 30)
            page = stand.search({**body, "from": start, "size": size}, ["knn"])
            assert page.status == 200
            assert "expanded=knn" in mark(page)
            paged += ids(page)
            scored += [hit["_score"] for hit in page.json()["hits"]["hits"]]
            start += size
        assert paged == listed
        assert scored == scores


def test_neighbours_obey_the_querys_restrictions(stand: Stand) -> None:
    found = stand.search({**QUERIES["filtered"], "size": 500}, "knn")
    assert len(ids(found)) > len(ids(stand.own(QUERIES["filtered"])))
    for hit in found.json()["hits"]["hits"]:
        source = hit["_source"]
        brands = source["brand"] if isinstance(source["brand"], list) else [source["brand"]]
        assert {"Acme", "Birch", "Dune"}.intersection(brands)
        assert 20 <= source["price"] < 250
        assert source["category"] != ["red"]


def test_neighbours_mean_what_the_words_say(stand: Stand) -> None:
    """The words are nowhere in the index; their neighbours are for the cold and the feet."""
    query = {"query": {"match": {"title": "snow footwear"}}}
    assert ids(stand.own(query)) == []
    found = stand.search({**query, "size": 20}, "knn").json()["hits"]["hits"]
    text = [json.dumps(hit["_source"]).lower() for hit in found]
    assert sum("boots" in one or "winter" in one or "sandals" in one for one in text) >= 15
    assert found[0]["_score"] >= found[-1]["_score"] > 0


def test_explain_says_which_search_found_a_hit(stand: Stand) -> None:
    found = stand.search({**MATCH, "size": 20}, "knn", explain=True).json()["hits"]["hits"]
    told = [
        {detail["description"]: detail["value"] for detail in hit["_explanation"]["details"]}
        for hit in found
    ]
    near = sorted(one["rank by neighbours"] for one in told if "rank by neighbours" in one)
    assert near[0] == 1
    assert all("rank by words" in one or "rank by neighbours" in one for one in told)


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ({**MATCH, "collapse": {"field": "category"}}, "knn-request"),
        ({**MATCH, "min_score": 0.1}, "knn-request"),
        ({"query": {"match": {"category": "red"}}}, "knn-filters"),
        ({"query": {"query_string": {"query": "title:red AND shoes"}}}, "knn-filters"),
        ({"query": {"match": {"title": "跑步鞋红色的"}}}, "knn-language"),
    ],
)
def test_where_neighbours_are_not_looked_for_the_search_is_as_ever(
    stand: Stand, body: Any, note: str
) -> None:
    found, without = stand.search(body, "knn"), stand.search(body, "none")
    assert note in mark(found)
    assert "expanded" not in mark(found)
    assert found.json()["hits"] == without.json()["hits"]
    beyond = stand.search({**body, "from": 20}, "knn")
    assert mark(beyond).split(",")[0] == "skipped; reason=beyond-window"


def test_an_index_without_vectors_is_searched_as_ever(stand: Stand) -> None:
    found = stand.search(MATCH, "knn", stand.plain)
    assert mark(found) == "applied; reason=knn-vectors"
    mixed = stand.search(MATCH, "knn", f"{stand.index},{stand.plain}")
    assert mixed.status == 200
    # OpenSearch refuses to look for neighbours in an index without the field.
    assert mark(mixed) in {"applied; reason=knn-failed", "applied; expanded=knn"}


def test_only_what_is_allowed_can_be_asked_for(stand: Stand) -> None:
    assert "expanded" not in mark(request(stand.proxied, "POST", f"/{stand.index}/_search", MATCH))
    wrong = stand.search(MATCH, ["magic"])
    assert wrong.status == 400
    assert "[expand" in wrong.json()["error"]["reason"]


MISSPELT: dict[str, Any] = {"query": {"match": {"title": {"query": "waterprof sandels"}}}}


def test_spelling_is_mended_where_little_is_found(stand: Stand) -> None:
    assert ids(stand.own(MISSPELT)) == []
    mended = {"query": {"match": {"title": {"query": "waterproof sandals"}}}}
    expected = stand.own(mended)
    found = stand.search({**MISSPELT, "size": 500}, "spelling")
    assert mark(found) == "applied; expanded=spelling"
    assert sorted(ids(found)) == sorted(ids(expected))
    assert found.json()["hits"]["total"] == expected.json()["hits"]["total"]
    pages = [
        key
        for start in range(0, len(ids(found)) + 7, 7)
        for key in ids(stand.search({**MISSPELT, "from": start, "size": 7}, "spelling"))
    ]
    assert pages == ids(found)
    told = stand.search(MISSPELT, "spelling", explain=True)
    assert mark(told) == "applied; expanded=spelling; corrected=waterproof%20sandals"


def test_spelling_is_left_alone_where_the_words_find_enough(stand: Stand) -> None:
    """Some documents say `red`: the other word's spelling is nobody's concern."""
    body = {"query": {"match": {"title": "red sandels"}}}
    found = stand.search(body, "spelling")
    assert mark(found) == "applied"
    assert found.json()["hits"] == stand.search(body, "none").json()["hits"]
    beyond = stand.search({**body, "from": 20}, "spelling")
    assert mark(beyond).split(",")[0] == "skipped; reason=beyond-window"
    hopeless = stand.search({"query": {"match": {"title": "xyzzyx"}}}, "spelling")
    assert mark(hopeless) == "skipped; reason=few-hits"


def test_filters_of_a_mended_search_hold(stand: Stand) -> None:
    filters = [{"terms": {"brand": ["Acme"]}}, {"range": {"price": {"gte": 10.50}}}]
    body = {"query": {"bool": {"must": MISSPELT["query"], "filter": filters}}}
    found = stand.search({**body, "size": 100}, ["spelling", "knn"])
    assert mark(found) == "applied; expanded=spelling,knn"
    for hit in found.json()["hits"]["hits"]:
        assert "Acme" in hit["_source"]["brand"]
        assert hit["_source"]["price"] >= 10.5


def test_other_words_are_learnt_from_the_catalogue(stand: Stand) -> None:
    """`jogging` stands nowhere; the catalogue says `running`."""
    body = {"query": {"match": {"title": "jogging"}}, "size": 30}
    assert ids(stand.own(body)) == []
    first = stand.search(body, "synonyms")
    assert mark(first) in {
        "skipped; reason=few-hits,synonyms-learning",
        "applied; expanded=synonyms",
    }
    until = time.monotonic() + 60
    found = first
    while "learning" in mark(found) and time.monotonic() < until:
        time.sleep(0.2)
        found = stand.search(body, "synonyms")
    assert mark(found) == "applied; expanded=synonyms"
    titles = [hit["_source"]["title"] for hit in found.json()["hits"]["hits"]]
    assert titles
    assert all("running" in title or "walking" in title for title in titles)
    known = stand.search(MATCH, "synonyms")
    assert mark(known) == "applied"
    pages = [
        key
        for start in range(0, 40, 9)
        for key in ids(stand.search({**body, "from": start, "size": 9}, "synonyms"))
    ]
    assert pages == ids(found)
