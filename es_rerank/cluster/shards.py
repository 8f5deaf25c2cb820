"""Read an index by the sequence numbers of its shards, which tell what has changed since.

Every operation on a shard has the next number, and a document the number of its last one. So a
document that is changed while a run reads moves behind everything, and whoever reads on from where
he stopped misses none, with no point in time to keep alive (docs/adr/0019-sequence-numbers.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.patience import patiently
from es_rerank.cluster.source import SourceIndex
from es_rerank.cluster.wire import TooLargeError
from es_rerank.errors import ClusterError

MAX_PAGE_BYTES = 64 * 1024 * 1024  # an answer that is larger is asked for in two halves


@dataclass(frozen=True)
class Shard:
    """Where a shard stands: every operation up to `until` can be seen by a search."""

    number: int
    until: int  # a sequence number; -1 for a shard that never held anything
    documents: int
    bytes: int


class RawHit(msgspec.Struct, frozen=True, gc=False):
    """One document as the engine sent it; `id` and `routing` are JSON strings."""

    id: msgspec.Raw = msgspec.field(name="_id")
    sort: tuple[int]
    source: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_source", default=msgspec.UNSET)
    routing: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_routing", default=msgspec.UNSET)


class _Hits(msgspec.Struct):
    hits: list[RawHit]


class _Shards(msgspec.Struct):
    successful: int = 0
    failed: int = 0
    failures: msgspec.Raw | None = None


class _Page(msgspec.Struct):
    hits: _Hits
    shards: _Shards = msgspec.field(name="_shards")
    timed_out: bool = False


class Found(msgspec.Struct, frozen=True):
    """A document looked up by its id."""

    id: str = msgspec.field(name="_id")
    found: bool = False
    routing: str | None = msgspec.field(name="_routing", default=None)
    source: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_source", default=msgspec.UNSET)


class _Docs(msgspec.Struct):
    docs: list[Found]


_PAGE = msgspec.json.Decoder(_Page)
_DOCS = msgspec.json.Decoder(_Docs)


def read_shards(client: SearchClient, source: SourceIndex) -> list[Shard]:
    """Find where each shard stands and make all of it searchable.

    Numbers below the global checkpoint are all done, and the refresh that follows shows them.
    Raises ClusterError when a shard is on no node.
    """
    path = f"/{quote(source.index)}/_stats/docs,store"
    stats = client.request("GET", path, params={"level": "shards"})
    copies = stats["indices"].get(source.index, {}).get("shards", {})
    shards = []
    for number in range(source.shards):
        here = [copy for copy in copies.get(str(number), []) if "seq_no" in copy]
        here = [copy for copy in here if copy["routing"]["state"] in ("STARTED", "RELOCATING")]
        if not here:
            raise ClusterError(
                f"Shard {number} of {source.index} is on no node of {client.where}: the index is "
                f"red. See GET /_cluster/allocation/explain; run the command again once it is back."
            )
        shards.append(
            Shard(
                number,
                max(copy["seq_no"]["global_checkpoint"] for copy in here),
                max(copy["docs"]["count"] for copy in here),
                max(copy["store"]["size_in_bytes"] for copy in here),
            )
        )
    refresh(client, source.index)
    return shards


def refresh(client: SearchClient, index: str) -> None:
    """Make everything written so far searchable. Raises ClusterError unless all shards did."""
    answer = patiently(lambda: client.request("POST", f"/{quote(index)}/_refresh"))
    if answer["_shards"].get("failed"):
        raise ClusterError(
            f"{client.where} could not refresh every shard of {index}: "
            f"{answer['_shards'].get('failures')}. Run the command again once the index is green."
        )


def read_window(
    client: SearchClient,
    index: str,
    shard: int,
    span: tuple[int, int],
    *,
    size: int,
    query: Mapping[str, Any] | None = None,
    fields: bool | Sequence[str] = True,
) -> list[RawHit]:
    """Read the documents of a shard whose numbers lie in `span`, ends included, lowest first.

    At most `size`. Raises TooLargeError when they are more than 64 MiB, ClusterError when the shard
    cannot be read.
    """
    path = f"/{quote(index)}/_search"
    source = {"includes": list(fields)} if not isinstance(fields, bool) else fields
    body = orjson.dumps(
        {
            "size": size,
            "query": within(span, query),
            "sort": [{"_seq_no": "asc"}],
            "track_total_hits": False,
            "_source": source,
        }
    )
    params = {"preference": f"_shards:{shard}", "allow_partial_search_results": False}

    def ask() -> bytes:
        answer = client.send("POST", path, body, params=params, max_bytes=MAX_PAGE_BYTES)
        return client.check(f"POST {path}", answer) or b""

    page = _PAGE.decode(patiently(ask))
    if page.shards.failed or page.timed_out or not page.shards.successful:
        raise ClusterError(
            f"{client.where} could not read shard {shard} of {index}: "
            f"{bytes(page.shards.failures or b'').decode() or 'no copy of it answers'}. "
            "Run the command again once the index is green."
        )
    return page.hits.hits


def read_span(
    client: SearchClient,
    index: str,
    shard: int,
    span: tuple[int, int],
    *,
    size: int,
    query: Mapping[str, Any] | None = None,
    fields: bool | Sequence[str] = True,
) -> Iterator[list[RawHit]]:
    """Yield all documents of the span, page after page; large ones in smaller pages."""
    start, end = span
    while start <= end:
        try:
            hits = read_window(
                client, index, shard, (start, end), size=size, query=query, fields=fields
            )
        except TooLargeError:
            if size == 1:
                raise ClusterError(
                    f"A document of {index} is larger than {MAX_PAGE_BYTES:,} bytes "
                    f"(shard {shard}, after sequence number {start - 1})."
                ) from None
            size = max(1, size // 2)
            continue
        if hits:
            yield hits
        if len(hits) < size:
            return
        start = hits[-1].sort[0] + 1


def within(span: tuple[int, int], query: Mapping[str, Any] | None) -> dict[str, Any]:
    """The query for documents of a span of sequence numbers, and of `query` where it is given."""
    wanted: list[Mapping[str, Any]] = [{"range": {"_seq_no": {"gte": span[0], "lte": span[1]}}}]
    return {"bool": {"filter": wanted if query is None else [*wanted, query]}}


def count_until(
    client: SearchClient, index: str, places: Mapping[int, int], query: Mapping[str, Any] | None
) -> int:
    """Count the documents of each shard up to its place, as far as they can be seen."""
    total = 0
    for shard, until in places.items():
        params = {"preference": f"_shards:{shard}"}
        body = {"query": within((0, until), query)}
        answer = client.request("POST", f"/{quote(index)}/_count", body, params=params)
        if answer["_shards"].get("failed") or not answer["_shards"].get("successful"):
            raise ClusterError(f"{client.where} could not count shard {shard} of {index}.")
        total += int(answer["count"])
    return total


def look_up(
    client: SearchClient,
    index: str,
    keys: Sequence[tuple[str, str | None]],
    fields: str | None = None,
) -> dict[tuple[str, str | None], bytes]:
    """The `_source` of each document that is there, by id and routing; nothing if no index is.

    fields: only these parts of it.
    """
    docs = [
        {"_id": key, "routing": routing} if routing is not None else {"_id": key}
        for key, routing in keys
    ]
    path = f"/{quote(index)}/_mget"
    params = {"realtime": False} | ({"_source_includes": fields} if fields else {})

    def ask() -> bytes:
        answer = client.send("POST", path, orjson.dumps({"docs": docs}), params=params)
        return client.check(f"POST {path}", answer, (404,)) or b'{"docs":[]}'

    return {
        (doc.id, doc.routing): bytes(doc.source)
        for doc in _DOCS.decode(patiently(ask)).docs
        if doc.found and not isinstance(doc.source, msgspec.UnsetType)
    }
