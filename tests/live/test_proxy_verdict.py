"""Auto-off on real engines: a verdict in the mapping, and who goes before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from es_rerank.cluster.client import connect
from es_rerank.cluster.verdict import Verdict
from es_rerank.engine.node import Node
from es_rerank.evaluation.verdict import write_verdict
from tests.proxy.catalogue import load, make_sources, request
from tests.proxy.wire import proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

QUERY = {"match": {"description": "shoes"}}
USELESS = Verdict("does-not-help", "nDCG@10", 80, -0.02, -0.03, -0.01, "", "2026-11-25T10:00:00Z")


def ask(url: str, index: str, block: Any = None, size: int = 10) -> Any:
    body = {"query": QUERY, "size": size, **({"ext": {"es_rerank": block}} if block else {})}
    return request(url, "POST", f"/{index}/_search", body)


def mark(url: str, index: str, block: Any = None) -> str:
    answer = ask(url, index, block)
    assert answer.status == 200, answer.data
    return str(answer.headers["x-es-rerank"])


def test_an_index_that_reranking_does_not_help_is_left_alone(engine: Node, index_name: str) -> None:
    other = f"{index_name}-other"
    for name in (index_name, other):
        load(engine.url, name, make_sources(60))
    client = connect(engine.url)
    before = client.request("GET", f"/{index_name}/_mapping")[index_name]["mappings"]
    client.request("PUT", f"/{index_name}/_mapping", {"_meta": {"ours": 1, "es_rerank": {"a": 2}}})
    with reranker(lambda _, text: float(len(text))) as model:
        settings = proxy_settings(engine.url, model.url, rerank={})
        with serve_app(settings) as (proxy, app):
            useless = replace(USELESS, model=app.ranker.model)
            assert write_verdict(client, index_name, useless) == [index_name]
            after = client.request("GET", f"/{index_name}/_mapping")[index_name]["mappings"]
            assert after["properties"] == before["properties"]
            assert after["_meta"]["ours"] == 1
            assert after["_meta"]["es_rerank"]["a"] == 2
            assert mark(proxy, index_name) == "skipped; reason=verdict"
            whole = ask(proxy, index_name).json()["hits"]
            assert whole == ask(engine.url, index_name).json()["hits"]
            assert mark(proxy, index_name, {"enabled": True}) == "applied"
            assert mark(proxy, other) == "applied"
            assert mark(proxy, f"{index_name},{other}") == "applied"
            info = request(proxy, "GET", f"/_es_rerank/info?index={index_name}").json()
            assert info["fields"]["verdict"]["finding"] == "does-not-help"
            plan = request(
                proxy, "GET", f"/_es_rerank/explain-plan?index={index_name}", {"query": QUERY}
            ).json()
            assert (plan["outcome"], plan["reason"]) == ("skipped", "verdict")
        assert write_verdict(client, f"{index_name},{other}", useless) == [index_name, other]
        with serve_app(settings) as (proxy, _):
            assert mark(proxy, f"{index_name},{other}") == "skipped; reason=verdict"
        ignoring = proxy_settings(engine.url, model.url, rerank={"auto_off": False})
        with serve_app(ignoring) as (proxy, _):
            assert mark(proxy, index_name) == "applied"
        forcing = proxy_settings(
            engine.url, model.url, rerank={}, indices={index_name: {"enabled": True}}
        )
        with serve_app(forcing) as (proxy, _):
            assert mark(proxy, index_name) == "applied"
        for changed in (replace(useless, model="another"), replace(useless, finding="unclear")):
            write_verdict(client, index_name, changed)
            with serve_app(settings) as (proxy, _):
                assert mark(proxy, index_name) == "applied"
    client.close()


def test_searches_of_an_msearch_are_left_alone_one_by_one(engine: Node, index_name: str) -> None:
    other = f"{index_name}-other"
    for name in (index_name, other):
        load(engine.url, name, make_sources(60))
    client = connect(engine.url)
    with reranker(lambda _, text: float(len(text))) as model:
        settings = proxy_settings(engine.url, model.url, rerank={})
        with serve_app(settings) as (proxy, app):
            write_verdict(client, index_name, replace(USELESS, model=app.ranker.model))
            import json

            import urllib3

            lines = [{"index": index_name}, {"query": QUERY}, {"index": other}, {"query": QUERY}]
            answer = urllib3.request(
                "POST",
                f"{proxy}/_msearch",
                body="".join(json.dumps(line) + "\n" for line in lines),
                headers={"content-type": "application/x-ndjson"},
            )
            assert answer.headers["x-es-rerank-items"] == "skipped;reason=verdict, applied"
    client.close()
