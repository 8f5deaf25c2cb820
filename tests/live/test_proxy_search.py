"""Searches of every shape through the proxy, compared with the engine's own answers."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.models.embedder import load_embedder
from es_rerank.proxy.app import ProxyApp
from tests.proxy.catalogue import (
    enriched_mapping,
    load,
    make_sources,
    raw_hits,
    request,
    with_codes,
    without_took,
)
from tests.proxy.wire import serve_app

pytestmark = pytest.mark.live

RUN = uuid.uuid4().hex[:8]  # several sessions may share a node
PLAIN, CODED, NARROW = (f"cases-{RUN}-{name}" for name in ("plain", "coded", "narrow"))
MODEL = "all-MiniLM-L6-v2"
DOCUMENTS = 120
MATCH: dict[str, Any] = {"query": {"match": {"title": "red running shoes"}}}
CATALOGUE = make_sources(DOCUMENTS, seed=11)


@dataclass(frozen=True)
class Stand:
    direct: str
    proxied: str
    app: ProxyApp
    kind: str

    def both(self, path: str, body: Any = None, method: str = "POST", **headers: str) -> Any:
        """The engine's answer and the proxy's."""
        return (
            request(self.direct, method, path, body, **headers),
            request(self.proxied, method, path, body, **headers),
        )


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000},
    }
    texts = [
        f"{s.get('title', '')}. {s.get('description', '')}" for s in map(json.loads, CATALOGUE)
    ]
    coded = with_codes(CATALOGUE, load_embedder(MODEL, "cpu").encode(texts))
    load(engine.url, PLAIN, CATALOGUE, number_of_shards=2)
    load(engine.url, CODED, coded, enriched_mapping(MODEL))
    with serve_app(load_settings(None, tables)) as (proxied, app):
        yield Stand(engine.url, proxied, app, engine.kind)
    for index in (PLAIN, CODED):
        request(engine.url, "DELETE", f"/{index}")


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer.json()["hits"]["hits"]]


def mark(answer: Any) -> str:
    value: str = answer.headers.get("X-Es-Rerank", "")
    return value


def assert_same_but_for_the_order(direct: Any, proxied: Any, whole: Any) -> None:
    """Everything outside the hits is the engine's; each hit is one of the engine's, but for score.

    whole: the engine's answer with the whole window in it, to find the hits in.
    """
    assert proxied.status == direct.status == 200, proxied.data
    for name in ("content-type", "x-elastic-product"):
        assert proxied.headers.get(name) == direct.headers.get(name)
    ours, engines = proxied.json(), direct.json()
    assert [*ours] == [*engines]
    for name in set(engines) - {"took", "hits", "profile"}:
        assert ours[name] == engines[name], name
    assert [*ours["hits"]] == [*engines["hits"]]
    for name in set(engines["hits"]) - {"hits"}:
        assert ours["hits"][name] == engines["hits"][name], name
    known = {hit["_id"]: hit for hit in raw_hits(whole.data)}
    page = raw_hits(proxied.data)
    assert len(page) == len(engines["hits"]["hits"])
    for place, hit in enumerate(page):
        expected = known[hit["_id"]]
        assert [*hit] == [*expected]
        for name in set(hit) - {"_score", "_explanation"}:
            assert by_text(hit[name]) == by_text(expected[name]), name
        assert hit["_score"] == raw_hits(whole.data)[place]["_score"]


def by_text(raw: bytes) -> Any:
    """A value with its numbers as they are written, whatever the order of its keys.

    Elasticsearch writes the keys of a filtered `_source`, and of `fields`, in an order of its own
    that depends on what else was asked for.
    """
    return json.loads(raw, parse_float=str, parse_int=str)


SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "source off": {"_source": False},
    "source includes": {"_source": ["price", "note.*"]},
    "source excludes": {"_source": {"excludes": ["title", "brand"]}},
    "own fields": {"fields": ["brand", {"field": "price"}, "variants.colour"]},
    "own fields, source off": {"_source": False, "fields": ["ti*", "variants.colour"]},
    "own doc values": {"docvalue_fields": ["price", {"field": "brand"}], "_source": False},
    "aggregations": {
        "aggs": {"brands": {"terms": {"field": "brand"}}, "high": {"max": {"field": "price"}}}
    },
    "highlight": {"highlight": {"fields": {"title": {}}}},
    "explain": {"explain": True},
    "collapse": {
        "collapse": {"field": "category", "inner_hits": {"name": "most", "size": 2}},
        "_source": False,
    },
    "score sort": {"sort": [{"_score": {"order": "desc"}}]},
    "no totals": {"track_total_hits": False},
    "few totals": {"track_total_hits": 3},
    "version": {"version": True, "seq_no_primary_term": True},
    "matched": {"query": {"match": {"title": {"query": "red shoes", "_name": "words"}}}},
    "suggest": {"suggest": {"s": {"text": "rde", "term": {"field": "title"}}}},
    "min score": {"min_score": 0.8},
    "terminated": {"terminate_after": 5},
    "post filter": {"post_filter": {"term": {"category": "red"}}},
    "boosted": {"indices_boost": [{PLAIN: 1.5}]},
    "stats": {"stats": ["group"], "timeout": "10s"},
}


@pytest.mark.parametrize("index", [PLAIN, CODED])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(stand: Stand, shape: str, index: str) -> None:
    """What was asked for on top never shows, what the client asked for always does."""
    if shape == "boosted" and index == CODED:
        index = f"{PLAIN},{CODED}"
        body: dict[str, Any] = {**MATCH, **SHAPES[shape], "_source": ["price"]}
        window = request(stand.direct, "POST", f"/{index}/_search", {**body, "size": 100})
        answer = request(stand.proxied, "POST", f"/{index}/_search", {**body, "size": 100})
        assert mark(answer) == "applied"
        pairs = [(hit["_index"], hit["_id"]) for hit in answer.json()["hits"]["hits"]]
        engines = [(hit["_index"], hit["_id"]) for hit in window.json()["hits"]["hits"]]
        assert sorted(pairs) == sorted(engines)
        assert len(set(pairs)) == len(pairs)
        return
    body = {**MATCH, **SHAPES[shape]}
    direct, proxied = stand.both(f"/{index}/_search", body)
    whole = request(stand.direct, "POST", f"/{index}/_search", {**body, "size": 100})
    assert_same_but_for_the_order(direct, proxied, whole)
    assert mark(proxied) in {"applied", "skipped; reason=few-hits"}
    if shape == "explain":
        for hit in proxied.json()["hits"]["hits"]:
            assert hit["_explanation"]["value"] == pytest.approx(hit["_score"], rel=1e-6)


def test_stored_vectors_are_used(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """With codes the model embeds the query alone; without, every text."""
    cache = stand.app.ranker.embedder
    assert cache is not None
    encoded: list[str] = []
    encode = cache.encoder.encode

    def listen(texts: Sequence[str]) -> Any:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(cache.encoder, "encode", listen)
    body = {"query": {"match": {"title": "waterproof kids jacket"}}}
    answer = request(stand.proxied, "POST", f"/{CODED}/_search", body)
    assert mark(answer) == "applied"
    assert encoded == ["waterproof kids jacket"]
    assert all("fields" not in hit for hit in answer.json()["hits"]["hits"])


def test_client_fields_that_name_the_code_stay(stand: Stand) -> None:
    body = {**MATCH, "docvalue_fields": ["es_rerank.code"], "_source": False}
    direct, proxied = stand.both(f"/{CODED}/_search", body)
    assert mark(proxied) == "applied"
    for answer in (direct, proxied):
        assert all("es_rerank.code" in hit["fields"] for hit in answer.json()["hits"]["hits"])


def test_profile_is_the_engines(stand: Stand) -> None:
    direct, proxied = stand.both(f"/{PLAIN}/_search", {**MATCH, "profile": True})
    assert mark(proxied) == "applied"
    assert [*proxied.json()["profile"]] == [*direct.json()["profile"]]
    assert len(proxied.json()["profile"]["shards"]) == 2


@pytest.mark.parametrize("parameters", ["typed_keys", "rest_total_hits_as_int=true", "pretty"])
def test_parameters_of_form(stand: Stand, parameters: str) -> None:
    body = {**MATCH, "aggs": {"b": {"terms": {"field": "brand"}}}}
    path = f"/{PLAIN}/_search?{parameters}"
    direct, proxied = stand.both(path, body)
    assert mark(proxied) == "applied"
    ours, engines = proxied.json(), direct.json()
    assert ours.get("aggregations") == engines.get("aggregations")
    assert ours["hits"]["total"] == engines["hits"]["total"]
    assert (b"\n  " in proxied.data) is (b"\n  " in direct.data) is (parameters == "pretty")


WAYS: dict[str, tuple[str, str, Any]] = {
    "GET with body": ("GET", f"/{PLAIN}/_search", {**MATCH, "size": 5}),
    "POST without index": ("POST", "/_search", {**MATCH, "size": 5}),
    "all": ("POST", "/_all/_search", {**MATCH, "size": 5}),
    "pattern": ("POST", f"/cases-{RUN}-pl*/_search", {**MATCH, "size": 5}),
    "trailing slash": ("POST", f"/{PLAIN}/_search/", {**MATCH, "size": 5}),
    "q": ("GET", f"/{PLAIN}/_search?q=title:red+shoes&size=5", None),
    "q wins": ("POST", f"/{PLAIN}/_search?q=title:kids&size=5", {**MATCH, "size": 9}),
    "url size wins": ("POST", f"/{PLAIN}/_search?size=5&from=2", {**MATCH, "size": 9, "from": 4}),
    "encoded size": ("POST", f"/{PLAIN}/_search?%73ize=5&fro%6d=2", {**MATCH, "size": 9}),
    "source": (
        "GET",
        f"/{PLAIN}/_search?source_content_type=application/json&size=5&source="
        + urllib.parse.quote(json.dumps({**MATCH, "size": 8})),
        None,
    ),
    "routing": ("POST", f"/{PLAIN}/_search?routing=a&preference=_local&size=5", MATCH),
    "body size": ("POST", f"/{PLAIN}/_search", {**MATCH, "size": "5", "from": 3}),
    "url score sort": ("POST", f"/{PLAIN}/_search?sort=_score:desc&size=5", MATCH),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_search(stand: Stand, way: str) -> None:
    """However a search is put, the page has the engine's size and the window's hits."""
    method, path, body = WAYS[way]
    direct, proxied = stand.both(path, body, method)
    assert (proxied.status, direct.status) == (200, 200), (proxied.data, direct.data)
    assert mark(proxied) == "applied"
    assert len(ids(proxied)) == len(ids(direct)) > 0
    ours, engines = proxied.json()["hits"], direct.json()["hits"]
    assert ours["total"] == engines["total"]
    assert [h["_score"] for h in ours["hits"]] == [h["_score"] for h in engines["hits"]]


def test_empty_bodies(stand: Stand) -> None:
    for method in ("GET", "POST"):
        direct, proxied = stand.both(f"/{PLAIN}/_search", None, method)
        assert mark(proxied) == "applied; reason=no-query-text"
        assert proxied.json()["hits"]["total"] == direct.json()["hits"]["total"]
        assert len(ids(proxied)) == 10


PASSING: dict[str, tuple[str, str, Any, str]] = {
    "sort": ("POST", f"/{PLAIN}/_search", {**MATCH, "sort": ["price"]}, "sort"),
    "two sorts": ("POST", f"/{PLAIN}/_search?sort=_score", {**MATCH, "sort": ["price"]}, "sort"),
    "after": (
        "POST",
        f"/{PLAIN}/_search",
        {**MATCH, "sort": [{"price": "asc"}], "search_after": [20.0]},
        "sort",
    ),
    "none": ("POST", f"/{PLAIN}/_search", {**MATCH, "size": 0}, "size-0"),
    "beyond": ("POST", f"/{PLAIN}/_search", {"from": 100, "size": 7}, "beyond-window"),
    "yaml": ("POST", f"/{PLAIN}/_search?format=yaml", MATCH, "media-type"),
    "too far": ("POST", f"/{PLAIN}/_search", {"size": 10_001}, "result-window"),
    "negative": ("POST", f"/{PLAIN}/_search", {"size": -1}, "result-window"),
    "fraction": ("POST", f"/{PLAIN}/_search", {"size": 2.5}, "result-window"),
    "no number": ("POST", f"/{PLAIN}/_search?size=ten", None, "result-window"),
    "malformed": ("POST", f"/{PLAIN}/_search", b'{"query": {"match":', "body"),
    "no object": ("POST", f"/{PLAIN}/_search", b"[1]", "body"),
    "surrogate": (
        "POST",
        f"/{PLAIN}/_search",
        b'{"query":{"match":{"title":"red \\ud83d"}}}',
        "body",
    ),
    "odd fields": ("POST", f"/{PLAIN}/_search", {"fields": "title"}, "body"),
    "bad rescore": (
        "POST",
        f"/{PLAIN}/_search",
        {**MATCH, "rescore": {"window_size": "x", "query": {"rescore_query": MATCH["query"]}}},
        "result-window",
    ),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_the_engines_bytes(stand: Stand, case: str) -> None:
    method, path, body, reason = PASSING[case]
    direct, proxied = stand.both(path, body, method)
    assert proxied.status == direct.status
    assert without_took(proxied.data) == without_took(direct.data)
    assert mark(proxied) == f"skipped; reason={reason}"


WRONG: dict[str, tuple[str, Any]] = {
    "missing index": ("/not-there/_search", MATCH),
    "missing among others": (f"/{PLAIN},not-there/_search", MATCH),
    "unknown query": (f"/{PLAIN}/_search", {"query": {"nonsense": {"a": 1}}}),
    "unknown key": (f"/{PLAIN}/_search", {**MATCH, "nonsense": 1}),
    "unknown parameter": (f"/{PLAIN}/_search?nonsense=1", MATCH),
    "unknown ext": (f"/{PLAIN}/_search", {**MATCH, "ext": {"nobodys": {"a": 1}}}),
    "unknown field": (f"/{PLAIN}/_search", {**MATCH, "collapse": {"field": "title"}}),
    "wrong query": (f"/{PLAIN}/_search", {"query": []}),
    "null size": (f"/{PLAIN}/_search", b'{"size":null}'),
    "source without type": (f"/{PLAIN}/_search?source=%7B%7D", None),
    "bad index name": ("/CASES/_search", MATCH),
    "negative from": (f"/{PLAIN}/_search", {"from": -5}),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_the_engines_own(stand: Stand, case: str) -> None:
    """Status and body are those of the direct call: our rewriting shows in no error."""
    path, body = WRONG[case]
    direct, proxied = stand.both(path, body)
    assert proxied.status == direct.status
    assert without_took(proxied.data) == without_took(direct.data)
    if direct.status != 200:
        assert direct.status in {400, 404, 500}
        assert proxied.headers.get("content-type") == direct.headers.get("content-type")


def test_a_body_without_a_type_is_the_engines_to_judge(stand: Stand) -> None:
    headers = {"content-type": ""}
    direct, proxied = stand.both(f"/{PLAIN}/_search", json.dumps(MATCH).encode(), **headers)
    assert proxied.status == direct.status
    assert without_took(proxied.data) == without_took(direct.data)


def test_foreign_ext_stays_an_error_beside_ours(stand: Stand) -> None:
    foreign = {"nobodys": {"a": 1.0}}
    direct, _ = stand.both(f"/{PLAIN}/_search", {**MATCH, "ext": foreign})
    both = {**MATCH, "ext": {"es_rerank": {"diversity": 0.2}, **foreign}}
    proxied = request(stand.proxied, "POST", f"/{PLAIN}/_search", both)
    assert (proxied.status, direct.status) == (400, 400)
    assert proxied.json()["error"]["type"] == direct.json()["error"]["type"]
    assert mark(proxied) == "fallback; reason=refused"


@pytest.fixture
def narrow(stand: Stand) -> Iterator[str]:
    """An index that allows 40 hits and no more."""
    load(stand.direct, NARROW, CATALOGUE[:20], **{"index.max_result_window": 40})
    yield NARROW
    request(stand.direct, "DELETE", f"/{NARROW}")


def test_an_index_with_a_narrow_result_window_is_searched_as_asked(
    stand: Stand, narrow: str
) -> None:
    """The window of 100 is more than it allows, for all its shards or for some of them."""
    direct, proxied = stand.both(f"/{narrow}/_search", MATCH)
    assert mark(proxied) == "fallback; reason=refused"
    assert without_took(proxied.data) == without_took(direct.data)
    direct, proxied = stand.both(f"/{narrow},{PLAIN}/_search", MATCH)
    assert direct.json()["_shards"]["failed"] == 0
    assert mark(proxied) == "fallback; reason=refused"
    assert without_took(proxied.data) == without_took(direct.data)
    narrower = {**MATCH, "ext": {"es_rerank": {"rank_window_size": 40}}}
    answer = request(stand.proxied, "POST", f"/{narrow},{PLAIN}/_search", narrower)
    assert mark(answer) == "applied"
    assert answer.json()["hits"]["total"] == direct.json()["hits"]["total"]


def test_rescoring_narrows_the_window(stand: Stand) -> None:
    rescorer = {"query": {"rescore_query": {"match": {"description": "warm"}}}, "window_size": 15}
    body = {**MATCH, "size": 30, "rescore": rescorer}
    direct, proxied = stand.both(f"/{CODED}/_search", body)
    assert mark(proxied) == "applied"
    assert sorted(ids(proxied)[:15]) == sorted(ids(direct)[:15])
    assert ids(proxied)[15:] == ids(direct)[15:]


def test_cursors_pass(stand: Stand) -> None:
    opened = request(stand.proxied, "POST", f"/{PLAIN}/_search?scroll=1m", {**MATCH, "size": 3})
    assert mark(opened) == "skipped; reason=scroll"
    first = request(stand.direct, "POST", f"/{PLAIN}/_search", {**MATCH, "size": 6})
    assert ids(opened) == ids(first)[:3]
    scroll = {"scroll_id": opened.json()["_scroll_id"]}
    assert ids(request(stand.proxied, "POST", "/_search/scroll", scroll)) == ids(first)[3:]
    assert request(stand.proxied, "DELETE", "/_search/scroll", scroll).status == 200
    name = "_pit" if stand.kind == "elasticsearch" else "_search/point_in_time"
    pit = request(stand.proxied, "POST", f"/{PLAIN}/{name}?keep_alive=1m").json()
    key = "id" if stand.kind == "elasticsearch" else "pit_id"
    body = {**MATCH, "sort": ["_score"], "size": 6, "pit": {"id": pit[key]}}
    direct, proxied = stand.both("/_search", body)
    assert mark(proxied) == "skipped; reason=pit"
    assert ids(proxied) == ids(direct)


def test_other_apis_are_relayed(stand: Stand) -> None:
    for path, body in (
        (f"/{PLAIN}/_count", {"query": MATCH["query"]}),
        (f"/{PLAIN}/_doc/_search", None),
        (f"/{PLAIN}/_mapping", None),
        (f"/{PLAIN}/_doc/3", None),
        (f"/{PLAIN}/_validate/query?explain", {"query": MATCH["query"]}),
    ):
        method = "GET" if body is None else "POST"
        direct, proxied = stand.both(path, body, method)
        assert proxied.status == direct.status
        assert without_took(proxied.data).replace(b'"took":0', b"") == without_took(
            direct.data
        ).replace(b'"took":0', b"")
        assert mark(proxied) == ""


def test_compressed_answers(stand: Stand) -> None:
    for path in (f"/{PLAIN}/_search", f"/{PLAIN}/_search?sort=price"):
        answer = request(stand.proxied, "POST", path, MATCH, **{"accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert len(ids(answer)) == 10


def test_ranking_prefers_what_the_words_mean(stand: Stand) -> None:
    """The model's doing: with all weight on it, the first hit says the query's words."""
    block = {"weights": {"relevance": 1.0, "first_stage": 0.0}, "diversity": 0.0}
    own = {**block, "query_text": "warm leather boots for the winter"}
    body = {"query": {"match": {"description": "shoes"}}, "ext": {"es_rerank": own}}
    answer = request(stand.proxied, "POST", f"/{PLAIN}/_search", {**body, "size": 30})
    texts = [
        f"{h['_source'].get('title', '')} {h['_source'].get('description', '')}"
        for h in answer.json()["hits"]["hits"]
    ]
    words = ("warm", "leather", "boots", "winter")
    counts = [sum(word in text for word in words) for text in texts]
    assert mark(answer) == "applied"
    assert sum(counts[:8]) / 8 > sum(counts[-8:]) / 8


def test_crowding_holds_on_the_page(stand: Stand) -> None:
    caps = [{"field": "brand", "max_count": 2, "per": 10}]
    body = {**MATCH, "ext": {"es_rerank": {"crowding": caps}}}
    for extra in ({}, {"_source": False}):
        answer = request(stand.proxied, "POST", f"/{PLAIN}/_search", {**body, **extra})
        chosen = request(
            stand.direct, "POST", f"/{PLAIN}/_search", {"query": {"ids": {"values": ids(answer)}}}
        )
        brands = [str(hit["_source"].get("brand")) for hit in chosen.json()["hits"]["hits"]]
        assert len(brands) == 10
        assert all(brands.count(brand) <= 2 for brand in brands if brand != "None")


def test_a_wrong_block_names_key_and_remedy(stand: Stand) -> None:
    body = {**MATCH, "ext": {"es_rerank": {"rank_window": 5, "diversity": 2}}}
    answer = request(stand.proxied, "POST", f"/{PLAIN}/_search", body)
    assert answer.status == 400
    reason = answer.json()["error"]["reason"]
    assert "[rank_window]: did you mean [rank_window_size]?" in reason
    assert "[diversity]" in reason
