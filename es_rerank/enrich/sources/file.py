"""A file of rows as a source: one lane, whose places are the rows' numbers."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
import orjson

from es_rerank.cluster.sink import Failure
from es_rerank.cluster.source import SourceIndex
from es_rerank.enrich.sources.rows import Rows, find_reader, infer_properties, read_csv
from es_rerank.enrich.sources.source import Chunk, Page, Record
from es_rerank.errors import ConfigError

SAMPLED = 1000
MAX_ID_BYTES = 512  # what the engines take
CHUNK_BYTES = 4 * 1024 * 1024
LIKELY_IDS = ("_id", "id")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass
class FileSource:
    """Rows of a file. id_field: the column of the `_id`; None: a hash of the row's content."""

    path: Path
    rows: Rows
    described: SourceIndex
    id_field: str | None
    page_size: int
    is_live: bool = False

    @property
    def identity(self) -> Mapping[str, Any]:
        """The file as it is now."""
        seen = self.path.stat()
        return {
            "file": str(self.path.resolve()),
            "size": seen.st_size,
            "changed": seen.st_mtime_ns,
            "id_field": self.id_field,
        }

    @cached_property
    def _total(self) -> int:
        return sum(1 for _ in self.rows(self.path))

    def count(self) -> int:
        """How many rows there are."""
        return self._total

    def look(self) -> Mapping[int, int]:
        """The one lane ends with the last row."""
        return {0: self._total - 1}

    def chunks(self, places: Mapping[int, int]) -> Iterator[Chunk]:
        """Cut the rows behind the place into chunks."""
        start = places.get(0, -1) + 1
        numbered = itertools.islice(enumerate(self.rows(self.path)), start, None)
        held: list[tuple[int, bytes | str]] = []
        size = 0
        for number, row in numbered:
            held.append((number, row))
            size += len(row)
            if len(held) == self.page_size or size > CHUNK_BYTES:
                yield Chunk(0, held[0][0], number, partial(self._load, held))
                held, size = [], 0
        if held:
            yield Chunk(0, held[0][0], held[-1][0], partial(self._load, held))

    def sample(self, count: int) -> Page:
        """The first rows."""
        rows = itertools.islice(enumerate(self.rows(self.path)), count)
        return self._page(list(rows))

    def fetch(self, keys: Sequence[tuple[str, str | None]]) -> Page:
        """The rows with these ids and routings; the last one where several have the same."""
        wanted = set(keys)
        found: dict[tuple[str, str | None], Record] = {}
        for chunk in self.chunks({}):
            for page in chunk.load():
                for record in page.records:
                    if (record.id, record.route) in wanted:
                        found[record.id, record.route] = record
        return Page(list(found.values()))

    def _load(self, rows: list[tuple[int, bytes | str]]) -> Iterator[Page]:
        yield self._page(rows)

    def _page(self, rows: list[tuple[int, bytes | str]]) -> Page:
        records, failures = [], []
        for number, row in rows:
            try:
                records.append(self._record(number, row))
            except ValueError as error:
                failures.append(Failure(f"row {number + 1}", 0, "unreadable_row", str(error)))
        return Page(records, failures)

    def _record(self, number: int, row: bytes | str) -> Record:
        """Make the row a document. Raises ValueError that says what is wrong with it."""
        if isinstance(row, str):
            raise ValueError(row)
        members = _read_members(row)
        routing = None
        if "_source" in members and "_id" in members:  # what tools dump indices as
            routing = _as_key(members.get("_routing"))
            key, raw = _as_key(members["_id"]), bytes(members["_source"])
            _read_members(raw)
        elif self.id_field is None:
            digest = hashlib.blake2b(row, digest_size=10).hexdigest()
            key, raw = orjson.dumps(digest), row
        else:
            key, raw = _as_key(members.get(self.id_field)), row
            if self.id_field == "_id":  # a name that no field may have
                del members["_id"]
                raw = msgspec.json.encode(members)
        if key is None:
            raise ValueError(
                f"it has no value in {self.id_field or '_id'!r} that can be an _id (a text or a "
                f"number, at most {MAX_ID_BYTES} bytes)"
            )
        return Record(key, routing, number, raw)


def open_file(path: Path, *, id_field: str | None, page_size: int) -> FileSource:
    """Look at a file's first rows.

    id_field: the column of the `_id`; if None, `_id` or `id` where every one of the first thousand
    rows has it, else a hash of the row. Raises ConfigError when it cannot be read as rows, or when
    the column is in none of them.
    """
    rows = find_reader(path)
    if rows is None:
        raise ConfigError(
            f"{path}: the name does not say what it is. Files end in .jsonl, .ndjson, .csv, .tsv "
            "or .parquet, the text ones also in .gz behind that."
        )
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    sampled: list[dict[str, Any]] = []
    for row in itertools.islice(rows(path), SAMPLED):
        try:
            found = {} if isinstance(row, str) else msgspec.json.decode(row)
        except (ValueError, msgspec.DecodeError):
            continue
        if isinstance(found, dict):
            dumped = found.get("_source") if "_id" in found else None
            sampled.append({**found, **(dumped if isinstance(dumped, dict) else {})})
    names = {name for row in sampled for name in row}
    if id_field is not None and sampled and id_field not in names:
        raise ConfigError(
            f"{path} has no column {id_field!r} in its first {len(sampled):,} rows; there are "
            f"{', '.join(sorted(names)[:20])}"
        )
    if id_field is None and sampled:
        id_field = next((name for name in LIKELY_IDS if all(name in row for row in sampled)), None)
    own = ("_id", "_source", "_routing", "_index", "_type", "_score")
    fields = [{k: v for k, v in row.items() if k not in own} for row in sampled]
    properties = infer_properties(fields, texts=rows is read_csv)
    described = SourceIndex(path.name, path.name, {"properties": properties}, {}, 1)
    return FileSource(path, rows, described, id_field, page_size)


def _read_members(row: bytes) -> dict[str, msgspec.Raw]:
    try:
        row.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (at byte {error.start})") from None
    try:
        return _MEMBERS.decode(row)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no JSON object ({error})") from None


def _as_key(raw: msgspec.Raw | None) -> bytes | None:
    """A value as a JSON string that can be an `_id`; None where it cannot."""
    text = b"" if raw is None else bytes(raw).strip()
    if text[:1] == b'"':
        fits = 0 < len(str(msgspec.json.decode(text)).encode()) <= MAX_ID_BYTES
        return text if fits else None
    if text[:1].isdigit() or text[:1] == b"-":
        return b'"' + text + b'"'
    return None
