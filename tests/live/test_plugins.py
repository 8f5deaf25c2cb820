"""A package of plugins at work: searches through the proxy, and a reindex, on real engines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cli.main import main
from es_rerank.config import load_settings
from es_rerank.engine.node import Node
from es_rerank.errors import ConfigError
from es_rerank.proxy.app import ProxyApp
from tests.plugins import install_example
from tests.proxy.catalogue import load, request
from tests.proxy.wire import serve_app

PRODUCTS = 12
TABLES: dict[str, Any] = {
    "proxy": {"port": 0},
    "model": {"kind": "plugin", "name": "overlap"},
    "rerank": {
        "timeout_ms": 20_000,
        "relevance_weight": 0.0,
        "first_stage_weight": 1.0,
        "signals": {"freshness": 9.0},
        "diversify": {"method": "plain-mmr", "diversity": 0.0},
    },
    "plugins": {"freshness": {"half_life_days": 30}},
}


@pytest.fixture(autouse=True)
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example(tmp_path, monkeypatch)


@pytest.fixture
def shop(engine: Node, index_name: str) -> str:
    """Twelve shoes of two brands, the newest last."""
    now = datetime.now(UTC)
    sources = [
        {
            "title": "shoe " + "red " * (PRODUCTS - i),
            "brand": "Acme" if i % 3 else "Birch",
            "date_released": (now - timedelta(days=30 * (PRODUCTS - i))).date().isoformat(),
        }
        for i in range(PRODUCTS)
    ]
    mapping = {
        "properties": {"title": {"type": "text"}, "brand": {"type": "keyword"}},
    }
    load(engine.url, index_name, [json.dumps(s).encode() for s in sources], mapping)
    return index_name


def search(proxy: str, index: str, **block: Any) -> Any:
    body = {"query": {"match": {"title": "shoe"}}, "size": PRODUCTS, "ext": {"es_rerank": block}}
    answer = request(proxy, "POST", f"/{index}/_search", body)
    assert answer.status == 200, answer.data
    return answer


def ids(answer: Any) -> list[int]:
    return [int(hit["_id"]) for hit in answer.json()["hits"]["hits"]]


def test_signal_scorer_and_diversifier_rank_a_search(engine: Node, shop: str) -> None:
    tables = {**TABLES, "upstream": {"url": engine.url}}
    with serve_app(load_settings(None, tables)) as (proxy, _):
        fresh = search(proxy, shop, explain=True)
        assert fresh.headers["X-Es-Rerank"] == "applied"
        assert ids(fresh) == list(range(PRODUCTS))[::-1]
        details = fresh.json()["hits"]["hits"][0]["_explanation"]["details"]
        assert any(d["description"] == "signal freshness" and d["value"] > 0.4 for d in details)
        spread = search(proxy, shop, diversity=0.9)
        brands = [hit["_source"]["brand"] for hit in spread.json()["hits"]["hits"]]
        assert set(brands[:2]) == {"Acme", "Birch"}
        hidden = {
            "query": {"match": {"title": "shoe"}},
            "size": PRODUCTS,
            "_source": False,
        }
        answer = request(proxy, "POST", f"/{shop}/_search", hidden)
        assert ids(answer) == ids(fresh)
        assert all("fields" not in hit for hit in answer.json()["hits"]["hits"])
        by_words = {"query": {"match": {"title": "red shoe"}}, "size": PRODUCTS}
        by_words["ext"] = {"es_rerank": {"weights": {"relevance": 1.0, "first_stage": 0.0}}}
        assert request(proxy, "POST", f"/{shop}/_search", by_words).status == 200


def test_a_plugin_that_breaks_leaves_the_engines_order(engine: Node, shop: str) -> None:
    tables = {**TABLES, "upstream": {"url": engine.url}}
    tables["plugins"] = {"freshness": {"field": "brand", "half_life_days": 0}}
    direct = ids(
        request(
            engine.url,
            "POST",
            f"/{shop}/_search",
            {"query": {"match": {"title": "shoe"}}, "size": PRODUCTS},
        )
    )
    request(engine.url, "POST", f"/{shop}/_update/3?refresh=true", {"doc": {"brand": "2020-01-01"}})
    with serve_app(load_settings(None, tables)) as (proxy, _):
        answer = search(proxy, shop)
        assert answer.headers["X-Es-Rerank"] == "fallback; reason=ranking-error"
        assert ids(answer) == direct


def test_a_name_that_is_not_installed_is_refused_at_the_start() -> None:
    for table in ({"signals": {"freshnes": 1.0}}, {"diversify": {"method": "plain-mmrr"}}):
        with pytest.raises(ConfigError, match="did you mean"):
            ProxyApp(load_settings(None, {"rerank": table}))


def test_an_enricher_adds_its_field(
    engine: Node, shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "reindex",
        "--url",
        engine.url,
        shop,
        f"{shop}-er",
        "--yes",
        "--enricher",
        "length",
    ]
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 0, capsys.readouterr().err
    hits = request(engine.url, "GET", f"/{shop}-er/_search?size=20").json()["hits"]["hits"]
    assert len(hits) == PRODUCTS
    for hit in hits:
        source = hit["_source"]
        assert source["es_rerank"]["title_length"] == len(source["title"].strip())
        assert "vector" in source["es_rerank"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as exited:
        main([*arguments[:-1], "lenght"])
    assert exited.value.code == 2
    assert "did you mean 'length'?" in capsys.readouterr().err
