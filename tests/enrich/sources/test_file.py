"""Files of rows: stable ids, each row once, and what is wrong with a row is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.sink import Failure
from es_rerank.enrich.sources.file import FileSource, open_file
from es_rerank.enrich.sources.rows import infer_properties
from es_rerank.enrich.sources.source import Page, Record
from es_rerank.errors import ConfigError


def _read(source: FileSource, after: int = -1) -> Page:
    records: list[Record] = []
    failures: list[Failure] = []
    place = after
    for chunk in source.chunks({0: after}):
        assert chunk.start == place + 1
        place = chunk.end
        for page in chunk.load():
            records += page.records
            failures += page.failures
    assert place == source.look()[0]
    return Page(records, failures)


def _open(path: Path, id_field: str | None = None, page_size: int = 3) -> FileSource:
    return open_file(path, id_field=id_field, page_size=page_size)


def test_jsonl_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [b'{"id": 7, "price": 1.10}', b'{"id": "x", "t": "\xe9\x9e\x8b"}']
    path.write_bytes(b"\n\n".join(rows) + b"\n")
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        page = _read(_open(file))
        assert [record.raw for record in page.records] == rows
        assert [record.id for record in page.records] == ["7", "x"]
        assert [record.place for record in page.records] == [0, 1]


def test_ids_without_a_column_follow_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"t": 1}\n{"t": 2}\n')
    before = [record.id for record in _read(_open(path)).records]
    path.write_text('{"t": 0}\n{"t": 2}\n{"t": 1}\n')
    after = [record.id for record in _read(_open(path)).records]
    assert after[1:] == before[::-1]
    assert len(set(after)) == 3


def test_an_id_under_its_own_name_is_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"_id": "a", "t": 1}\n{"_id": "b", "t": 1.10}\n')
    page = _read(_open(path))
    assert [(record.id, record.raw) for record in page.records] == [
        ("a", b'{"t":1}'),
        ("b", b'{"t":1.10}'),
    ]


def test_what_elasticdump_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"_index":"i","_id":"a","_routing":"r","_source":{"t":1.0}}\n')
    source = _open(path)
    (record,) = _read(source).records
    assert (record.id, record.route, record.raw) == ("a", "r", b'{"t":1.0}')
    assert source.described.mappings["properties"]["t"] == {"type": "double"}


def test_what_is_wrong_with_a_row_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        b'{"sku": "a"}',
        b'{"sku": ""}',
        b'{"sku": null}',
        b"{}",
        b'{"sku": {"a": 1}}',
        b"[1]",
        b'{"sku": "b"',
        b'{"sku": "b", "t": "\xff"}',
        b'{"sku": "%s"}' % (b"x" * 513),
        b'{"sku": 1.0}',
    ]
    path.write_bytes(b"\n".join(rows))
    page = _read(_open(path, "sku"))
    assert [record.id for record in page.records] == ["a", "1.0"]
    assert [failure.id for failure in page.failures] == [f"row {n}" for n in range(2, 10)]
    said = [failure.reason for failure in page.failures]
    assert all("no value in 'sku'" in reason for reason in (*said[:4], said[7]))
    assert "no JSON object" in said[4]
    assert "no JSON object" in said[5]
    assert said[6] == "it is not UTF-8 (at byte 19)"


def test_going_on_behind_a_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"id": {n}}}\n' for n in range(20)))
    source = _open(path)
    assert [record.place for record in _read(source, after=6).records] == list(range(7, 20))
    assert source.count() == 20
    fetched = source.fetch([("3", None), ("17", None), ("99", None)])
    assert [record.id for record in fetched.records] == ["3", "17"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    lines = [
        ["sku", "title", "price", "ean", "stock"],
        ["a", '"Shoe\nred"', "10.50", "0012", "3"],
        ["b", "鞋", "", "0034", "4"],
        ["c", "x", "7", "0056", "5", "more"],
    ]
    path.write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8-sig")
    source = _open(path, "sku")
    page = _read(source)
    assert [json.loads(record.raw) for record in page.records] == [
        {"sku": "a", "title": "Shoe\nred", "price": "10.50", "ean": "0012", "stock": "3"},
        {"sku": "b", "title": "鞋", "ean": "0034", "stock": "4"},
    ]
    (failure,) = page.failures
    assert (failure.id, "1 cells more" in failure.reason) == ("row 3", True)
    properties = source.described.mappings["properties"]
    types = {name: field["type"] for name, field in properties.items()}
    assert types == {
        **{"sku": "text", "title": "text", "ean": "text"},
        **{"price": "double", "stock": "long"},
    }


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("sku,title\n1,für\n2,ok\n".encode("latin-1"))
    page = _read(_open(path, "sku"))
    assert [record.id for record in page.records] == ["2"]
    assert "not UTF-8" in page.failures[0].reason


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    rows: list[dict[str, Any]] = [
        {"id": 1, "title": "a", "tags": ["x", "y"], "price": 1.5},
        {"id": 2, "title": None, "tags": [], "price": None},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    page = _read(_open(path))
    assert [(record.id, json.loads(record.raw)) for record in page.records] == [
        ("1", rows[0]),
        ("2", {"id": 2, "tags": []}),
    ]
    path.write_bytes(b"no parquet")
    with pytest.raises(Exception, match="no Parquet file"):
        _open(path)


def test_files_that_will_not_do(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(ConfigError, match="there is no file"):
        _open(path)
    with pytest.raises(ConfigError, match="does not say what it is"):
        _open(tmp_path / "a.xml")
    path.write_text('{"title": 1}\n')
    with pytest.raises(ConfigError, match=r"no column 'sku' .*there are title"):
        _open(path, "sku")
    path.write_text("")
    assert _read(_open(path)).records == []


def test_a_mapping_is_made_up() -> None:
    rows: list[dict[str, Any]] = [
        {
            "a": "x",
            "n": 1,
            "f": 1.5,
            "b": True,
            "o": {"k": ["t"], "m": {}},
            "mixed": 1,
            "nil": None,
        },
        {"n": 2, "f": 2, "mixed": "x"},
    ]
    properties = infer_properties(rows)
    kinds = {name: field.get("type", "object") for name, field in properties.items()}
    assert kinds == {"a": "text", "n": "long", "f": "double", "b": "boolean", "o": "object"}
    wide = [{"o": {f"k{n}": 1 for n in range(101)}}]
    assert infer_properties(wide)["o"] == {"type": "object", "enabled": False}
