"""Read every document of an index once: point in time and search_after.

Elasticsearch, and OpenSearch from 3.3, have `_shard_doc`, a sort value that is unique over all
shards. Before, two documents of different shards can tie, and a page that ends between them loses
or repeats one. There the point in time is cut into as many slices as the index has shards: slice i
is then shard i alone, where `_doc` is unique.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.document import Document, Hits, read_document
from es_rerank.errors import ClusterError, ConfigError, DataError

PIPELINES = ("index.default_pipeline", "index.final_pipeline")
PORTABLE = (
    "index.analysis.",
    "index.mapping.",
    "index.max_",
    "index.number_of_",
    "index.refresh_interval",
    "index.routing_partition_size",
    "index.similarity.",
    "index.sort.",
)
KEEP_ALIVE = "10m"  # between two pages: the time that one chunk takes to embed and write, at most


@dataclass(frozen=True)
class SourceIndex:
    """One concrete index behind the name that was asked for."""

    name: str  # as asked for: an index or an alias, whose filter then counts
    index: str  # the concrete index
    mappings: Mapping[str, Any]
    settings: Mapping[str, Any]  # flat: {"index.number_of_shards": "5", ...}
    shards: int
    uuid: str = ""
    query: Mapping[str, Any] | None = None  # the alias's filter


def open_source(client: SearchClient, name: str) -> SourceIndex:
    """Look the index or alias up.

    Raises ConfigError when there is none, when it stands for several, or when it keeps no
    `_source` to read documents from.
    """
    found = client.request("GET", f"/{quote(name)}", params={"flat_settings": True}, allow=(404,))
    if not found:
        raise ConfigError(
            f"There is no index {name!r} on {client.url}. List what is there: "
            f"curl '{client.url}/_cat/indices?v'"
        )
    if len(found) > 1:
        raise ConfigError(
            f"{name!r} stands for {len(found)} indices ({', '.join(sorted(found)[:5])}, ...). "
            "Reindex them one at a time, each to its own DEST."
        )
    ((index, described),) = found.items()
    mappings = described.get("mappings", {})
    settings = described.get("settings", {})
    kept = mappings.get("_source", {})
    if kept.get("enabled") in (False, "false") or kept.get("includes") or kept.get("excludes"):
        raise ConfigError(
            f"{index} does not keep the whole `_source` of its documents, so reading them back "
            "would lose fields. Index them again from where they came from."
        )
    alias = described.get("aliases", {}).get(name, {})
    if settings.get("index.verified_before_close") == "true":
        raise ConfigError(f"{index} is closed: open it first (POST /{index}/_open).")
    return SourceIndex(
        name,
        index,
        mappings,
        settings,
        int(settings["index.number_of_shards"]),
        str(settings.get("index.uuid", "")),
        alias.get("filter"),
    )


def carry_over(source: SourceIndex, *, same_kind: bool) -> SourceIndex:
    """The index as another cluster can take it: without pipelines, which lie elsewhere.

    same_kind: whether both run the same engine; else only settings are kept that both know.
    """
    kept = {
        name: value
        for name, value in source.settings.items()
        if (name.startswith(PORTABLE) or same_kind) and name not in PIPELINES
    }
    return replace(source, settings=kept)


def count_documents(client: SearchClient, name: str) -> int:
    """Count the documents that a search of `name` sees now."""
    return int(client.request("GET", f"/{quote(name)}/_count")["count"])


def read_documents(
    client: SearchClient, source: SourceIndex, *, page_size: int = 500
) -> Generator[Document]:
    """Yield each document of the source as it stood at the first call, none lost or repeated.

    Raises DataError when a document has no `_source`, ClusterError when fewer documents arrive
    than the engine counted.
    """
    pit = _PointInTime(client.open_pit(source.name, KEEP_ALIVE))
    order = "_shard_doc" if client.has_shard_doc else "_doc"
    cuts: list[Mapping[str, int] | None] = [None]
    if not client.has_shard_doc and source.shards > 1:
        cuts = [{"id": shard, "max": source.shards} for shard in range(source.shards)]
    read = 0
    try:
        total = (_search(client, pit, {"size": 0, "track_total_hits": True}).total or {})["value"]
        for cut in cuts:
            body: dict[str, Any] = {"size": page_size, "sort": [{order: "asc"}]}
            if cut is not None:
                body["slice"] = cut
            for document in _read_slice(client, pit, body):
                read += 1
                yield document
    finally:
        with suppress(ClusterError):  # it expires by itself, and must not hide what went wrong
            client.close_pit(pit.id)
    if read != total:
        raise ClusterError(
            f"{client.name} counted {total:,} documents but gave {read:,}. Run the command again."
        )


@dataclass
class _PointInTime:
    id: str  # the engine may answer with another, which then counts


def _search(client: SearchClient, pit: _PointInTime, body: Mapping[str, Any]) -> Hits:
    page = client.search(None, {**body, "pit": {"id": pit.id, "keep_alive": KEEP_ALIVE}})
    pit.id = page.pit_id or pit.id
    return page


def _read_slice(
    client: SearchClient, pit: _PointInTime, body: dict[str, Any]
) -> Iterator[Document]:
    body["track_total_hits"] = False
    while True:
        hits = _search(client, pit, body).hits
        for hit in hits:
            try:
                yield read_document(hit)
            except ValueError as error:
                raise DataError(f"The document {hit.id!r} cannot be read: {error}.") from error
        if len(hits) < body["size"]:
            return
        body["search_after"] = hits[-1].sort
