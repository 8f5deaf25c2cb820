"""Which pipeline a search is ranked by, and how the known ones are kept."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from es_rerank.config import IndexSettings, RerankSettings, UpstreamSettings
from es_rerank.errors import RequestError
from es_rerank.proxy.search.options import PipelineBlock, read_block, read_pipeline, resolve_options
from es_rerank.proxy.search.pipelines import (
    Choice,
    NoPipelineError,
    PipelineCatalog,
    join_pipeline,
)
from es_rerank.proxy.upstream import Upstream
from tests.proxy.wire import Request, answer, ask, find, proxy_settings, serve_app, upstream


class Shelf:
    """A scripted cluster that keeps one document of pipelines."""

    def __init__(self) -> None:
        self.revision, self.status = "r1", 200
        self.pipelines: dict[str, Any] = {"shop": {"version": 1, "diversity": 0.4}}

    def __call__(self, request: Request, connection: socket.socket) -> None:
        source: dict[str, Any] = {"revision": self.revision}
        if b"_source_includes" not in request.target:
            source |= {"floor": 0, "pipelines": self.pipelines}
        document = {"_seq_no": 0, "_primary_term": 1, "_source": source}
        answer(connection, self.status, json.dumps(document).encode())


def with_catalog(shelf: Shelf, *steps: Any) -> tuple[PipelineCatalog, list[bytes]]:
    """Refresh a catalog after each step. Returns it, and the targets that were asked for."""

    async def run(url: str) -> PipelineCatalog:
        cluster = Upstream(UpstreamSettings(url=url))
        await cluster.open()
        catalog = PipelineCatalog(cluster, "es-rerank-pipelines", 1)
        await catalog.refresh()
        for step in steps:
            step()
            await catalog.refresh()
        await cluster.close()
        return catalog

    with upstream(shelf) as raw:
        catalog = asyncio.run(run(raw.url))
        return catalog, [request.target for request in raw.requests]


def test_a_look_that_finds_nothing_new_is_cheap() -> None:
    catalog, targets = with_catalog(Shelf(), lambda: None, lambda: None)
    document = b"/es-rerank-pipelines/_doc/all"
    assert targets == [document] + 2 * [document + b"?_source_includes=revision"]
    assert catalog.known == {"shop": PipelineBlock(version=1, diversity=0.4)}


def test_a_change_is_seen() -> None:
    shelf = Shelf()

    def change() -> None:
        shelf.revision, shelf.pipelines = "r2", {"sale": {"version": 1}}

    assert set(with_catalog(shelf, change)[0].known) == {"sale"}


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_the_last_known_stay_while_the_cluster_is_away(status: int) -> None:
    shelf = Shelf()
    catalog, _ = with_catalog(shelf, lambda: setattr(shelf, "status", status))
    assert (set(catalog.known), catalog.loaded) == ({"shop"}, True)
    assert catalog.error == f"the cluster answered {status}"


def test_what_cannot_be_read_leaves_what_was_known() -> None:
    shelf = Shelf()

    def spoil() -> None:
        shelf.revision = "r2"
        shelf.pipelines = {"shop": {"version": 2, "of_a_later_release": 1}, "new": {"diversity": 9}}

    assert with_catalog(shelf, spoil)[0].known == {"shop": PipelineBlock(version=1, diversity=0.4)}


def test_an_index_that_is_not_there_holds_no_pipelines() -> None:
    shelf = Shelf()
    shelf.status = 404
    catalog, _ = with_catalog(shelf)
    assert (catalog.known, catalog.loaded, catalog.error) == ({}, True, None)


def known(**bodies: Any) -> PipelineCatalog:
    shelf = Shelf()
    shelf.pipelines = {name: {"version": 1, **body} for name, body in bodies.items()}
    return with_catalog(shelf)[0]


def test_the_request_chooses_before_the_index_before_the_settings() -> None:
    catalog = known(a={}, b={}, c={})
    rerank, index = RerankSettings(pipeline="a"), IndexSettings(pipeline="b")
    asked = read_block({"pipeline": "c"})

    def name(*places: Any) -> Any:
        choice = catalog.choose(*places)
        return choice.name, choice.origin

    assert name(asked, index, rerank) == ("c", "request")
    assert name(None, index, rerank) == ("b", "index")
    assert name(read_block({}), IndexSettings(), rerank) == ("a", "[rerank]")
    assert name(None, None, RerankSettings()) == (None, None)
    assert name(read_block({"pipeline": "_none"}), index, rerank) == (None, None)
    assert name(None, IndexSettings(pipeline="_none"), rerank) == (None, None)


def test_an_unknown_name_is_the_requests_fault_or_nobodys() -> None:
    catalog = known(shop={})
    with pytest.raises(RequestError, match=r"no pipeline \[shpo\]: did you mean \[shop\]\?"):
        catalog.choose(read_block({"pipeline": "shpo"}), None, RerankSettings())
    with pytest.raises(NoPipelineError):
        catalog.choose(None, IndexSettings(pipeline="gone"), RerankSettings())
    unread = PipelineCatalog(Upstream(UpstreamSettings()), "i", 0)
    with pytest.raises(NoPipelineError):
        unread.choose(read_block({"pipeline": "shop"}), None, RerankSettings())


def test_each_key_comes_from_the_first_that_has_it() -> None:
    body = {"diversity": 0.4, "rank_window_size": 5000, "min_score": 0.3, "enabled": True}
    choice = Choice("shop", "request", read_pipeline(body))
    index = IndexSettings(rank_window_size=50, diversity=0.1, enabled=False)
    asked = read_block({"diversity": 0.9, "min_score": None, "crowding": [], "query_text": "w"})
    options = resolve_options(join_pipeline(asked, choice), RerankSettings(timeout_ms=70), index)
    assert (options.ranking.diversity, options.query_text) == (0.9, "w")
    assert (options.ranking.min_score, options.enabled) == (0.3, True)
    assert (options.window, options.clamped) == (1000, ("rank_window_size",))
    assert options.timeout_s == 0.07


def test_the_request_can_take_caps_back() -> None:
    caps = {"crowding": [{"field": "brand", "max_count": 1}]}
    choice = Choice("shop", "request", read_pipeline(caps))
    for text, count in (('{"crowding": []}', 0), ("{}", 1)):
        joined = join_pipeline(read_block(json.loads(text)), choice)
        options = resolve_options(joined, RerankSettings(), None)
        assert len(options.ranking.crowding) == count


def test_a_pipeline_does_not_switch_on_what_the_operator_switched_off() -> None:
    choice = Choice("shop", "[rerank]", read_pipeline({"enabled": True}))
    joined = join_pipeline(None, choice)
    assert not resolve_options(joined, RerankSettings(enabled=False), None).enabled


def test_searches_by_a_missing_pipeline_keep_the_engines_order() -> None:
    search = json.dumps({"query": {"match": {"title": "x"}}}).encode()
    kind = b"Content-Type: application/json"
    with (
        upstream() as raw,
        serve_app(proxy_settings(raw.url, rerank={"pipeline": "gone"})) as (proxy, _),
    ):
        status, head, _ = ask(proxy, b"POST /i/_search", kind, body=search)
        assert [request.body for request in raw.requests] == [search]
    assert (status, find(head, "x-es-rerank")) == (200, ["fallback; reason=no-pipeline"])
