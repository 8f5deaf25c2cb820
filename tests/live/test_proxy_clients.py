"""The official clients, unmodified, through the proxy: the same answers and the same exceptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import elasticsearch.helpers
import opensearchpy.helpers
import pytest
from elasticsearch import Elasticsearch
from opensearchpy import OpenSearch

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread
from tests.proxy.catalogue import MAPPING, make_sources, request

pytestmark = pytest.mark.live

BULK: list[dict[str, Any]] = [
    {"_id": str(i), "_source": json.loads(source)}
    for i, source in enumerate(make_sources(120, seed=3))
]
SEARCH = {"query": {"match": {"title": "red running shoes"}}, "size": 7}


@pytest.fixture(scope="module")
def proxy(engine: Node) -> Iterator[str]:
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000},
    }
    with serve_in_thread(load_settings(None, tables)) as url:
        yield url


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def clients(engine: Node, proxy: str, request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """The engine's own client, through the proxy and straight to the engine."""
    make: Any = Elasticsearch if engine.kind == "elasticsearch" else OpenSearch
    through = make(proxy, http_compress=request.param, max_retries=0)
    direct = make(engine.url, http_compress=request.param, max_retries=0)
    yield through, direct
    through.close()
    direct.close()


def search(client: Any, body: dict[str, Any], **parameters: Any) -> Any:
    """Both clients take a search's parts by keyword or as a body, each in its own way."""
    if isinstance(client, Elasticsearch):
        return client.search(**{**body, **{k.rstrip("_"): v for k, v in parameters.items()}})
    return client.search(body=body, **parameters)


def fill(client: Any, index: str) -> None:
    helpers: Any = elasticsearch.helpers
    if isinstance(client, Elasticsearch):
        client.indices.create(index=index, mappings=MAPPING)
    else:
        helpers = opensearchpy.helpers
        client.indices.create(index=index, body={"mappings": MAPPING})
    done, errors = helpers.bulk(client, BULK, index=index, refresh=True)
    assert (done, errors) == (len(BULK), [])


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_the_whole_life_of_an_index(clients: tuple[Any, Any], index_name: str) -> None:
    """create, bulk, get, update, delete, count, search, msearch."""
    through, direct = clients
    fill(through, index_name)
    assert through.info() == direct.info()
    assert through.count(index=index_name)["count"] == len(BULK)
    assert through.get(index=index_name, id="5") == direct.get(index=index_name, id="5")
    assert through.exists(index=index_name, id="5")
    assert not through.exists(index=index_name, id="none")
    patch = {"title": "green gloves"}
    changed = (
        through.update(index=index_name, id="5", refresh=True, doc=patch)
        if isinstance(through, Elasticsearch)
        else through.update(index=index_name, id="5", body={"doc": patch}, refresh=True)
    )
    assert changed["result"] == "updated"
    assert through.delete(index=index_name, id="6", refresh=True)["result"] == "deleted"
    assert direct.count(index=index_name)["count"] == len(BULK) - 1
    assert direct.get(index=index_name, id="5")["_source"]["title"] == "green gloves"

    ours, engines = (search(client, SEARCH, index=index_name) for client in clients)
    assert ours["hits"]["total"] == engines["hits"]["total"]
    assert len(ids(ours)) == 7
    assert ids(ours) != ids(engines)

    lines: list[Any] = [{"index": index_name}, SEARCH, {}, {"query": {"match_all": {}}, "size": 1}]
    lines += [{"index": "not-there"}, SEARCH]
    several = [
        client.msearch(searches=lines)
        if isinstance(client, Elasticsearch)
        else client.msearch(body=lines)
        for client in clients
    ]
    for one, other in zip(*(answer["responses"] for answer in several), strict=True):
        assert one["status"] == other["status"]
        assert one.get("error") == other.get("error")
        if "hits" in other:
            assert one["hits"]["total"] == other["hits"]["total"]
    assert several[0]["responses"][0]["hits"] == ours["hits"]


