"""What a run needs of a source: documents in chunks whose places survive the run's death."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from es_rerank.cluster.sink import Failure
from es_rerank.cluster.source import SourceIndex


class Record(msgspec.Struct, frozen=True, gc=False):
    """A document as it came. `place` is its version in the destination: a later state has more.

    key, routing: JSON strings. raw: the `_source`, a JSON object.
    """

    key: bytes
    routing: bytes | None
    place: int
    raw: bytes

    @property
    def id(self) -> str:
        """The document's `_id`."""
        return str(msgspec.json.decode(self.key))

    @property
    def route(self) -> str | None:
        """The document's routing."""
        return None if self.routing is None else str(msgspec.json.decode(self.routing))


@dataclass(frozen=True)
class Page:
    """Documents that were read together, and the rows that could not be read as such."""

    records: Sequence[Record]
    failures: Sequence[Failure] = ()


@dataclass(frozen=True)
class Chunk:
    """The part of a lane from place `start` to `end`, ends included; read only by `load`."""

    lane: int
    start: int
    end: int
    load: Callable[[], Iterator[Page]]


class Source(Protocol):
    """Documents in lanes (shards, or a file as one lane), each in the order of its places."""

    @property
    def described(self) -> SourceIndex:
        """Mapping and settings for the destination, and the name for people."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What must be the same for a run to be continued: the source itself and the selection."""

    @property
    def is_live(self) -> bool:
        """Whether it can change while it is read."""

    def count(self) -> int:
        """How many documents there are now."""

    def look(self) -> Mapping[int, int]:
        """Find where each lane ends now; chunks reach up to there."""

    def chunks(self, places: Mapping[int, int]) -> Iterator[Chunk]:
        """Cut what lies behind `places` into chunks, without gaps within a lane."""

    def sample(self, count: int) -> Page:
        """The first few documents."""

    def fetch(self, keys: Sequence[tuple[str, str | None]]) -> Page:
        """The documents with these ids and routings, as they are now."""
