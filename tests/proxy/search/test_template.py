"""Searches by template before a scripted cluster that renders; tests/live has a real one."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.proxy.search.test_handler import (
    JSON,
    MAPPING,
    PRODUCT,
    page,
    prefer_high_numbers,
)
from tests.proxy.wire import (
    Request,
    answer,
    ask,
    find,
    proxy_settings,
    reranker,
    serve_app,
    upstream,
)

SOURCE = '{"query":{"match":{"title":"{{words}}"}},"size":{{size}}}'
TEMPLATE: dict[str, Any] = {"source": SOURCE, "params": {"words": "red shoes", "size": 3}}
STORED = {"shop search": SOURCE, "ours": SOURCE[:-1] + ',"ext":{"es_rerank":{"diversity":0.5}}}'}


@dataclass
class Cluster:
    """Renders `{{name}}`, refuses to for `refused`, and searches as the other tests' cluster."""

    refused: int = 0
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, connection: socket.socket) -> None:
        path = request.target.partition(b"?")[0]
        if path.endswith(b"/_mapping"):
            answer(connection, 200, json.dumps({"shop": {"mappings": MAPPING}}).encode(), PRODUCT)
            return
        self.requests.append(request)
        if path == b"/_render/template" and self.refused:
            answer(connection, self.refused, b"{}", PRODUCT)
        elif path == b"/_render/template":
            rendered = render(json.loads(request.body))
            answer(connection, 200, b'{"template_output":' + rendered + b"}", PRODUCT)
        elif path.endswith(b"/template"):
            answer(connection, 200, b'{"took": 1, "the": "template\'s own"}', PRODUCT)
        elif path.endswith(b"/_msearch"):
            bodies = request.body.split(b"\n")[1::2]
            parts = [page(0, json.loads(body)["size"]) for body in bodies]
            answer(connection, 200, b'{"took":1,"responses":[' + b",".join(parts) + b"]}", PRODUCT)
        else:
            answer(connection, 200, page(0, json.loads(request.body)["size"]), PRODUCT)


def render(body: dict[str, Any]) -> bytes:
    source = body.get("source") or STORED[body["id"]]
    text = source if isinstance(source, str) else json.dumps(source)
    return re.sub(r"\{\{(\w+)\}\}", lambda m: str(body["params"][m[1]]), text).encode()


@pytest.fixture(scope="module")
def module_stand() -> Iterator[tuple[str, Cluster, Any]]:
    rerank = {
        "timeout_ms": 10_000,
        "relevance_weight": 1.0,
        "first_stage_weight": 0.0,
        "diversify": {"diversity": 0.0},
    }
    cluster = Cluster()
    with (
        upstream(cluster) as raw,
        reranker(prefer_high_numbers) as model,
        serve_app(proxy_settings(raw.url, model.url, rerank=rerank)) as (proxy, _),
    ):
        yield proxy, cluster, model


@pytest.fixture
def stand(module_stand: Any) -> Any:
    module_stand[1].requests.clear()
    module_stand[2].requests.clear()
    module_stand[1].refused = 0
    return module_stand


