"""How far a run is, kept in the mapping of the index that it writes (`_meta.es_rerank.run`).

It lives and dies with the index, and needs no other (docs/adr/0020-checkpoints.md). It is written
every few seconds: what came after the last time is done again, which changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.fields import NAMESPACE

KEY = "run"
EVERY_S = 3.0  # each time is a change of the cluster's state
FILLING = "filling"  # some of the source is not in it yet
FILLED = "filled"  # all is in it but what was refused
COMPLETE = "complete"


@dataclass(frozen=True)
class RunRecord:
    """A run: of what, by which recipe, and how far.

    identity: the source and what is taken of it. recipe: each step's hash. places: by lane, up to
    where everything is written.
    """

    identity: Mapping[str, Any]
    recipe: Mapping[str, str]
    state: str
    started: str
    updated: str
    places: Mapping[int, int] = field(default_factory=dict)
    documents: int = 0  # written, as often as they were
    failed: int = 0


def read_record(mappings: Mapping[str, Any]) -> RunRecord | None:
    """The record in an index's mapping; None where no run of ours wrote the index."""
    found = (mappings.get("_meta") or {}).get(NAMESPACE) or {}
    run = found.get(KEY) if isinstance(found, Mapping) else None
    if not isinstance(run, Mapping) or not isinstance(run.get("state"), str):
        return None
    known = {part.name: run[part.name] for part in fields(RunRecord) if part.name in run}
    try:
        known["places"] = {int(lane): int(place) for lane, place in run["places"].items()}
        return RunRecord(**known)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def write_record(client: SearchClient, index: str, record: RunRecord) -> None:
    """Write the record into the index's mapping; everything else in `_meta` stays."""
    described = client.request("GET", f"/{quote(index)}/_mapping")[index]
    meta = dict(described["mappings"].get("_meta") or {})
    meta[NAMESPACE] = {**(meta.get(NAMESPACE) or {}), KEY: as_meta(record)}
    client.request("PUT", f"/{quote(index)}/_mapping", {"_meta": meta})


def as_meta(record: RunRecord) -> dict[str, Any]:
    """The record as JSON."""
    return {**asdict(record), "places": {str(key): at for key, at in record.places.items()}}


class Places:
    """Up to where each lane is done, while its chunks are done in any order.

    documents, failed: written and refused, in what is done without a gap.
    """

    def __init__(self, record: RunRecord | None) -> None:
        self.done = dict(record.places) if record else {}
        self.documents = record.documents if record else 0
        self.failed = record.failed if record else 0
        self._ahead: dict[int, dict[int, tuple[int, int, int]]] = {}

    def add(self, lane: int, start: int, end: int, documents: int = 0, failed: int = 0) -> None:
        """Note that `start` to `end` is done."""
        ahead = self._ahead.setdefault(lane, {})
        ahead[start] = end, documents, failed
        at = self.done.get(lane, -1)
        while (found := ahead.pop(at + 1, None)) is not None:
            at, more, refused = found
            self.documents += more
            self.failed += refused
        self.done[lane] = at


class Clock:
    """Tells when the record is due again."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether enough time has passed; if so, it begins anew."""
        now = time.monotonic()
        if now - self._last < self._every_s:
            return False
        self._last = now
        return True
