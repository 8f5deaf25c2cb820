"""The pages of one list through the proxy: a scripted cluster that changes, a model that errs."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.proxy.wire import (
    RawUpstream,
    Request,
    answer,
    ask,
    find,
    proxy_settings,
    reranker,
    serve_app,
    upstream,
)

JSON = b"Content-Type: application/json"
MAPPING = {"shop": {"mappings": {"properties": {"title": {"type": "text"}}}}}
QUERY: dict[str, Any] = {"query": {"match": {"title": "shoes"}}}


@dataclass
class Shop:
    """A cluster of numbered hits, and a model that prefers high numbers, or does what it is told.

    numbers: in the engine's order. brand: of a number.
    """

    numbers: list[int] = field(default_factory=lambda: list(range(1, 31)))
    score: Any = None
    brand: Any = "{}".format

    def search(self, request: Request, connection: socket.socket) -> None:
        if request.target.endswith(b"/_mapping"):
            answer(connection, 200, json.dumps(MAPPING).encode())
            return
        body = json.loads(request.body or b"{}")
        start, size = body.get("from", 0), body.get("size", 10)
        hits = [
            {
                "_index": "shop",
                "_id": str(n),
                "_score": 99.0 - i,
                "_source": {"title": f"shoe {n}", "brand": self.brand(n)},
            }
            for i, n in enumerate(self.numbers)
        ][start : start + size]
        whole = {"total": {"value": len(self.numbers)}, "max_score": 99.0, "hits": hits}
        answer(connection, 200, json.dumps({"took": 1, "hits": whole}).encode())

    def prefer(self, _: str, text: str) -> float:
        number = float(text.rsplit(maxsplit=1)[-1])
        return number if self.score is None else float(self.score(number))


Stand = tuple[str, Shop, RawUpstream]


@contextlib.contextmanager
def stand(**rerank: Any) -> Iterator[Stand]:
    shop = Shop()
    own = {"relevance_weight": 1.0, "first_stage_weight": 0.0, "diversify": {"diversity": 0.0}}
    with upstream(shop.search) as raw, reranker(shop.prefer) as model:
        settings = proxy_settings(raw.url, model.url, rerank={**own, **rerank})
        with serve_app(settings) as (proxy, _):
            model.requests.clear()  # the warm-up
            yield proxy, shop, model


def search(
    proxy: str, start: int, size: int = 10, headers: tuple[bytes, ...] = (), **body: Any
) -> tuple[list[int], str, bytes]:
    """Returns the page's numbers, the mark and the head."""
    sent = json.dumps({**QUERY, **body, "from": start, "size": size}).encode()
    status, head, text = ask(proxy, b"POST /shop/_search", JSON, *headers, body=sent)
    assert status == 200, text
    hits = json.loads(text)["hits"]["hits"]
    scores = [hit["_score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    return [int(hit["_id"]) for hit in hits], "".join(find(head, "x-es-rerank")), head


def timing(head: bytes) -> list[str]:
    return [part.split(";")[0] for part in find(head, "server-timing")[0].split(", ")]


def test_a_list_is_ranked_once_and_its_pages_are_cut_out_of_it() -> None:
    with stand() as (proxy, shop, model):
        first, mark, head = search(proxy, 0)
        assert (first, mark, len(model.requests)) == (list(range(30, 20, -1)), "applied", 1)
        assert timing(head) == ["upstream", "score", "diversify", "rerank"]
        shop.score = lambda number: -number  # a model that would now say the contrary
        second, mark, head = search(proxy, 10, highlight={"fields": {"title": {}}})
        assert (second, mark, len(model.requests)) == (list(range(20, 10, -1)), "applied", 1)
        assert timing(head) == ["upstream", "order-cache", "rerank"]
        assert search(proxy, 0)[0] == first
        text = ask(proxy, b"GET /_es_rerank/metrics")[2].decode()
        counts = dict(
            line.removeprefix("es_rerank_order_cache_total").rsplit(" ", 1)
            for line in text.splitlines()
            if line.startswith("es_rerank_order_cache_total")
        )
        assert float(counts['{result="hit"}']) >= 2
        assert float(counts['{result="miss"}']) >= 1


def test_documents_that_come_and_go_between_the_pages() -> None:
    with stand(rank_window_size=20, max_rank_window_size=20) as (proxy, shop, _):
        assert search(proxy, 0, 5)[0] == [20, 19, 18, 17, 16]
        for gone in (19, 14):
            shop.numbers.remove(gone)
        shop.numbers.insert(0, 77)
        # 14 was not shown: the others close up. 21 and 77 are new; the window is full.
        assert search(proxy, 5, 5)[0] == [15, 13, 12, 11, 10]
        assert search(proxy, 10, 10)[0] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 77]
        assert search(proxy, 0, 5)[0] == [20, 21, 18, 17, 16]
        assert search(proxy, 20, 5)[0] == [22, 23, 24, 25, 26]


def test_a_short_list_leaves_a_gap_on_a_page_that_was_shown() -> None:
    with stand() as (proxy, shop, _):
        assert search(proxy, 0, 3)[0] == [30, 29, 28]
        shop.numbers.remove(29)
        assert search(proxy, 0, 3)[0] == [30, 28]
        assert search(proxy, 3, 3)[0] == [27, 26, 25]


@pytest.mark.parametrize("order_cache_s", [0, 60])
def test_what_crowding_drops_leaves_the_windows_last_places_empty(order_cache_s: int) -> None:
    """So every page is a slice of one list, and what follows the window stands where it stood."""
    cap = {"field": "brand", "max_count": 1, "per": 30, "mode": "drop"}
    ext = {"es_rerank": {"rank_window_size": 20, "crowding": [cap]}}
    with stand(order_cache_s=order_cache_s) as (proxy, shop, _):
        shop.brand = lambda number: "many" if number % 2 else f"brand {number}"
        pages = [search(proxy, start, 8, ext=ext)[0] for start in (0, 8, 16, 24)]
    # Of the first twenty the even ones are left and the best odd one; then the engine's order.
    assert pages[0] == [20, 19, 18, 16, 14, 12, 10, 8]
    assert pages[1] == [6, 4, 2]
    assert pages[2] == [21, 22, 23, 24]
    assert pages[3] == [25, 26, 27, 28, 29, 30]


@pytest.mark.parametrize("header", [b"Authorization: Basic YTpi", b"es-security-runas-user: ann"])
def test_callers_do_not_share(header: bytes) -> None:
    with stand() as (proxy, shop, model):
        search(proxy, 0)
        shop.score = lambda number: -number
        assert search(proxy, 0, headers=(header,))[0] == list(range(1, 11))
        assert len(model.requests) == 2


def test_explain_and_a_span_of_0_rank_anew() -> None:
    with stand() as (proxy, _, model):
        for expected in (1, 2):
            search(proxy, 0, ext={"es_rerank": {"explain": True}})
            assert len(model.requests) == expected
    with stand(order_cache_s=0) as (proxy, _, model):
        search(proxy, 0)
        search(proxy, 0)
        assert len(model.requests) == 2


def test_an_order_is_forgotten_in_the_end() -> None:
    with stand(order_cache_s=0.2) as (proxy, shop, _):
        search(proxy, 0)
        shop.score = lambda number: -number
        time.sleep(0.3)
        assert search(proxy, 0)[0] == list(range(1, 11))


def slow(number: float) -> float:
    time.sleep(0.4 if number == 1 else 0)
    return number


def test_what_follows_a_page_that_fell_back_keeps_to_the_engines_order() -> None:
    with stand(timeout_ms=100) as (proxy, shop, model):
        shop.score = slow
        fallen, mark, _ = search(proxy, 0)
        assert (fallen, mark) == (list(range(1, 11)), "fallback; reason=deadline")
        shop.score = None
        shop.numbers.insert(0, 99)
        second, mark, head = search(proxy, 10)
        assert (second, mark) == (list(range(11, 21)), "fallback; reason=deadline")
        assert timing(head) == ["upstream", "order-cache", "rerank"]
        assert len(model.requests) == 1
        time.sleep(0.4)  # the scorer's thread comes free
        # The first page may rank again, and the pages after it follow that.
        assert search(proxy, 0)[:2] == ([99, *range(30, 21, -1)], "applied")
        assert search(proxy, 10)[:2] == (list(range(21, 11, -1)), "applied")
        # A ranked order is not given up for the engine's.
        shop.score = slow
        assert search(proxy, 0)[:2] == ([99, *range(30, 21, -1)], "applied")


def test_the_same_list_at_a_time_is_ranked_once() -> None:
    with stand(timeout_ms=10_000) as (proxy, shop, model), ThreadPoolExecutor(4) as clients:
        shop.score = slow
        pages = list(clients.map(lambda start: search(proxy, start), [0, 10, 20, 0]))
        assert len(model.requests) == 1
    assert [page[0] for page in pages] == [
        list(range(30, 20, -1)),
        list(range(20, 10, -1)),
        list(range(10, 0, -1)),
        list(range(30, 20, -1)),
    ]
