"""How hits are spread, and how that is explained, on real engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.proxy.server import serve_in_thread
from tests.proxy.catalogue import load, make_sources, request

pytestmark = pytest.mark.live

QUERY: dict[str, Any] = {"match": {"title": "red running shoes"}}
W = 60


@pytest.fixture
def shop(engine: Node, index_name: str) -> Iterator[tuple[str, str, str]]:
    """The engine's address, a proxy's, and an index's name."""
    load(engine.url, index_name, make_sources(200, seed=3))
    tables = {
        "upstream": {"url": engine.url},
        "proxy": {"port": 0},
        "rerank": {"timeout_ms": 60_000, "rank_window_size": W},
    }
    with serve_in_thread(load_settings(None, tables)) as proxy:
        yield engine.url, proxy, index_name


def search(url: str, index: str, size: int, start: int = 0, **block: Any) -> Any:
    body: dict[str, Any] = {"query": QUERY, "size": size, "from": start}
    if block:
        body["ext"] = {"es_rerank": block}
    answer = request(url, "POST", f"/{index}/_search", body)
    assert answer.status == 200, answer.data
    return answer.json()["hits"]


def ids(hits: Any) -> list[str]:
    return [hit["_id"] for hit in hits["hits"]]


def brands(hits: Any) -> list[str]:
    return [str(hit["_source"].get("brand")) for hit in hits["hits"]]


def most(values: list[str], per: int) -> int:
    """How often one value occurs at most in so many consecutive ones."""
    windows = [values[i : i + per] for i in range(max(len(values) - per + 1, 1))]
    return max(max(Counter(v for v in w if v != "None").values(), default=0) for w in windows)


def test_each_method_orders_the_whole_window(shop: tuple[str, str, str]) -> None:
    engine, proxy, index = shop
    whole = ids(search(engine, index, W))
    orders = {}
    for method in ("dpp", "mmr", "cap"):
        block: dict[str, Any] = {"diversify": method, "diversity": 0.5, "adaptive": False}
        hits = search(proxy, index, W, **block)
        assert sorted(ids(hits)) == sorted(whole)
        orders[method] = ids(hits)
        if method == "cap":
            assert most(brands(hits)[:20], 10) <= 3
    assert len({tuple(order) for order in orders.values()}) == 3


def test_dropped_hits_leave_gaps_at_the_windows_end(shop: tuple[str, str, str]) -> None:
    """Pages of ten are the kept hits, each once, then empty places, then the engine's hits."""
    engine, proxy, index = shop
    cap = {"field": "brand", "max_count": 1, "per": 10, "mode": "drop"}
    pages = [search(proxy, index, 10, start, crowding=[cap]) for start in range(0, 100, 10)]
    engines = ids(search(engine, index, 100))
    shown = [one for page in pages for one in ids(page)]
    inside = [one for page in pages[: W // 10] for one in ids(page)]
    assert len(set(shown)) == len(shown)
    assert set(inside) < set(engines[:W])
    assert shown[len(inside) :] == engines[W:]
    assert most([brand for page in pages[: W // 10] for brand in brands(page)], 10) == 1
    assert len({str(page["total"]) for page in pages}) == 1
    # One page over the window's edge is the same list.
    over = ids(search(proxy, index, 40, W - 20, crowding=[cap]))
    assert over == [one for page in pages[W // 10 - 2 : W // 10 + 2] for one in ids(page)]
    scores = [hit["_score"] for page in pages for hit in page["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_explanations_add_up(shop: tuple[str, str, str]) -> None:
    engine, proxy, index = shop
    cap = {"field": "brand", "max_count": 2}
    hits = search(proxy, index, W, explain=True, diversity=0.3, crowding=[cap])
    engines = ids(search(engine, index, W))
    texts = []
    for rank, hit in enumerate(hits["hits"], start=1):
        told = hit["_explanation"]
        assert set(told) == {"value", "description", "details"}
        assert told["value"] == hit["_score"]
        lines = {line["description"].split(" (")[0]: line for line in told["details"]}
        blended = lines["blended score, 0 to 1"]
        parts = sum(part["value"] for part in blended["details"])
        assert parts == pytest.approx(blended["value"], abs=1e-9)
        assert lines["rank by the engine"]["value"] == engines.index(hit["_id"]) + 1
        moves = sum(line["value"] for name, line in lines.items() if name.startswith("places"))
        assert lines["rank by the engine"]["value"] + moves == rank
        texts += [part["description"] for line in lines.values() for part in line["details"]]
        texts += [line["description"] for line in told["details"]]
    assert any(text.startswith("like the hit at rank ") for text in texts)
    assert any(text.startswith("at most 2 of brand ") for text in texts)
    assert any("times the usual open" in text for text in texts)


def test_a_search_of_many_words_is_spread_less(shop: tuple[str, str, str]) -> None:
    _, proxy, index = shop

    def strength(words: str, **block: Any) -> float:
        hits = search(proxy, index, W, explain=True, diversity=0.2, query_text=words, **block)[
            "hits"
        ]
        lines = [line["description"] for hit in hits for line in hit["_explanation"]["details"]]
        (told,) = {line for line in lines if "strength" in line}
        return float(told.split("strength ")[1].split(":")[0].rstrip(")"))

    assert strength("shoes") > strength("red running shoes for kids in the rain")
    assert strength("shoes", adaptive=False) == 0.2
