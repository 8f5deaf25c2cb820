"""Carry a plan out: fill the next version, catch up with the source, and move the alias last."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from es_rerank.cluster.bulk import Pace
from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.shards import look_up, refresh
from es_rerank.cluster.sink import Failure
from es_rerank.cluster.source import count_documents, open_source
from es_rerank.cluster.templates import create_index, destination_body, finish_index, swap_alias
from es_rerank.cluster.versions import clone_version, has_shape
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.graph.store import GraphStore
from es_rerank.enrich.run.flow import Allowance, Carried, Carrier, run_chunks
from es_rerank.enrich.run.on_ray import RayFlow
from es_rerank.enrich.run.plan import Plan, build_meta
from es_rerank.enrich.run.record import (
    COMPLETE,
    FILLED,
    FILLING,
    KEY,
    Clock,
    Places,
    RunRecord,
    as_meta,
    write_record,
)
from es_rerank.enrich.run.removals import Compared, compare, remove_gone
from es_rerank.enrich.run.whole import (
    find_graph,
    find_store,
    renew,
    survey_sample,
    survey_source,
)
from es_rerank.enrich.sources.source import Chunk, Page
from es_rerank.errors import EsRerankError

ATTEMPTS = 3  # at counting the same on both sides
ROUNDS = 20  # of catching up; a source that is written to without end is never quite caught up with
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Result:
    """What a run did. read, written: by this process. held: what the index has now.

    enriched, reused: documents that a step worked on, and those taken over as they were.
    """

    index: str
    read: int
    written: int
    failed: int
    enriched: int
    reused: int
    removed: int
    held: int
    alias_moved: bool
    why_not: str | None  # why the alias was left where it was
    duration_s: float


@dataclass
class Run:
    """One run at work. Whatever stops it, nothing stays open."""

    client: SearchClient
    plan: Plan
    workers: int = 3
    ray: RayFlow | None = None  # carries the bulk of the chunks, where it is set
    on_created: Callable[[str], None] = lambda _: None
    on_progress: Progress = lambda _: None
    on_failure: Callable[[Failure], None] = lambda _: None
    on_moved: Callable[[str], object] = lambda _: None  # with when the run began

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.index = self.plan.index
        self.read = self.written = self.removed = 0
        self.pace = Pace()
        record = self.plan.resumed
        self.places = Places(record)
        now = _now()
        self.record = record or RunRecord(
            self.plan.identity, self.plan.recipe, FILLING, now, now, {}
        )
        self.shown = self.places.documents + self.places.failed
        self.enrichment: Enrichment | None = None
        if self.plan.steps:
            self.enrichment = Enrichment(self.plan.steps, self.record.started)
        self._clock = Clock()
        self.surveyed: Mapping[int, int] = {}
        self.goes_on = False  # with what an earlier run has written
        self.store: GraphStore | None = None

    def prepare(self) -> None:
        """Create the index, or go on with the one that is there."""
        source = self.plan.source
        ends = source.look()
        if self.plan.wide:
            survey_source(self.plan)
            self.surveyed = dict(ends)
        begun = self.plan.resumed is not None
        if begun:
            refresh(self.client, self.index)
        else:
            self.places.done = dict.fromkeys(ends, -1)
            self.record = dataclasses.replace(self.record, places=dict(self.places.done))
            dimensions = self._dimensions()
            meta = {**build_meta(self.plan, dimensions), KEY: as_meta(self.record)}
            steps = [step.name for step in self.plan.steps]
            more = [step.mapping for step in self.plan.steps]
            body = destination_body(
                self.client.kind, source.described, dimensions, meta, steps, more
            )
            begun = self._clone(body)
            if not begun:
                self.index = create_index(self.client, self.plan.alias, body)
            self.on_created(self.index)
        self.goes_on = begun
        self._look_up(in_destination=begun)

    def _clone(self, body: Mapping[str, Any]) -> bool:
        """Begin as a clone of the version before, with only what has changed to do."""
        base, previous = self.plan.base, self.plan.previous
        if base is None or previous is None:
            return False
        if not has_shape(open_source(self.client, previous), body):
            return False
        index = clone_version(self.client, self.plan.alias, previous)
        if index is None:
            return False
        self.index = index
        self.places = Places(dataclasses.replace(base, documents=0))
        self._save(FILLING)
        return True

    def fill(self, *, here: bool = True) -> None:
        """Carry everything that the last look at the source has found and is not written yet.

        here: in this process, though the run is on Ray: what is little.
        """
        limit = self.plan.limit if self.plan.is_cut else None
        carrier = Carrier(self.client, self.index, self.enrichment, self.pace, Allowance(limit))
        chunks = self.plan.source.chunks(self.places.done)
        try:
            if self.ray is None or here:
                run_chunks(chunks, carrier, self.workers, self._on_carried)
            else:
                self.ray.run_chunks(
                    chunks,
                    self.plan,
                    self.index,
                    self.record.started,
                    self.goes_on,
                    self.workers,
                    self._on_far_carried,
                )
        except BaseException:
            if not self.plan.is_cut:
                with suppress(EsRerankError):  # which must not hide what went wrong
                    self._save(self.record.state)
            raise

    def catch_up(self) -> None:
        """Carry what was written to the source since, until nothing new is found."""
        source = self.plan.source
        if not source.is_live or self.plan.is_cut:
            return
        self._look_up(in_destination=True)
        for _ in range(ROUNDS):
            ends = source.look()
            if all(end <= self.places.done.get(lane, -1) for lane, end in ends.items()):
                return
            refresh(self.client, self.index)
            self.fill()

    def relate(self) -> None:
        """Write again what steps that go by the whole source say something else of by now."""
        if not self.plan.wide or self.enrichment is None or self.plan.is_cut:
            return
        ends = self.plan.source.look()
        changed = dict(ends) != dict(self.surveyed)
        if changed:
            survey_source(self.plan)
            self.surveyed = dict(ends)
        if changed or self.goes_on:
            self._look_up(in_destination=True)
            carrier = Carrier(self.client, self.index, self.enrichment, self.pace)
            for carried in renew(
                self.client, self.index, self.plan.source, self.enrichment, carrier
            ):
                self._count(carried)

    def write_graph(self) -> None:
        """Bring the graph's index beside this one up to date."""
        found = find_graph(self.plan)
        self.store = find_store(self.client, self.plan, self.index, self.pace)
        if self.store is not None and found is not None and found.graph is not None:
            self.store.open(self.plan.previous)
            self.store.write(found.graph.vocabulary())

    def settle(self) -> int:
        """Take out what the source has no more, and return how many documents failed.

        Raises EsRerankError when the index does not hold what was written to it.
        """
        if self.plan.is_cut or not self.plan.source.is_live:
            refresh(self.client, self.index)
            return self.places.failed + self._lacking()
        for attempt in range(ATTEMPTS):
            if attempt:
                self.catch_up()
            found = self._compare()
            if found.missing != self.places.failed:
                self.removed += remove_gone(self.client, self.index, self.plan.source, self.pace)
                found = self._compare()
            if 0 <= found.missing <= self.places.failed:
                break
        else:
            if self.plan.source.look() == self.places.done:
                raise EsRerankError(
                    f"{self.index} holds {found.held:,} documents, but {found.wanted:,} belong "
                    f"there. Does something else write there? {self.plan.alias} was left as it is."
                )
        self.places.failed = max(found.missing, 0)
        return self.places.failed + self._lacking()

    def close_up(self, *, accept_failures: bool) -> Result:
        """Settle, and move the alias if nothing speaks against it."""
        plan = self.plan
        failed = self.settle()
        finish_index(self.client, self.index, plan.source.described)
        self.write_graph()
        why_not = None
        if failed and not accept_failures:
            why_not = f"{failed:,} documents failed"
        elif plan.is_cut:
            why_not = f"--limit {plan.limit} left documents out"
        if why_not is None:
            if plan.before != (self.index,):
                swap_alias(self.client, plan.alias, self.index)
            self.catch_up()  # what was written while the alias moved
            self.on_moved(self.record.started)
        self._save(COMPLETE if why_not is None else FILLED)
        return Result(
            self.index,
            self.read,
            self.written,
            failed,
            self.enrichment.enriched if self.enrichment else 0,
            self.enrichment.reused if self.enrichment else 0,
            self.removed,
            count_documents(self.client, self.index),
            why_not is None,
            why_not,
            time.monotonic() - self.started,
        )

    def follow(self) -> tuple[int, int]:
        """Carry what has changed since; return how many documents, and how many were taken out."""
        before = self.written, self.removed
        self.catch_up()
        if self.written > before[0]:
            self._save(COMPLETE)
        found = self._compare()
        if found.missing < self.places.failed:
            self.removed += remove_gone(self.client, self.index, self.plan.source, self.pace)
        if self.store is not None and self.written > before[0]:
            self.store.follow()
        return self.written - before[0], self.removed - before[1]

    def retry(self, keys: Sequence[tuple[str, str | None]]) -> None:
        """Read the documents with these ids and routings again, and write them."""
        self._look_up(in_destination=True)
        carrier = Carrier(self.client, self.index, self.enrichment, self.pace)
        for start in range(0, len(keys), 500):
            page = self.plan.source.fetch(keys[start : start + 500])
            self._count(carrier.write(page))

    def _compare(self) -> Compared:
        refresh(self.client, self.index)
        return compare(self.client, self.index, self.plan.source, self.places.done)

    def _on_carried(self, chunk: Chunk, carried: Carried) -> None:
        refused = carried.read - carried.written
        self.places.add(chunk.lane, chunk.start, chunk.end, carried.written, refused)
        self._count(carried)
        if self._clock.is_due() and not self.plan.is_cut:
            self._save(self.record.state)

    def _on_far_carried(self, chunk: Chunk, carried: Carried, enriched: int, reused: int) -> None:
        if self.enrichment is not None:
            self.enrichment.enriched += enriched
            self.enrichment.reused += reused
        self._on_carried(chunk, carried)

    def _count(self, carried: Carried) -> None:
        self.read += carried.read
        self.written += carried.written
        for failure in carried.failures:
            self.on_failure(failure)
        self.shown += carried.read
        self.on_progress(self.shown)

    def _save(self, state: str) -> None:
        self.record = dataclasses.replace(
            self.record,
            state=state,
            updated=_now(),
            places=dict(self.places.done),
            documents=self.places.documents,
            failed=self.places.failed,
        )
        write_record(self.client, self.index, self.record)

    def _look_up(self, *, in_destination: bool) -> None:
        if self.enrichment is None:
            return
        names = [self.index] if in_destination else []
        names += [self.plan.previous] if self.plan.previous else []
        self.enrichment.look_ups = [partial(look_up, self.client, name) for name in names]

    def _lacking(self) -> int:
        """How many documents lack what a step was to find out."""
        if not self.plan.steps:
            return 0
        has = [
            {"exists": {"field": f"es_rerank.provenance.{step.name}.recipe"}}
            for step in self.plan.steps
        ]
        body = {"query": {"bool": {"must_not": [{"bool": {"filter": has}}]}}}
        return int(self.client.request("POST", f"/{quote(self.index)}/_count", body)["count"])

    def _dimensions(self) -> int:
        model = self.plan.model
        if model is None:
            return 0
        if model in self.plan.known_dimensions:
            return self.plan.known_dimensions[model]
        step = next(step for step in self.plan.steps if step.name == "vector")
        return int(getattr(step.enricher, "dimensions", 0))


