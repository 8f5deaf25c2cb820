"""Rows of files as JSON objects: JSONL, CSV and Parquet, plain or packed with gzip."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import orjson

from es_rerank.errors import ConfigError, DataError

Rows = Callable[[Path], Iterator[bytes | str]]
"""Yields each row: a JSON object, or as a text the reason why it is none."""

DELIMITERS = ",;\t|"
BATCH = 1000


def read_jsonl(path: Path) -> Iterator[bytes | str]:
    """Yield the lines that are not blank, byte for byte."""
    with _open(path) as file:
        for line in file:
            if stripped := line.strip():
                yield stripped


def read_csv(path: Path) -> Iterator[bytes | str]:
    """Yield each row as an object of texts by column; empty cells are left out.

    The first row names the columns. Commas, semicolons, tabs or bars part them.
    """
    with _open(path) as binary:
        first = binary.readline().decode("utf-8-sig", "replace")
    delimiter = max(DELIMITERS, key=first.count)
    csv.field_size_limit(1 << 27)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if None in row:
                    yield f"it has {len(row[None])} cells more than there are columns"
                    continue
                try:
                    yield orjson.dumps({name: cell for name, cell in row.items() if cell})
                except TypeError:  # a surrogate stands for each byte that is no UTF-8
                    yield "it is not UTF-8: save the file in that encoding"
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def read_parquet(path: Path) -> Iterator[bytes | str]:
    """Yield each row; null cells are left out. Raises ConfigError without pyarrow."""
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise ConfigError(
            "Parquet files are read by pyarrow: pip install 'es-rerank[parquet]'"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    kept = {name: cell for name, cell in row.items() if cell is not None}
                    yield orjson.dumps(kept, default=str)
    except ArrowInvalid as error:
        raise DataError(f"{path} is no Parquet file: {error}") from None


READERS: Mapping[str, Rows] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}


def find_reader(path: Path) -> Rows | None:
    """The reader for a file of that name; None where the name tells of none."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return READERS.get(suffix.lower())


def infer_properties(rows: list[dict[str, Any]], *, texts: bool = False) -> dict[str, Any]:
    """Make up a mapping from sample rows. texts: whether numbers stand there as texts (CSV).

    Texts can be searched, and compared by their `keyword`. Numbers that begin with a zero are
    texts. An object with more keys than LARGEST_OBJECT is kept, but not searched.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            cells = value if isinstance(value, list) else [value]
            values.setdefault(name, []).extend(cell for cell in cells if cell is not None)
    found = {name: _infer(cells, texts) for name, cells in values.items() if cells}
    return {name: field for name, field in found.items() if field is not None}


LARGEST_OBJECT = 100
TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


def _infer(cells: list[Any], texts: bool) -> dict[str, Any] | None:
    kinds = {type(cell) for cell in cells}
    if kinds == {dict}:
        inner = infer_properties(cells, texts=texts)
        if len(inner) > LARGEST_OBJECT:
            return {"type": "object", "enabled": False}
        return {"properties": inner}
    if kinds == {bool}:
        return {"type": "boolean"}
    if kinds == {str}:
        if texts and all(map(_is_number, cells)):
            return {"type": "long" if all(cell.isdecimal() for cell in cells) else "double"}
        return TEXT
    if kinds == {int}:
        return {"type": "long"}
    return {"type": "double"} if kinds <= {int, float} else None


def _is_number(cell: str) -> bool:
    digits = cell.removeprefix("-")
    whole, _, part = digits.partition(".")
    leads = len(whole) > 1 and whole.startswith("0")
    return whole.isdecimal() and not leads and len(whole) < 16 and (part.isdecimal() or not part)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
