"""The same flow on Ray: chunks go to actors, on this machine or on a cluster's nodes.

Each actor has connections, models and source of its own; only a chunk's ends travel to it (the rows
of a file travel themselves), and what became of it travels back. What is done is recorded here, as
without Ray, so that a run goes on from there, with or without Ray. An actor that dies is started
again, and does its chunks again, which changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from es_rerank.cluster.bulk import Pace
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.shards import look_up
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.run.flow import Carried, Carrier
from es_rerank.enrich.run.plan import Plan
from es_rerank.enrich.run.whole import find_graph, graph_step
from es_rerank.enrich.sources.index import IndexSource
from es_rerank.enrich.sources.source import Chunk, Source
from es_rerank.enrich.steps.step import Step
from es_rerank.errors import ConfigError, EsRerankError

AHEAD = 2  # chunks that an actor has at once: one is read and written while the model has another
RESTARTS = 3
KNOCK_S = 10.0
STORE_BYTES = 100 * 1024 * 1024  # of a local Ray's shared memory


@dataclass(frozen=True)
class Task:
    """What an actor needs to know once. connect, source, steps: make what cannot travel."""

    connect: Callable[[], SearchClient]
    source: Callable[[SearchClient], Source]
    steps: Callable[[SearchClient], list[Step]]
    index: str
    previous: str | None
    time: str
    in_destination: bool


@dataclass(frozen=True)
class Done:
    """What became of a chunk, or the error that ends the run."""

    carried: Carried | None
    enriched: int = 0
    reused: int = 0
    error: tuple[type[EsRerankError], str, dict[str, Any]] | None = None


class Worker:
    """What runs in an actor."""

    def __init__(self, task: Task, graph: Any) -> None:
        """Connect, and build the steps; models are loaded by the first documents."""
        self.client = task.connect()
        self.source = task.source(self.client)
        steps = task.steps(self.client)
        own = graph_step(steps)
        if own is not None:
            own.graph = graph
        names = [task.index] if task.in_destination else []
        names += [task.previous] if task.previous else []
        look_ups = [partial(look_up, self.client, name) for name in names]
        enrichment = Enrichment(steps, task.time, look_ups) if steps else None
        self.enrichment = enrichment
        self.carrier = Carrier(self.client, task.index, enrichment, Pace())

    def carry(self, lane: int, start: int, end: int, load: Any) -> Done:
        """Read, enrich and write one chunk. load: reads it where its ends alone do not."""
        before = self._counts()
        if isinstance(self.source, IndexSource):
            chunk = self.source.chunk(lane, start, end)
        else:
            chunk = Chunk(lane, start, end, load)
        try:
            carried = self.carrier.carry(chunk)
        except EsRerankError as error:
            return Done(None, error=(type(error), str(error), vars(error)))
        after = self._counts()
        return Done(carried, after[0] - before[0], after[1] - before[1])

    def _counts(self) -> tuple[int, int]:
        found = self.enrichment
        return (found.enriched, found.reused) if found else (0, 0)


@dataclass
class RayFlow:
    """Carries chunks by `workers` actors. address: of a cluster; a local Ray where it is None."""

    connect: Callable[[], SearchClient]
    source: Callable[[SearchClient], Source]
    steps: Callable[[SearchClient], list[Step]]
    address: str | None = None
    gpus: float = 0.0  # of each actor
    _actors: list[Any] = field(default_factory=list)

    def run_chunks(
        self,
        chunks: Iterator[Chunk],
        plan: Plan,
        index: str,
        time: str,
        in_destination: bool,
        workers: int,
        on_carried: Callable[[Chunk, Carried, int, int], None],
    ) -> None:
        """Carry all chunks. After an error none is begun any more; those begun come to their end.

        on_carried: is told, in this thread, of each chunk and how many of its documents were
        enriched and reused.
        """
        first = next(chunks, None)
        if first is None:
            return
        with started(self.address, workers) as ray:
            task = Task(
                self.connect, self.source, self.steps, index, plan.previous, time, in_destination
            )
            found = find_graph(plan)
            graph = ray.put(found.graph) if found is not None else None
            options = {
                "num_cpus": 1,
                "num_gpus": self.gpus,
                "max_restarts": RESTARTS,
                "max_task_retries": RESTARTS,
                "max_concurrency": AHEAD,
            }
            actor = ray.remote(**options)(Worker)
            actors = [actor.remote(task, graph) for _ in range(workers)]
            try:
                _spread(ray, actors, first, chunks, plan, on_carried)
            finally:
                for each in actors:
                    ray.kill(each)


def _spread(
    ray: Any,
    actors: list[Any],
    first: Chunk,
    chunks: Iterator[Chunk],
    plan: Plan,
    on_carried: Callable[[Chunk, Carried, int, int], None],
) -> None:
    """Keep each actor busy; raise the first error once everything begun has ended."""
    indexed = isinstance(plan.source, IndexSource)
    waiting: dict[Any, tuple[Chunk, Any]] = {}
    raised: BaseException | None = None
    following: Chunk | None = first

    def give(actor: Any) -> None:
        nonlocal following
        if following is None or raised is not None:
            return
        load = None if indexed else following.load
        sent = actor.carry.remote(following.lane, following.start, following.end, load)
        waiting[sent] = following, actor
        following = next(chunks, None)

    for actor in actors * AHEAD:
        give(actor)
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        chunk, actor = waiting.pop(ready)
        try:
            done: Done = ray.get(ready)
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()
            raised = raised or EsRerankError(f"A worker on Ray failed: {said[-1] if said else ''}")
            continue
        if done.error is not None:
            raised = raised or _revive(*done.error)
        elif done.carried is not None:
            on_carried(chunk, done.carried, done.enriched, done.reused)
        give(actor)
    if raised is not None:
        raise raised


@contextmanager
def started(address: str | None, workers: int) -> Iterator[Any]:
    """A Ray to work on: the cluster's, or one on this machine that ends with the work.

    Raises ConfigError where ray is not installed, or nothing answers at the address.
    """
    ray = find_ray()
    mine = not ray.is_initialized()
    if mine:
        local: dict[str, Any] = {}
        if address is None:
            local = {
                "num_cpus": workers,
                "object_store_memory": STORE_BYTES,
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
            }
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="error",
                **local,
            )
        except Exception as error:  # a plain Exception where a node does not come up
            where = f"no Ray answers at {address}" if address else "no Ray could be started here"
            raise ConfigError(f"{where}: {error}") from error
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def reach(address: str) -> None:
    """Knock: Ray itself waits for minutes. Raises ConfigError where nothing answers."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # `auto`, which Ray looks up
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise ConfigError(f"no Ray answers at {address}: {error}") from None


def find_ray() -> Any:
    """The library. Raises ConfigError where it is not installed."""
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray needs Ray: pip install 'es-rerank[ray]'") from None
    return ray


def _revive(kind: type[EsRerankError], said: str, more: dict[str, Any]) -> EsRerankError:
    error = kind(said)
    vars(error).update(more)
    return error
