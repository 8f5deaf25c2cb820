"""Reviews in an index: read, found again by what they say, and read anew only where changed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from es_rerank.cluster.client import SearchClient
from tests.live.conftest import Reindex

PRODUCTS: dict[str, dict[str, Any]] = {
    "good": {
        "title": "lamp",
        "reviews": [
            {"rating": 5, "text": "Love it, the battery lasts forever."},
            {"rating": 5, "text": "电池很耐用，非常满意。"},
        ],
    },
    "bad": {"title": "torch", "reviews": [{"rating": 1, "text": "Terrible. The battery died."}]},
    "odd": {"title": "hat", "reviews": [{"rating": None, "text": "<p>\u0000</p>"}, {}]},
    "none": {"title": "cup"},
}


def test_reviews_are_read(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path
) -> None:
    for key, source in PRODUCTS.items():
        client.request("PUT", f"/{index_name}/_doc/{key}", source)
    recipe, alias = tmp_path / "recipe.toml", f"{index_name}-er"
    recipe.write_text('text_fields = ["title"]\n[sentiment]\nprior = 1\n')
    arguments = (index_name, alias, "--yes", "--json", "--recipe", str(recipe))

    dry = reindex(*arguments, "--dry-run")
    assert dry.code == 0, dry.err
    assert "polarity" in json.dumps(dry.json["samples"])

    first = reindex(*arguments)
    assert (first.code, first.json["enriched"], first.json["failed"]) == (0, 4, 0), first.err
    hits = client.search(alias, {"query": {"match_all": {}}}).hits
    sources = {hit.id: json.loads(bytes(hit.source)) for hit in hits}  # type: ignore[arg-type]
    found = {key: source["es_rerank"].get("sentiment") for key, source in sources.items()}
    assert found["good"]["polarity"] > 0.3 > -0.3 > found["bad"]["polarity"]
    assert (found["good"]["count"], found["good"]["stars"]) == (2, 5)
    assert found["odd"] is found["none"] is None

    nested = {
        "nested": {
            "path": "es_rerank.sentiment.aspects",
            "query": {
                "bool": {
                    "filter": [
                        {"term": {"es_rerank.sentiment.aspects.name": "battery"}},
                        {"range": {"es_rerank.sentiment.aspects.polarity": {"gte": 0.1}}},
                    ]
                }
            },
        }
    }
    assert [hit.id for hit in client.search(alias, {"query": nested}).hits] == ["good"]
    best = client.search(alias, {"sort": [{"es_rerank.sentiment.mean": "desc"}]}).hits
    assert [hit.id for hit in best][:2] == ["good", "bad"]

    time.sleep(1.1)  # provenance counts whole seconds
    client.request("PUT", f"/{index_name}/_doc/none", {**PRODUCTS["bad"], "title": "cup"})
    second = reindex(*arguments)
    assert (second.code, second.json["enriched"]) == (0, 1), second.err
