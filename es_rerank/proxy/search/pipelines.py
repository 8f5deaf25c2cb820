"""The named pipelines that searches are ranked by: the last known good ones, kept fresh."""

from __future__ import annotations

import asyncio
import difflib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from es_rerank import telemetry
from es_rerank.config import IndexSettings, RerankSettings
from es_rerank.errors import RequestError
from es_rerank.proxy.pipeline_store import PipelineStore, StoreError
from es_rerank.proxy.search.options import PipelineBlock, RequestBlock, join_blocks, read_pipeline
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

NONE = "_none"
"""The name that means: no pipeline."""
SHOW_ALL = "GET /_es_rerank/pipeline shows all"
WARN_EVERY_S = 60.0
WARN_FROM = 3
"""Failed looks in a row from which on it is said: an index that was just made is not up at once."""
UNASKABLE = (UpstreamError, AnswerTooLargeError, StoreError)
log = telemetry.get_logger()


class NoPipelineError(Exception):
    """A pipeline that the settings name, or that is not read yet, is not there."""


@dataclass(frozen=True)
class Choice:
    """The pipeline of one search. origin: request, index or [rerank]; None without a pipeline."""

    name: str | None = None
    origin: str | None = None
    body: PipelineBlock = field(default_factory=PipelineBlock)


class PipelineCatalog:
    """What the cluster's pipelines were when it was last asked; no search waits for that."""

    def __init__(self, upstream: Upstream, index: str, poll_s: float) -> None:
        self.store = PipelineStore(upstream, index)
        self.error: str | None = None
        self._upstream = upstream
        self._poll_s = poll_s
        self._revision: str | None = None
        self._read_at = 0.0
        self._pipelines: dict[str, PipelineBlock] = {}
        self._quiet_until = 0.0
        self._failures = 0

    @property
    def known(self) -> Mapping[str, PipelineBlock]:
        """The pipelines by name."""
        return self._pipelines

    @property
    def loaded(self) -> bool:
        """Whether they have been read at all."""
        return self._revision is not None

    @property
    def age_s(self) -> float | None:
        """Seconds since the cluster last showed them."""
        return time.monotonic() - self._read_at if self.loaded else None

    def choose(
        self, block: RequestBlock | None, index: IndexSettings | None, rerank: RerankSettings
    ) -> Choice:
        """The pipeline that the request names, else the index's, else [rerank]'s.

        Raises RequestError for a name of the request that no pipeline has, NoPipelineError where
        that is not the request's fault.
        """
        named = {
            "request": None if block is None else block.pipeline,
            "index": None if index is None else index.pipeline,
            "[rerank]": rerank.pipeline,
        }
        origin = next((place for place, name in named.items() if name is not None), None)
        name = None if origin is None else named[origin]
        if name is None or name == NONE:
            return Choice()
        if name not in self._pipelines:
            if origin == "request" and self.loaded:
                near = difflib.get_close_matches(name, [*self._pipelines, NONE], n=1)
                hint = (
                    f"did you mean [{near[0]}]?" if near else "GET /_es_rerank/pipeline shows all"
                )
                raise RequestError(f"[es_rerank] [pipeline] there is no pipeline [{name}]: {hint}")
            raise NoPipelineError(name)
        return Choice(name, origin, self._pipelines[name])

    async def keep_fresh(self) -> None:
        """Ask the cluster every few seconds, until cancelled. Not at all when `poll_s` is 0."""
        while self._poll_s > 0:
            await self.refresh()
            # Replicas that start together shall not ask together.
            await asyncio.sleep(self._poll_s * random.uniform(0.8, 1.2))

    async def refresh(self) -> None:
        """Ask the cluster once; what is known stays where it does not answer."""
        try:
            credentials = self._upstream.own_credentials()
            if self.loaded and await self.store.read_revision(credentials) == self._revision:
                outcome = "same"
            else:
                stored = await self.store.read(credentials)
                self._take(stored.pipelines)
                self._revision, outcome = stored.revision, "changed"
        except UNASKABLE as error:
            self._note_failure(str(error) or type(error).__name__)
            outcome = "error"
        except Exception as error:
            # This must go on for as long as the proxy does.
            log.error("pipelines cannot be read", error=type(error).__name__, exc_info=error)
            self._note_failure(type(error).__name__)
            outcome = "error"
        else:
            if self._failures >= WARN_FROM:
                log.info("pipelines are read again")
            self.error, self._failures, self._read_at = None, 0, time.monotonic()
        telemetry.PIPELINE_READS.labels(outcome).inc()
        telemetry.PIPELINES.set(len(self._pipelines))

    def _warn_of(self, name: str, origin: str | None) -> None:
        """Log a pipeline that is missing, a line a minute at most."""
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + WARN_EVERY_S
            log.warning(
                "searches keep the engine's order: their pipeline is not there",
                pipeline=name,
                named_by=origin,
                read=self.loaded,
                mend=f"PUT /_es_rerank/pipeline/{name}, or name another in the settings",
            )

    def _take(self, bodies: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what is stored. A body that cannot be read here leaves the one known before."""
        taken = {}
        for name, body in bodies.items():
            try:
                taken[name] = read_pipeline(body)
            except RequestError as error:
                log.error("a stored pipeline cannot be read", pipeline=name, error=str(error))
                if name in self._pipelines:
                    taken[name] = self._pipelines[name]
        self._pipelines = taken

    def _note_failure(self, text: str) -> None:
        """Keep it for /info, and log it once when it does not pass by itself."""
        self.error = text
        self._failures += 1
        if self._failures == WARN_FROM:
            log.warning(
                "pipelines cannot be read: those known before stay",
                error=text,
                mend="see that the cluster is up and that [upstream]'s user may read the index "
                "[pipelines] index",
            )


def join_pipeline(block: RequestBlock | None, choice: Choice) -> RequestBlock | None:
    """The request's own keys over those of its pipeline."""
    return block if choice.name is None else join_blocks(block, choice.body)
