"""Ranking off the event loop: a worker thread, a bounded queue, a deadline seen from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.config import ModelSettings
from es_rerank.models.embedder import load_embedder
from es_rerank.plugins import load_plugin
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions, Window, rank_all
from es_rerank.ranking.score import (
    ENOUGH_TO_TIME,
    BiEncoderScorer,
    PairScorer,
    Scorer,
    TooSlowError,
    VectorCache,
)
from es_rerank.ranking.threads import calm_numpy

WARM_UP = "a product's description of usual length, which teaches how long texts take here; " * 6
MAX_EMBEDDING = 4
"""Windows waiting to be embedded in the background at most."""


class OverloadedError(Exception):
    """More searches wait for the model than may."""


class NotReadyError(Exception):
    """The model is still being loaded."""


@dataclass(frozen=True)
class Job:
    """A window to rank: `gather` reads it on the worker's thread, within `timeout_s`."""

    query: str | None
    gather: Callable[[], Candidates]
    options: RankingOptions
    timeout_s: float


class Ranker:
    """Loads the model and ranks windows on its own thread."""

    def __init__(
        self,
        settings: ModelSettings,
        max_waiting: int,
        plugins: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.error: str | None = None
        self._settings = settings
        self._plugins = plugins
        self._max_waiting = max_waiting
        self._waiting = 0
        self._scorer: Scorer | None = None
        self._vectors: VectorCache | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ranker")
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._embedding = 0

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and warm."""
        return self._scorer is not None

    @property
    def model(self) -> str:
        """The scorer's name."""
        return self._scorer.name if self._scorer is not None else self._settings.name

    @property
    def embedder(self) -> VectorCache | None:
        """What embeds texts here; None with a remote reranker."""
        return self._vectors

    async def load(self) -> None:
        """Load and warm up. Raises ModelError."""
        loop = asyncio.get_running_loop()
        scorer, vectors = await loop.run_in_executor(
            self._pool, load, self._settings, self._plugins
        )
        self._scorer, self._vectors = scorer, vectors
        telemetry.MODEL_INFO.labels(scorer.name, self._settings.kind, self._settings.device).set(1)

    def close(self) -> None:
        """Let the worker go; what it does now is finished, what waits is not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)

    @property
    def reads_texts(self) -> bool:
        """Whether the scorer reads texts even where vectors are stored."""
        return self._settings.kind != "bi-encoder"

    async def rank(
        self,
        query: str | None,
        gather: Callable[[], Candidates],
        options: RankingOptions,
        timeout_s: float,
    ) -> Ranking:
        """Rank a window, which `gather` reads on the worker's thread as well, within `timeout_s`.

        Raises TimeoutError, OverloadedError, NotReadyError, or whatever the scorer raises. A job
        that is over time and not begun is dropped; one that has begun fills the caches. When texts
        without a stored vector would take longer to embed than there is time, TimeoutError comes at
        once, and they are embedded in the background for the searches to come.
        """
        (ranking,) = await self.rank_all([Job(query, gather, options, timeout_s)])
        if isinstance(ranking, Exception):
            raise ranking
        return ranking

    async def rank_all(self, jobs: Sequence[Job]) -> list[Ranking | Exception]:
        """Rank several windows as one batch, which counts as one in the queue.

        Returns a ranking for each, or the error that befell it. Waits for the longest of their
        times. Raises TimeoutError, OverloadedError, NotReadyError.
        """
        if self._scorer is None:
            raise NotReadyError(self.error or "the model is being loaded")
        if self._waiting >= self._max_waiting:
            raise OverloadedError
        self._waiting += 1
        telemetry.WAITING.set(self._waiting)
        scorer, vectors = self._scorer, self._vectors
        began = time.monotonic()

        def work() -> list[Ranking | Exception]:
            return rank_jobs(jobs, scorer, vectors, began)

        job = self._pool.submit(work)
        try:
            timeout_s = max(each.timeout_s for each in jobs)
            rankings = await asyncio.wait_for(asyncio.wrap_future(job), timeout_s)
        finally:
            job.cancel()
            self._waiting -= 1
            telemetry.WAITING.set(self._waiting)
        for i, ranking in enumerate(rankings):
            if isinstance(ranking, TooSlowError):
                self._embed_later(ranking)
                rankings[i] = late = TimeoutError(str(ranking))
                late.__cause__ = ranking
        return rankings

    async def embed(self, text: str) -> NDArray[np.float32]:
        """Embed one text on the worker's thread, (d,) of length 1.

        Raises NotReadyError, also where nothing here embeds, or OverloadedError.
        """
        if self._vectors is None:
            raise NotReadyError(self.error or "there is no embedder")
        if self._waiting >= self._max_waiting:
            raise OverloadedError
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self._pool, self._vectors.encode, [text])
        vector: NDArray[np.float32] = rows[0]
        return vector

    def _embed_later(self, work: TooSlowError) -> None:
        """Embed texts when nobody waits; not when enough of that is already to be done."""
        if self._vectors is None or self._embedding >= MAX_EMBEDDING:
            return
        vectors = self._vectors
        self._embedding += 1
        loop = asyncio.get_running_loop()

        def finish(_: object) -> None:
            self._embedding -= 1

        loop.run_in_executor(self._background, vectors.encode, work.texts).add_done_callback(finish)


def rank_jobs(
    jobs: Sequence[Job], scorer: Scorer, vectors: VectorCache | None, began: float
) -> list[Ranking | Exception]:
    """Read the windows and rank them; `began` is when they were handed in (monotonic)."""
    windows: list[Window] = []
    results: list[Ranking | Exception | None] = []
    for job in jobs:
        try:
            candidates = job.gather()
        except Exception as error:
            results.append(error)
            continue
        results.append(None)
        left_s = began + job.timeout_s - time.monotonic()
        windows.append(Window(job.query, candidates, job.options, left_s))
    rankings = iter(rank_all(windows, scorer, vectors))
    return [next(rankings) if result is None else result for result in results]


def load(
    settings: ModelSettings, plugins: Mapping[str, Mapping[str, Any]]
) -> tuple[Scorer, VectorCache | None]:
    """Make the scorer that the settings name, and try it once.

    Raises ModelError, and ConfigError for a plugin that is not there.
    """
    calm_numpy()
    if settings.kind == "plugin":
        return load_plugin("scorer", settings.name, plugins), None
    if settings.kind == "remote":
        from es_rerank.models.remote import RemoteReranker

        assert settings.url is not None, "ModelSettings refuses kind remote without"
        key = settings.api_key.get_secret_value() if settings.api_key is not None else None
        named = settings.name if settings.name != ModelSettings().name else ""
        return PairScorer(RemoteReranker(settings.url, named, key)), None
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    if settings.kind == "bi-encoder":
        vectors = VectorCache(load_embedder(settings.name, settings.device))
        scorer: Scorer = BiEncoderScorer(vectors)
    else:
        from es_rerank.models.cross_encoder import load_cross_encoder

        scorer = PairScorer(load_cross_encoder(settings.name, settings.device))
        vectors = VectorCache(load_embedder(settings.embedder, settings.device))
    vectors.encode([f"{i} {WARM_UP}" for i in range(ENOUGH_TO_TIME)])
    return scorer, vectors
