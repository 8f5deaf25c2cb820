"""Carry chunks from a source into an index: several at once, each read, enriched and written.

While the model works on one chunk, others are read and written, so that it never waits for either.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from es_rerank.cluster.bulk import Pace
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.document import one_line
from es_rerank.cluster.sink import Failure, index_action, write_actions
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.sources.source import Chunk, Page, Record


@dataclass(frozen=True)
class Carried:
    """What became of a chunk's documents. failures: those refused, and those a step failed on."""

    read: int = 0
    written: int = 0
    failures: Sequence[Failure] = ()


@dataclass
class Allowance:
    """How many documents may still be taken; None for all."""

    left: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_spent(self) -> bool:
        """Whether no more may be taken."""
        return self.left == 0

    def take(self, records: Sequence[Record]) -> Sequence[Record]:
        """As many of the records as may be taken."""
        if self.left is None:
            return records
        with self._lock:
            taken = records[: self.left]
            self.left -= len(taken)
            return taken


@dataclass(frozen=True)
class Carrier:
    """Writes pages of documents to an index, enriched where there are steps."""

    client: SearchClient
    index: str
    enrichment: Enrichment | None
    pace: Pace
    allowance: Allowance = field(default_factory=Allowance)

    def carry(self, chunk: Chunk) -> Carried:
        """Read, enrich and write one chunk, a page at a time."""
        read, written = 0, 0
        failures: list[Failure] = []
        for page in chunk.load():
            done = self.write(page)
            read, written = read + done.read, written + done.written
            failures += done.failures
        return Carried(read, written, failures)

    def write(self, page: Page) -> Carried:
        """Enrich and write a page. Raises StopError once it is written, where a step stopped."""
        records = self.allowance.take(page.records)
        failures = list(page.failures)
        if self.enrichment is None:
            bodies = [one_line(record.raw) for record in records]
        else:
            bodies, flawed = self.enrichment.bodies(records)
            failures += flawed
        actions = [
            index_action(record.key, record.routing, record.place, body)
            for record, body in zip(records, bodies, strict=True)
        ]
        refused = write_actions(self.client, self.index, actions, self.pace) if actions else []
        if self.enrichment is not None and self.enrichment.stopped is not None:
            raise self.enrichment.stopped
        failures += [failure for _, failure in refused]
        read = len(records) + len(page.failures)
        return Carried(read, len(records) - len(refused), failures)


def run_chunks(
    chunks: Iterator[Chunk],
    carrier: Carrier,
    workers: int,
    on_carried: Callable[[Chunk, Carried], None],
) -> None:
    """Carry all chunks, `workers` at a time; `on_carried` is called from this thread.

    After an error no chunk is begun any more, those begun come to their end and are told of, and
    then it is raised. An interrupt is raised at once.
    """
    results: queue.SimpleQueue[tuple[Chunk, Carried] | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    turn = threading.Lock()

    def take() -> Chunk | None:
        with turn:
            if stop.is_set() or carrier.allowance.is_spent:
                return None
            return next(chunks, None)

    def work() -> None:
        try:
            while (chunk := take()) is not None:
                results.put((chunk, carrier.carry(chunk)))
        except BaseException as error:
            stop.set()
            results.put(error)
        finally:
            results.put(None)

    for number in range(workers):
        threading.Thread(target=work, name=f"carrier-{number}", daemon=True).start()
    raised: BaseException | None = None
    try:
        left = workers
        while left:
            result = results.get()
            if result is None:
                left -= 1
            elif isinstance(result, BaseException):
                raised = raised or result
            else:
                on_carried(*result)
    finally:
        stop.set()
    if raised is not None:
        raise raised
