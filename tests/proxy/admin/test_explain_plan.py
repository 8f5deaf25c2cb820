"""What explain-plan says, against what is then really done."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from es_rerank.proxy.admin.explain_plan import split_index
from tests.proxy.wire import (
    RawUpstream,
    Request,
    answer,
    ask,
    find,
    proxy_settings,
    serve_app,
    upstream,
)

MAPPING: dict[str, Any] = {
    "_meta": {
        "es_rerank": {
            "text_fields": ["title"],
            "model": "all-MiniLM-L6-v2",
            "template": "{title}",
        }
    },
    "properties": {
        "title": {"type": "text"},
        "brand": {"type": "keyword"},
        "price": {"type": "double"},
        "es_rerank": {"properties": {"code": {"type": "binary", "doc_values": True}}},
    },
}
PLAIN: dict[str, Any] = {"properties": {"name": {"type": "text"}, "price": {"type": "double"}}}
SEARCH = {"query": {"match": {"title": "red shoes"}}}
TOKEN = "correct-horse"


def script(request: Request, connection: socket.socket) -> None:
    body: Any = {"hits": {"total": {"value": 0}, "hits": []}}
    if request.target.endswith(b"_mapping"):
        index = request.target.split(b"/")[1].decode()
        chosen = {"bare": {}, "plain": PLAIN}.get(index, MAPPING)
        body = {index: {"mappings": chosen}}
    elif b"/_doc/all" in request.target:
        shop = {"version": 4, "diversity": 0.2, "fields": ["name"], "enabled": True}
        stored = {"revision": "r", "floor": 0, "pipelines": {"shop": shop}}
        body = {"_seq_no": 1, "_primary_term": 1, "_source": stored}
    answer(connection, 200, json.dumps(body).encode(), {"content-type": "application/json"})


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[str, RawUpstream]]:
    settings: dict[str, Any] = {
        "rerank": {"pipeline": "_none", "timeout_ms": 900, "max_rank_window_size": 300},
        "indices": {"shop-*": {"diversity": 0.3, "attribute_fields": ["colour"]}},
        "pipelines": {"poll_s": 600},
        "admin": {"token": TOKEN},
    }
    with upstream(script) as raw, serve_app(proxy_settings(raw.url, **settings)) as (proxy, app):
        until = time.monotonic() + 10
        while not app.pipelines.loaded and time.monotonic() < until:
            time.sleep(0.01)
        yield proxy, raw


def explain(stand: tuple[str, RawUpstream], query: str, body: Any = SEARCH, *headers: bytes) -> Any:
    line = f"POST /_es_rerank/explain-plan?{query}".encode()
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = (b"X-Es-Rerank-Token: " + TOKEN.encode(), b"Content-Type: application/json")
    status, _, answered = ask(stand[0], line, *shown, *headers, body=sent)
    return {**json.loads(answered), "http": status}


def test_nothing_is_searched(stand: tuple[str, RawUpstream]) -> None:
    stand[1].requests.clear()
    assert explain(stand, "index=other1")["outcome"] == "applied"
    assert [request.target for request in stand[1].requests] == [b"/other1/_mapping"]


def test_where_each_setting_comes_from(stand: tuple[str, RawUpstream]) -> None:
    block = {"pipeline": "shop", "rank_window_size": 500, "min_score": 0.1}
    said = explain(stand, "index=shop-1&from=5", {**SEARCH, "ext": {"es_rerank": block}})
    assert said["pipeline"] == {"name": "shop", "from": "request", "version": 4}
    assert said["clamped"] == ["rank_window_size"]
    assert {name: (s["value"], s["from"]) for name, s in said["settings"].items()} == {
        "enabled": (True, "pipeline shop"),
        "rank_window_size": (300, "request"),
        "timeout_ms": (900, "[rerank]"),
        "weights": ({"relevance": 0.65, "first_stage": 0.35}, "[rerank]"),
        "min_score": (0.1, "request"),
        "diversity": (0.2, "pipeline shop"),
        "diversify": ("dpp", "[rerank.diversify]"),
        "adaptive": (True, "[rerank.diversify]"),
        "similarity": (
            {"vector": 0.5, "attributes": 0.5, "facets": 0.0},
            "[rerank.diversify]",
        ),
        "crowding": ([], "default"),
        "expand": ([], "default"),
    }
    assert said["page"] == {"from": 5, "size": 10}
    assert said["window"] == {"size": 300, "hits_asked_for": 300, "cut_by_rescore": False}
    assert said["query_text"] == {"value": "red shoes", "from": "query"}
    assert said["fields"] == {
        "text": {"value": ["name"], "from": "pipeline shop"},
        "attributes": {"value": ["colour"], "from": '[indices."shop-*"]'},
        "price": {"value": "price", "from": "mapping names"},
    }


def test_what_the_mapping_and_the_query_tell(stand: tuple[str, RawUpstream]) -> None:
    said = explain(stand, "index=meta&q=blue%20boots")
    assert said["query_text"] == {"value": "blue boots", "from": "q"}
    assert said["fields"]["text"] == {"value": ["title"], "from": "mapping _meta"}
    assert said["fields"]["attributes"] == {"value": ["brand"], "from": "mapping names"}
    assert said["vectors"]["of_model"] == "all-MiniLM-L6-v2"
    assert said["vectors"]["recipe"] == "{title}"
    assert said["vectors"]["used"] == "the stored ones; no embedder for the others"
    bare = explain(stand, "index=bare")
    assert bare["fields"]["text"] == {"value": ["title"], "from": "query"}
    assert bare["fields"]["price"] == {"value": None, "from": "nowhere"}
    assert explain(stand, "index=plain")["fields"]["text"]["from"] == "mapping names"


def test_info_shows_what_meta_says(stand: tuple[str, RawUpstream]) -> None:
    token = b"Authorization: Bearer " + TOKEN.encode()
    info = json.loads(ask(stand[0], b"GET /_es_rerank/info?index=meta", token)[2])
    assert info["fields"] == {
        "text": ["title"],
        "attributes": ["brand"],
        "price": "price",
        "code": "es_rerank.code",
        "model": "all-MiniLM-L6-v2",
        "recipe": "{title}",
        "named_by_meta": ["text"],
        "verdict": None,
    }
    assert info["pipelines"]["known"] == {"shop": 4}
    assert info["pipelines"]["seconds_since_read"] >= 0


def test_what_would_be_asked_is_what_is_asked(stand: tuple[str, RawUpstream]) -> None:
    body = {**SEARCH, "_source": ["x"], "ext": {"es_rerank": {"query_text": "w"}, "o": {"a": 1}}}
    said = explain(stand, "index=meta&from=95&routing=7", body)
    stand[1].requests.clear()
    kind = b"Content-Type: application/json"
    line = b"POST /meta/_search?from=95&routing=7"
    ask(stand[0], line, kind, body=json.dumps(body).encode())
    asked = next(r for r in stand[1].requests if b"_search" in r.target)
    assert said["cluster_request"] == {
        "method": "POST",
        "target": asked.target.decode(),
        "body": json.loads(asked.body),
    }
    assert said["cluster_request"]["body"]["size"] == 105
    assert said["query_text"] == {"value": "w", "from": "request"}


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("index=meta", {**SEARCH, "sort": ["price"]}),
        ("index=meta&size=0", SEARCH),
        ("index=meta", {**SEARCH, "ext": {"es_rerank": {"enabled": False}}}),
        ("index=meta&from=400", SEARCH),
        ("index=meta", {"query": {"knn": {"v": {"vector": [1], "k": 1}}}}),
        ("index=meta", b"{broken"),
    ],
)
def test_a_search_left_alone_has_the_headers_reason(
    stand: tuple[str, RawUpstream], query: str, body: Any
) -> None:
    said = explain(stand, query, body)
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    line = f"POST /meta/_search?{query.partition('&')[2]}".encode()
    _, head, _ = ask(stand[0], line, b"Content-Type: application/json", body=sent)
    mark = f"{said['outcome']}; reason={said['reason']}"
    assert find(head, "x-es-rerank") == [mark]


def test_without_body_and_index(stand: tuple[str, RawUpstream]) -> None:
    token = b"Authorization: Bearer " + TOKEN.encode()
    status, _, body = ask(stand[0], b"GET /_es_rerank/explain-plan", token)
    said = json.loads(body)
    assert (status, said["index"], said["outcome"]) == (200, "_all", "applied")
    assert said["reason"] == "no-query-text"
    assert said["cluster_request"]["target"] == "/_search"


def test_a_wrong_block_is_refused_as_by_a_search(stand: tuple[str, RawUpstream]) -> None:
    said = explain(stand, "index=meta", {"ext": {"es_rerank": {"pipeline": "shpo"}}})
    assert said["http"] == 400
    assert "did you mean [shop]?" in said["error"]["reason"]


def test_the_mapping_is_read_with_the_callers_credentials_alone() -> None:
    with (
        upstream(script) as raw,
        serve_app(proxy_settings(raw.url, upstream={"api_key": "ours"})) as (proxy, _),
    ):
        line = b"GET /_es_rerank/explain-plan?index="
        ask(proxy, line + b"a")
        ask(proxy, line + b"b", b"Authorization: ApiKey theirs")
        shown = [request.headers("authorization") for request in raw.requests]
    assert shown == [[], [b"ApiKey theirs"]]


def test_the_index_is_taken_out_of_the_parameters() -> None:
    name = quote("<logs-{now/d}>,a b", safe="").encode()
    assert split_index(b"size=3&index=" + name + b"&q=x") == (name, b"size=3&q=x")
    assert split_index(b"index=a/b+c") == (b"a%2Fb%20c", b"")
    assert split_index(b"") == (b"", b"")
