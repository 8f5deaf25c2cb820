"""Documents that the source has no more: told by counting, found by their ids.

Deletions have sequence numbers too, but no search shows them. So both sides are counted first, and
only where they differ are the ids compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from es_rerank.cluster.bulk import Pace
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.shards import read_shards, read_span
from es_rerank.cluster.sink import delete_action, write_actions
from es_rerank.cluster.source import count_documents, open_source
from es_rerank.enrich.sources.index import IDS, IndexSource, as_record
from es_rerank.enrich.sources.source import Source


@dataclass(frozen=True)
class Compared:
    """How many documents the index holds, and how many of the source belong there."""

    held: int
    wanted: int

    @property
    def missing(self) -> int:
        """How many are not there; below zero when there are too many."""
        return self.wanted - self.held


def compare(
    client: SearchClient, index: str, source: Source, places: Mapping[int, int]
) -> Compared:
    """Count both sides. A source that cannot change lost nothing since it was read."""
    held = count_documents(client, index)
    if not isinstance(source, IndexSource):
        return Compared(held, held)
    return Compared(held, source.count_until(places))


def remove_gone(client: SearchClient, index: str, source: Source, pace: Pace) -> int:
    """Take out of the index what is not in the source any more; return how many."""
    if not isinstance(source, IndexSource):
        return 0
    removed = 0
    described = open_source(client, index)
    for shard in read_shards(client, described):
        span = (0, shard.until)
        for hits in read_span(client, index, shard.number, span, size=IDS, fields=False):
            records = map(as_record, hits)
            gone = source.missing([(record.id, record.route) for record in records])
            if gone:
                write_actions(client, index, [delete_action(*key) for key in gone], pace)
                removed += len(gone)
    return removed