def carry_out(
    run: Run, *, accept_failures: bool = False, retried: Sequence[tuple[str, str | None]] = ()
) -> Result:
    """Do all of it. The alias stays where it is when documents failed, unless they are accepted.

    retried: documents that failed before and are to be read again. Raises EsRerankError; the
    source is only read, and running again goes on from there.
    """
    run.prepare()
    run.fill(here=False)
    run.catch_up()
    run.relate()
    if retried:
        run.retry(retried)
    return run.close_up(accept_failures=accept_failures)


def sample(plan: Plan, count: int) -> tuple[Page, list[bytes], list[Failure], float]:
    """Enrich the first `count` documents without writing them, and say how long that took.

    The first one is enriched twice: before the clock starts, so that models are loaded. Raises
    StopError when a step can do no more.
    """
    page = plan.source.sample(count)
    if not plan.steps:
        return page, [record.raw for record in page.records], list(page.failures), 0.0
    survey_sample(plan)
    enrichment = Enrichment(plan.steps, _now())
    first = page.records[:1]
    enrichment.bodies(first)
    started = time.monotonic()
    bodies, failures = enrichment.bodies(page.records)
    if enrichment.stopped is not None:
        raise enrichment.stopped
    return page, bodies, [*page.failures, *failures], time.monotonic() - started


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