def search(
    proxy: str, body: Any, target: bytes = b"/shop/_search/template", *headers: bytes
) -> tuple[int, str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, head, text = ask(proxy, b"POST " + target, JSON, *headers, body=raw)
    return status, "".join(find(head, "x-es-rerank")), json.loads(text)


def ids(answer: Any) -> list[int]:
    return [int(hit["_id"]) for hit in answer["hits"]["hits"]]


@pytest.mark.parametrize(
    "template", [TEMPLATE, {"id": "shop search", "params": {"words": "red boots", "size": 3}}]
)
def test_a_template_is_rendered_with_the_callers_rights_and_run(stand: Any, template: Any) -> None:
    target = b"/shop/_search/template?routing=a%2Fb&typed_keys=true"
    _, mark, found = search(stand[0], template, target, b"Authorization: Basic YTpi")
    assert (mark, ids(found)) == ("applied", [30, 29, 28])
    rendered, run = stand[1].requests
    assert rendered.line == b"POST /_render/template HTTP/1.1"
    assert json.loads(rendered.body) == template
    assert rendered.headers("authorization") == run.headers("authorization") == [b"Basic YTpi"]
    assert run.target == b"/shop/_search?routing=a%2Fb&typed_keys=true"
    assert json.loads(run.body)["size"] == 100
    assert json.loads(stand[2].requests[0].body)["query"] == template["params"]["words"]


def test_the_block_may_stand_inside_or_beside_it(stand: Any) -> None:
    inside = {"id": "ours", "params": TEMPLATE["params"]}
    beside = {**TEMPLATE, "ext": {"es_rerank": {"query_text": "boots", "rank_window_size": 2}}}
    for template in (inside, beside):
        stand[1].requests.clear()
        assert search(stand[0], template)[1].startswith("applied")
        assert all(b"es_rerank" not in request.body for request in stand[1].requests)
    assert json.loads(stand[2].requests[-1].body)["query"] == "boots"
    stand[1].requests.clear()
    off = {**TEMPLATE, "ext": {"es_rerank": {"enabled": False}}}
    assert search(stand[0], off)[1:] == (
        "skipped; reason=disabled",
        {"took": 1, "the": "template's own"},
    )
    assert json.loads(stand[1].requests[-1].body) == TEMPLATE


def test_explain_and_profile_are_the_requests(stand: Any) -> None:
    source = {"query": {"match": {"title": "{{words}}"}}, "size": 3, "explain": True}
    search(stand[0], {"source": source, "params": TEMPLATE["params"], "profile": True})
    body = json.loads(stand[1].requests[-1].body)
    assert body["profile"] is True
    assert "explain" not in body


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_what_is_not_rendered_is_the_clusters_own(stand: Any, status: int) -> None:
    stand[1].refused = status
    raw = json.dumps(TEMPLATE, indent=1).encode()
    assert search(stand[0], raw)[1:] == (
        "skipped; reason=template",
        {"took": 1, "the": "template's own"},
    )
    assert stand[1].requests[-1].body == raw
    assert stand[1].requests[-1].target == b"/shop/_search/template"


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (TEMPLATE, b"/shop/_search/template?size=5"),
        (TEMPLATE, b"/shop/_search/template?scroll=1m"),
        ({**TEMPLATE, "new_key": 1}, b"/shop/_search/template"),
        ({**TEMPLATE, "ext": {"other": {}}}, b"/shop/_search/template"),
    ],
)
def test_in_doubt_nothing_is_rendered(stand: Any, body: Any, target: bytes) -> None:
    assert search(stand[0], body, target)[1] == "skipped; reason=template"
    assert [request.target for request in stand[1].requests] == [target]


def test_a_wrong_block_is_400(stand: Any) -> None:
    status, _, found = search(stand[0], {**TEMPLATE, "ext": {"es_rerank": {"diversty": 1}}})
    assert (status, found["error"]["type"]) == (400, "parsing_exception")


def several(*templates: Any) -> bytes:
    return b"".join(b'{"index":"shop"}\n' + json.dumps(t).encode() + b"\n" for t in templates)


def test_several_are_rendered_and_run_as_one_msearch(stand: Any) -> None:
    other = {"id": "shop search", "params": {"words": "boots", "size": 2}}
    body = several(TEMPLATE, other)
    _, mark, found = search(stand[0], body, b"/_msearch/template?typed_keys=true")
    assert mark == "applied; items=2; applied=2"
    assert [ids(part) for part in found["responses"]] == [[30, 29, 28], [30, 29]]
    targets = [request.target for request in stand[1].requests]
    assert targets == [b"/_render/template"] * 2 + [b"/_msearch?typed_keys=true"]
    stand[1].requests.clear()
    empty = {**TEMPLATE, "params": {"words": "x", "size": 0}}
    body = several(empty)
    assert search(stand[0], body, b"/_msearch/template")[1] == "skipped; items=1; skipped=1"
    assert stand[1].requests[-1].target == b"/_msearch/template"
    assert stand[1].requests[-1].body == body


def test_when_one_is_not_rendered_all_are_the_clusters(stand: Any) -> None:
    stand[1].refused = 404
    body = several(TEMPLATE, TEMPLATE)
    assert search(stand[0], body, b"/_msearch/template")[1] == "skipped; reason=template"
    passed = [request for request in stand[1].requests if b"_msearch" in request.target]
    assert [request.body for request in passed] == [body]