def test_scrolls_and_points_in_time(clients: tuple[Any, Any], index_name: str) -> None:
    """Cursors run through every document once."""
    through, direct = clients
    fill(direct, index_name)
    scan: Callable[..., Any] = (
        elasticsearch.helpers.scan
        if isinstance(through, Elasticsearch)
        else opensearchpy.helpers.scan
    )
    body = {"query": {"match": {"title": "red blue black"}}}
    expected = sorted(ids(search(direct, {**body, "size": 200}, index=index_name)))
    scrolled = [hit["_id"] for hit in scan(through, query=body, index=index_name, size=9)]
    assert sorted(scrolled) == expected
    ordered = scan(through, query=body, index=index_name, size=9, preserve_order=True)
    assert [hit["_id"] for hit in ordered] == ids(
        search(direct, {**body, "size": 200}, index=index_name)
    )

    if isinstance(through, Elasticsearch):
        pit = through.open_point_in_time(index=index_name, keep_alive="1m")["id"]
    else:
        pit = through.create_pit(index=index_name, params={"keep_alive": "1m"})["pit_id"]
    # Elasticsearch adds a tiebreaker of its own; one shard has none to break in OpenSearch.
    sort = ["_score"] if isinstance(through, Elasticsearch) else ["_score", "_doc"]
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        part = {"pit": {"id": pit, "keep_alive": "1m"}, "size": 7, "sort": sort}
        answer = search(through, {**body, **part, **after})
        if not ids(answer):
            break
        seen += ids(answer)
        pit = answer["pit_id"]
        after = {"search_after": answer["hits"]["hits"][-1]["sort"]}
    assert sorted(seen) == expected
    if isinstance(through, Elasticsearch):
        assert through.close_point_in_time(id=pit)["succeeded"]
    else:
        assert through.delete_pit(body={"pit_id": [pit]})["pits"][0]["successful"]


FAILURES: dict[str, Callable[[Any, str], Any]] = {
    "missing index": lambda c, _: search(c, SEARCH, index="not-there"),
    "missing document": lambda c, index: c.get(index=index, id="none"),
    "unknown query": lambda c, index: search(c, {"query": {"nonsense": {}}}, index=index),
    "bad sort": lambda c, index: search(c, {"sort": ["absent"]}, index=index),
    "bad aggregation": lambda c, index: search(
        c, {"query": {"match_all": {}}, "aggs": {"a": {"terms": {"field": "title"}}}}, index=index
    ),
    "window too large": lambda c, index: search(c, {"size": 20_000}, index=index),
    "index exists": lambda c, index: c.indices.create(index=index),
    "bad scroll": lambda c, _: c.scroll(scroll_id="zzz"),
    "missing index deleted": lambda c, _: c.indices.delete(index="not-there"),
    "foreign ext": lambda c, index: search(
        c, {"query": {"match_all": {}}, "ext": {"nobodys": {}}}, index=index
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_errors_arrive_as_the_same_exceptions(
    clients: tuple[Any, Any], failure: str, shared_index: str
) -> None:
    caught = []
    for client in clients:
        with pytest.raises(Exception, match=r".") as info:  # whatever the engine's client raises
            FAILURES[failure](client, shared_index)
        error = cast("Any", info.value)
        if isinstance(client, Elasticsearch):
            caught.append((type(error), error.status_code, error.body, str(error)))
        else:
            caught.append((type(error), error.status_code, error.info, str(error)))
    assert caught[0] == caught[1]
    assert caught[0][1] in {400, 404}


@pytest.fixture
def shared_index(engine: Node, index_name: str) -> str:
    made = request(engine.url, "PUT", f"/{index_name}", {"mappings": MAPPING})
    assert made.status == 200
    return index_name


def test_a_wrong_block_is_a_bad_request(clients: tuple[Any, Any], shared_index: str) -> None:
    through, _ = clients
    body = {"query": {"match_all": {}}, "ext": {"es_rerank": {"diversty": 1}}}
    wanted: Any = (
        elasticsearch.BadRequestError
        if isinstance(through, Elasticsearch)
        else opensearchpy.RequestError
    )
    with pytest.raises(wanted, match=r"did you mean \[diversity\]"):
        search(through, body, index=shared_index)


def test_who_answers_is_told_as_the_engine_tells_it(engine: Node, proxy: str) -> None:
    expected = "Elasticsearch" if engine.kind == "elasticsearch" else None
    for method, path in (
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/_search"),
        ("GET", "/not-there/_search"),
        ("GET", "/_cat/indices"),
        ("POST", "/_search?size=x"),
    ):
        for url in (engine.url, proxy):
            answer = request(url, method, path)
            assert answer.headers.get("X-Elastic-Product") == expected, (method, path, url)


def test_vendored_media_types_are_mirrored(engine: Node, proxy: str, index_name: str) -> None:
    kind = "application/vnd.elasticsearch+json;compatible-with=9"
    request(engine.url, "PUT", f"/{index_name}", {"mappings": MAPPING})
    for path, body in ((f"/{index_name}/_search", SEARCH), (f"/{index_name}/_search?q=red", None)):
        answers = [
            request(url, "POST", path, body, **{"accept": kind, "content-type": kind})
            for url in (engine.url, proxy)
        ]
        assert answers[0].status == answers[1].status
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
