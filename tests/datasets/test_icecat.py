from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from es_rerank.datasets.icecat import (
    attributes_text,
    baseline_query,
    document,
    embedding_text,
    load_products,
    load_ratings,
    mapping,
    subtopics,
)
from es_rerank.errors import DataError

LAPTOP: dict[str, Any] = {
    "id": "2101957",
    "title": "Pavilion dv7 Notebook Silver",
    "name": "dv7",
    "brand": "HP",
    "price_usd": 109.95,
    "description": "Core 2 Duo, 4GB DDR2",
    "attributes": {"product_colour": "Silver", "display_diagonal": 17.0, "weight": 3.25},
    "image": "http://images.example/1.jpg",
    "ean": "0884420588030",
    "date_released": "2008-12-19",
    "derived_type": "notebook",
    "derived_type_source": "attr",
}
TONER = {**LAPTOP, "id": "3920564", "brand": "Xerox", "attributes": {"original": True}}


def write_products(folder: Path, text: str, packed: bool = True) -> None:
    if packed:
        (folder / "icecat_products.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "icecat_products.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("packed", [True, False])
def test_products_come_as_the_file_has_them(tmp_path: Path, packed: bool) -> None:
    write_products(tmp_path, f"{json.dumps(LAPTOP)}\n\n{json.dumps(TONER)}\n", packed)
    assert list(load_products(tmp_path)) == [LAPTOP, TONER]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "Line 1 .* is not JSON"),
        (f"{json.dumps(LAPTOP)}\n[1]", "Line 2 .* is not a JSON object"),
        ('{"title": "a", "brand": "b"}', "Line 1 .* no text under 'id'"),
        ('{"id": 7, "title": "a", "brand": "b"}', "Line 1 .* no text under 'id'"),
        ('{"id": "7", "title": "a", "brand": "b", "attributes": ["c"]}', "'attributes'"),
    ],
)
def test_a_malformed_product_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    write_products(tmp_path, text)
    with pytest.raises(DataError, match=complaint):
        list(load_products(tmp_path))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_products(tmp_path, json.dumps(LAPTOP))
    path = tmp_path / "icecat_products.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"icecat_products.jsonl.gz cannot be read"):
        list(load_products(tmp_path))
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        list(load_products(tmp_path))


def test_absent_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"icecat_products.jsonl.gz.*querqy/chorus.*Open Content"):
        list(load_products(tmp_path))
    with pytest.raises(DataError, match=r"chorus_ratings_dev.csv.*querqy/chorus.*--data-dir"):
        load_ratings(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        load_ratings(tmp_path / "elsewhere")


def write_ratings(folder: Path, text: str) -> None:
    (folder / "chorus_ratings_dev.csv").write_text(text, encoding="utf-8")


def test_ratings_become_qrels(tmp_path: Path) -> None:
    write_ratings(
        tmp_path, 'query,docid,rating\r\nlaptop,1,0\r\n"desk, lamp",2,3\r\nlaptop,2,1\r\n'
    )
    assert load_ratings(tmp_path) == {"laptop": {"1": 0, "2": 1}, "desk, lamp": {"2": 3}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("query,docid,rating\nlaptop,1,4", "Line 2 .* rating '4'"),
        ("query,docid,rating\nlaptop,1,0.5", "rating '0.5'"),
        ("query,docid,rating\nlaptop,1", "Line 2 .* lacks"),
        ("query,document,rating\nlaptop,1,0", "lacks one of the columns"),
        ("query,docid,rating\nlaptop,1,0\nlaptop,1,2", "Line 3 .* second time"),
    ],
)
def test_malformed_ratings_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    write_ratings(tmp_path, text)
    with pytest.raises(DataError, match=complaint):
        load_ratings(tmp_path)


def test_the_indexed_document_holds_its_attributes_as_one_text() -> None:
    indexed = document(LAPTOP)
    assert "attributes" not in indexed
    assert "id" not in indexed
    assert indexed["title"] == LAPTOP["title"]
    assert (
        indexed["attributes_text"] == "product colour: Silver; display diagonal: 17; weight: 3.25"
    )
    assert document({**LAPTOP, "attributes": {}})["attributes_text"] == ""
    assert attributes_text({"wireless": True}) == "wireless: true"


def test_the_mapping_knows_every_field_of_a_document_and_takes_the_analyzer() -> None:
    properties = mapping("standard")["properties"]
    assert set(document(LAPTOP)) == set(properties)
    analyzers = {p["analyzer"] for p in properties.values() if p["type"] == "text"}
    assert analyzers == {"standard"}


def test_the_baseline_asks_for_mapped_text_fields() -> None:
    properties = mapping()["properties"]
    asked = baseline_query("laptop")["multi_match"]
    assert asked["query"] == "laptop"
    assert {properties[field.partition("^")[0]]["type"] for field in asked["fields"]} == {"text"}


def test_subtopics_are_brand_and_type() -> None:
    assert subtopics(LAPTOP) == ["brand:HP", "type:notebook"]
    assert subtopics({**LAPTOP, "derived_type": ""}) == ["brand:HP"]


def test_the_text_of_ild_is_title_and_description() -> None:
    assert embedding_text(LAPTOP) == "Pavilion dv7 Notebook Silver. Core 2 Duo, 4GB DDR2"
    assert embedding_text({"title": "Lamp", "description": ""}) == "Lamp"
