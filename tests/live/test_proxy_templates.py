"""Templates on a real OpenSearch. Elasticsearch's mustache does not boot here: its answers are
scripted in tests/proxy/search/test_template.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread
from tests.proxy.catalogue import load, make_sources, request, without_took

pytestmark = pytest.mark.live

INDEX = "template-cases"
STORED = "es-rerank-test-template"
SOURCE = (
    '{"query":{"match":{"title":"{{words}}"}},"size":"{{size}}{{^size}}6{{/size}}"'
    '{{#cheap}},"post_filter":{"range":{"price":{"lt":100}}}{{/cheap}}}'
)
PARAMS: dict[str, Any] = {"words": 'red "running" shoes', "size": 4, "cheap": True}
SEARCH: dict[str, Any] = {
    "query": {"match": {"title": PARAMS["words"]}},
    "size": 4,
    "post_filter": {"range": {"price": {"lt": 100}}},
}


@pytest.fixture(scope="module")
def stand(opensearch: Node) -> Iterator[tuple[str, str]]:
    load(opensearch.url, INDEX, make_sources(120, seed=4))
    script = {"script": {"lang": "mustache", "source": SOURCE}}
    assert request(opensearch.url, "PUT", f"/_scripts/{STORED}", script).status == 200
    tables = {
        "upstream": {"url": opensearch.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000},
    }
    with serve_in_thread(load_settings(None, tables)) as proxied:
        yield opensearch.url, proxied
    request(opensearch.url, "DELETE", f"/_scripts/{STORED}")
    request(opensearch.url, "DELETE", f"/{INDEX}")


@pytest.mark.parametrize("how", [{"id": STORED}, {"source": SOURCE}])
def test_a_template_is_the_search_it_renders(stand: tuple[str, str], how: Any) -> None:
    direct, proxied = stand
    template = {**how, "params": PARAMS}
    answer = request(proxied, "POST", f"/{INDEX}/_search/template", template)
    assert answer.headers["X-Es-Rerank"] == "applied"
    engines = request(direct, "POST", f"/{INDEX}/_search/template", template).json()
    alone = request(proxied, "POST", f"/{INDEX}/_search", SEARCH).json()
    assert answer.json()["hits"] == alone["hits"]
    assert [*answer.json()] == [*engines]
    assert answer.json()["hits"]["total"] == engines["hits"]["total"]
    assert [hit["_id"] for hit in alone["hits"]["hits"]] != [
        hit["_id"] for hit in engines["hits"]["hits"]
    ]


@pytest.mark.parametrize(
    "template",
    [
        {"id": "not-there", "params": PARAMS},
        {"source": "{{#broken", "params": PARAMS},
        {"source": '{"query":', "params": PARAMS},
        {"source": {"size": 0}},
        {"source": {"sort": ["price"], "size": 3}},
        {"nonsense": 1},
    ],
)
def test_otherwise_bytes_are_the_engines(stand: tuple[str, str], template: Any) -> None:
    answers = [request(url, "POST", f"/{INDEX}/_search/template", template) for url in stand]
    assert answers[0].status == answers[1].status
    assert without_took(answers[0].data) == without_took(answers[1].data)
    assert answers[1].headers["X-Es-Rerank"].startswith("skipped")


def test_several(stand: tuple[str, str]) -> None:
    lines = [
        {"index": INDEX},
        {"id": STORED, "params": PARAMS},
        {"index": INDEX},
        {"source": SOURCE, "params": {"words": "boots"}, "explain": True},
    ]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    kind = {"content-type": "application/x-ndjson"}
    answer = request(stand[1], "POST", "/_msearch/template", body, **kind)
    assert answer.headers["X-Es-Rerank"] == "applied; items=2; applied=2"
    first, second = answer.json()["responses"]
    alone = request(stand[1], "POST", f"/{INDEX}/_search", SEARCH).json()
    assert first["hits"] == alone["hits"]
    assert len(second["hits"]["hits"]) == 6
    assert all("_explanation" in hit for hit in second["hits"]["hits"])
