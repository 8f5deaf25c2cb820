"""An index, of the destination's cluster or another, read by its shards' sequence numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.shards import RawHit, Shard, count_until, read_shards, read_span
from es_rerank.cluster.source import SourceIndex
from es_rerank.enrich.sources.source import Chunk, Page, Record
from es_rerank.errors import DataError

PAGE_BYTES = 4 * 1024 * 1024
LEAST_PAGE = 4
UNPACKED = 4  # a stored document, unpacked, in multiples of its share of the shard on disk
LEAST_DENSITY = 1 / 64  # of the sequence numbers that still are documents
IDS = 1000


@dataclass
class IndexSource:
    """Documents of one index. query: which ones. fields: which parts of them, all if None."""

    client: SearchClient
    described: SourceIndex
    page_size: int
    query: Mapping[str, Any] | None = None
    fields: Sequence[str] | None = None
    is_live: bool = True
    _shards: Sequence[Shard] = ()
    _size: float = 0.0  # bytes of a document, as seen lately
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The index by its uuid, and what is taken of it."""
        return {
            "index": self.described.index,
            "uuid": self.described.uuid,
            "query": self.query,
            "alias_filter": self.described.query,
            "fields": None if self.fields is None else list(self.fields),
        }

    @property
    def wanted(self) -> Mapping[str, Any] | None:
        """The query together with the alias's own filter; None for all documents."""
        both = [query for query in (self.query, self.described.query) if query is not None]
        return {"bool": {"filter": both}} if len(both) > 1 else (both[0] if both else None)

    def count(self) -> int:
        """How many documents there are now."""
        body = {"query": self.wanted or {"match_all": {}}}
        answer = self.client.request("POST", f"/{quote(self.described.index)}/_count", body)
        return int(answer["count"])

    def look(self) -> Mapping[int, int]:
        """Find where each shard stands now."""
        self._shards = read_shards(self.client, self.described)
        if not self._size:
            held = sum(shard.documents for shard in self._shards)
            size = sum(shard.bytes for shard in self._shards)
            self._size = UNPACKED * size / max(held, 1)
        return {shard.number: shard.until for shard in self._shards}

    def count_until(self, places: Mapping[int, int]) -> int:
        """How many documents stand at or before these places."""
        return count_until(self.client, self.described.index, places, self.wanted)

    def chunks(self, places: Mapping[int, int]) -> Iterator[Chunk]:
        """Cut what lies behind `places`, the shards in turns."""
        starts = {shard.number: places.get(shard.number, -1) + 1 for shard in self._shards}
        left = [shard for shard in self._shards if starts[shard.number] <= shard.until]
        while left:
            for shard in list(left):
                start = starts[shard.number]
                density = max(shard.documents / (shard.until + 1), LEAST_DENSITY)
                end = min(start + max(1, int(self._page() / density)) - 1, shard.until)
                yield self.chunk(shard.number, start, end)
                starts[shard.number] = end + 1
                if end == shard.until:
                    left.remove(shard)

    def chunk(self, shard: int, start: int, end: int) -> Chunk:
        """The documents of a shard from `start` to `end`, cut by another."""
        return Chunk(shard, start, end, partial(self._load, shard, start, end))

    def sample(self, count: int) -> Page:
        """The first few documents."""
        found: list[Record] = []
        for shard in self._shards or read_shards(self.client, self.described):
            for hits in self._pages(shard.number, 0, shard.until, count):
                found += _page(self.described.index, hits).records
                break
        return Page(found[:count])

    def fetch(self, keys: Sequence[tuple[str, str | None]]) -> Page:
        """The documents with these ids and routings, as they are now."""
        wanted = set(keys)
        found: list[Record] = []
        for query in self._by_ids(keys):
            for shard in self._shards:
                for hits in self._pages(shard.number, 0, shard.until, IDS, query):
                    found += _page(self.described.index, hits).records
        return Page([record for record in found if (record.id, record.route) in wanted])

    def missing(self, keys: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
        """Those of the ids and routings that no document has now."""
        gone = dict.fromkeys(keys)
        for query in self._by_ids(keys):
            body = {"size": 10 * IDS, "query": query, "_source": False}
            for hit in self.client.search(self.described.index, body).hits:
                gone.pop((hit.id, hit.routing), None)
        return list(gone)

    def _by_ids(self, keys: Sequence[tuple[str, str | None]]) -> Iterator[Mapping[str, Any]]:
        """Queries for the documents with these ids, whatever their routing, so many at a time."""
        for start in range(0, len(keys), IDS):
            ids = {"ids": {"values": [key for key, _ in keys[start : start + IDS]]}}
            yield {"bool": {"filter": [ids, self.wanted or {"match_all": {}}]}}

    def _page(self) -> int:
        return max(LEAST_PAGE, min(self.page_size, int(PAGE_BYTES / max(self._size, 1.0))))

    def _load(self, shard: int, start: int, end: int) -> Iterator[Page]:
        for hits in self._pages(shard, start, end, self._page()):
            page = _page(self.described.index, hits)
            size = sum(len(record.raw) for record in page.records) / len(page.records)
            with self._lock:
                self._size = (self._size + size) / 2
            yield page

    def _pages(
        self, shard: int, start: int, end: int, size: int, query: Mapping[str, Any] | None = None
    ) -> Iterator[list[RawHit]]:
        """Pages of a span; query: in the place of our own."""
        return read_span(
            self.client,
            self.described.index,
            shard,
            (start, end),
            size=size,
            query=query or self.wanted,
            fields=True if self.fields is None else self.fields,
        )


def _page(index: str, hits: Sequence[RawHit]) -> Page:
    for hit in hits:
        if isinstance(hit.source, msgspec.UnsetType):
            raise DataError(f"{index} keeps no `_source` of the document {as_record(hit).id!r}.")
    return Page([as_record(hit) for hit in hits])


def as_record(hit: RawHit) -> Record:
    """The hit as a record, `raw` empty where it shows no `_source`."""
    unset = msgspec.UnsetType
    routing = None if isinstance(hit.routing, unset) else bytes(hit.routing)
    raw = b"" if isinstance(hit.source, unset) else bytes(hit.source)
    return Record(bytes(hit.id), routing, hit.sort[0], raw)
