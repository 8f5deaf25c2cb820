"""The demonstration's shops."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from es_rerank.demo.shops import QUERIES, load_shop
from es_rerank.errors import ConfigError, DataError


def test_the_sample_shows_five_judged_queries() -> None:
    shop = load_shop("sample", None)
    assert len(shop.queries) == QUERIES
    assert all(any(shop.grades[key].values()) for key in shop.queries)
    assert all(shop.documents[key]["id"] == key for key in list(shop.documents)[:50])


def test_the_digest_follows_the_documents() -> None:
    assert load_shop("sample", None).digest() == load_shop("sample", None).digest()


def write_icecat(folder: Path) -> None:
    products = [
        {"id": str(i), "title": f"Cable {i}", "brand": "Acme", "price_usd": 2.5, "attributes": {}}
        for i in range(20)
    ]
    with gzip.open(folder / "icecat_products.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(product) + "\n" for product in products)
    rows = [f"query {i},{i},{0 if i == 3 else 2}" for i in range(12)]
    (folder / "chorus_ratings_dev.csv").write_text("query,docid,rating\n" + "\n".join(rows) + "\n")


def test_icecat_shows_only_queries_with_a_relevant_product(tmp_path: Path) -> None:
    write_icecat(tmp_path)
    shop = load_shop("icecat", tmp_path)
    assert len(shop.documents) == 20
    assert len(shop.queries) == QUERIES
    assert "query 3" not in shop.queries
    assert shop.price == "price_usd"


def test_icecat_needs_its_folder_and_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data-dir"):
        load_shop("icecat", None)
    with pytest.raises(DataError):
        load_shop("icecat", tmp_path)
