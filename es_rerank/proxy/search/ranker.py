"""Ranking off the event loop: a worker thread, a bounded queue, a deadline seen from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.config import ModelSettings, RerankSettings, ScoreCacheSettings
from es_rerank.proxy.scoring.breaker import Breaker, State
from es_rerank.proxy.scoring.fallback import (
    KEPT_FOR_FALLBACK,
    find_failed,
    mark_fallback,
    shorten,
)
from es_rerank.proxy.scoring.job import (
    Job,
    LateError,
    NotReadyError,
    OverloadedError,
    ScorerGoneError,
    WithoutModel,
    assess,
    rank_jobs,
)
from es_rerank.proxy.scoring.load import QUEUED, load, load_fallback, queue_pairs
from es_rerank.proxy.scoring.pairs import Pairs
from es_rerank.proxy.scoring.stages import Opened, close_jobs, open_jobs
from es_rerank.proxy.scoring.thread import JobThread, Result
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions
from es_rerank.ranking.score import PairScorer, Scorer, TooSlowError, VectorCache

PART = 64
"""Texts embedded in one go in the background."""
MAX_EMBEDDING = 4
"""Windows waiting to be embedded in the background at most."""
CONNECT_EVERY_S = 0.2
FIRST_FINISH_S = 0.004
"""Seconds that diversity and what follows are taken for until it is known."""
MOST_KEPT = 0.25
"""Share of a search's time that is kept for that at most."""
log = telemetry.get_logger()


class Ranker:
    """Loads the model and ranks windows on a thread of its own, behind a circuit breaker.

    scorer: the socket of the process that has the model, where there is one.
    """

    def __init__(
        self,
        settings: ModelSettings,
        rerank: RerankSettings,
        plugins: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        scorer: Path | None = None,
        cache: ScoreCacheSettings | None = None,
    ) -> None:
        self.error: str | None = None
        self.breaker = Breaker(rerank.breaker)
        self._settings = settings
        self._rerank = rerank
        self._plugins = plugins
        self._cache = cache or ScoreCacheSettings()
        self._pairs: Pairs | None = None
        self._finish_s = FIRST_FINISH_S
        self.socket = scorer
        self._waiting = 0
        self._scorer: Scorer | None = None
        self._vectors: VectorCache | None = None
        self._second: Scorer | None = None
        self._thread = JobThread("ranker")
        self._plain = JobThread("ranker without model")
        self._background = JobThread("embedder")
        self._embedding = 0
        self._show_breaker()

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
        """What embeds texts here; None where nothing does, as with a remote reranker."""
        return self._vectors

    async def load(self) -> None:
        """Load and warm up; wait for the process that has the model. Raises ModelError."""
        remote = self._settings.kind == "remote"
        if self.socket is None or remote:
            job = self._thread.submit(partial(load, self._settings, self._plugins))
            scorer, vectors = await asyncio.wrap_future(job)
        else:
            scorer, vectors = await self._connect(self.socket)
        if remote and self._settings.fallback != "none":
            local = None if self.socket is None else await self._connect(self.socket)
            standing_in = self._thread.submit(partial(load_fallback, self._settings, local))
            second, vectors = await asyncio.wrap_future(standing_in)
            self._second = second
        if isinstance(scorer, PairScorer) and self._settings.kind in QUEUED:
            queue = partial(queue_pairs, scorer.model, self._settings, self._cache, self._rerank)
            self._pairs = await asyncio.wrap_future(self._thread.submit(queue))
        self._scorer, self._vectors = scorer, vectors
        telemetry.MODEL_INFO.labels(scorer.name, self._settings.kind, self._settings.device).set(1)

    async def _connect(self, path: Path) -> tuple[Scorer, VectorCache | None]:
        """What the scorer process has, once it has it."""
        from es_rerank.proxy.process.client import connect

        while True:
            try:
                return await asyncio.wrap_future(self._thread.submit(partial(connect, path)))
            except (NotReadyError, ScorerGoneError):
                await asyncio.sleep(CONNECT_EVERY_S)

    def close(self) -> None:
        """Let the threads go; what they do now is finished, what waits is not begun."""
        for thread in (self._thread, self._plain, self._background):
            thread.close()
        if self._pairs is not None:
            self._pairs.close()

    def change(self, rerank: RerankSettings) -> None:
        """Go by other settings from now on."""
        self._rerank = rerank
        self.breaker.change(rerank.breaker)
        if self._pairs is not None:
            self._pairs.change(rerank.batching, rerank.batch_wait_ms / 1000)

    @property
    def reads_texts(self) -> bool:
        """Whether the scorer reads texts even where vectors are stored."""
        return self._settings.kind != "bi-encoder"

    @property
    def labels_texts(self) -> bool:
        """Whether it reads each field's text with the field's name."""
        return self.reads_texts and self._settings.text_labels

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
        once, and they are embedded in the background for the searches to come. While the breaker is
        open, windows are ranked without the model.
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
        if self._waiting >= self._rerank.max_waiting:
            raise OverloadedError
        self._restart_if_stuck()
        admitted = self.breaker.admit()
        self._waiting += 1
        telemetry.WAITING.set(self._waiting)
        try:
            if admitted is None and self._second is None:
                return await self._run(self._plain, jobs, WithoutModel(), None)
            if admitted is None:
                return await self._ask_second(jobs)
            began = time.monotonic()
            rankings = await self._ask_model(admitted, jobs, self._scorer)
            if self._second is not None and (failed := find_failed(rankings)):
                left = shorten([jobs[i] for i in failed], time.monotonic() - began)
                for i, ranking in zip(failed, await self._ask_second(left), strict=True):
                    rankings[i] = rankings[i] if isinstance(ranking, Exception) else ranking
            return rankings
        finally:
            self._waiting -= 1
            telemetry.WAITING.set(self._waiting)
            self._show_breaker()

    async def _ask_model(
        self, admitted: int, jobs: Sequence[Job], scorer: Scorer
    ) -> list[Ranking | Exception]:
        good: bool | None = None
        # A shorter time than the operator's, asked for by a request, proves nothing.
        whole = max(job.timeout_s for job in jobs) * 1000 >= self._rerank.timeout_ms
        try:
            if isinstance(scorer, PairScorer) and self._pairs is not None:
                rankings = await self._score_pairs(jobs, scorer, self._pairs)
            else:
                rankings = await self._run(self._thread, jobs, scorer, self._vectors)
            good = assess(rankings, whole)
        except LateError as error:
            # Nor does a long queue, unless what runs at its head is over time itself.
            if whole and (error.begun or self._overdue_s() > 0):
                good = False
            raise
        except (OverloadedError, NotReadyError):
            raise
        except Exception:
            good = False
            raise
        finally:
            self.breaker.record(admitted, good)
        for i, ranking in enumerate(rankings):
            if isinstance(ranking, Ranking) and ranking.unembedded:
                self._embed_later(ranking.unembedded)
            if isinstance(ranking, TooSlowError):
                self._embed_later(ranking.texts)
                rankings[i] = late = TimeoutError(str(ranking))
                late.__cause__ = ranking
        return rankings

    async def _ask_second(self, jobs: Sequence[Job]) -> list[Ranking | Exception]:
        """Rank by what stands in for a server elsewhere. Raises as `_run` does."""
        assert self._second is not None, "asked only where there is one"
        rankings = await self._run(self._plain, jobs, self._second, self._vectors)
        return [mark_fallback(each) for each in rankings]

    async def _score_pairs(
        self, jobs: Sequence[Job], scorer: PairScorer, pairs: Pairs
    ) -> list[Ranking | Exception]:
        """Rank in two stages; between them the model reads texts, together with other searches'.

        Raises as `_run` does.
        """
        began = time.monotonic()
        timeout_s = max(each.timeout_s for each in jobs)
        reserve_s = min(2 * self._finish_s, MOST_KEPT * timeout_s)
        if self._second is not None:
            reserve_s = KEPT_FOR_FALLBACK * timeout_s
        work = partial(open_jobs, jobs, scorer, self._vectors, pairs, began, reserve_s)
        opened = await self._do(self._thread, work, began + timeout_s)
        asks = [each.ask for each in opened if isinstance(each, Opened)]
        if asks:
            await pairs.wait(asks)
        scored_at = time.monotonic()
        if asks:
            # Late or not, what was scored is worth the moment that this takes.
            until = max(began + timeout_s, scored_at + 2 * self._finish_s)
            closing = partial(close_jobs, opened, pairs)
            rankings = await self._do(self._thread, closing, until)
            self._finish_s += 0.2 * (time.monotonic() - scored_at - self._finish_s)
            return rankings
        return [each for each in opened if not isinstance(each, Opened)]

    async def _run(
        self,
        thread: JobThread,
        jobs: Sequence[Job],
        scorer: Scorer,
        vectors: VectorCache | None,
    ) -> list[Ranking | Exception]:
        """Rank on a thread. Raises LateError, or what befell all jobs at once."""
        began = time.monotonic()
        timeout_s = max(each.timeout_s for each in jobs)
        work = partial(rank_jobs, jobs, scorer, vectors, began)
        return await self._do(thread, work, began + timeout_s)

    async def _do(self, thread: JobThread, work: Callable[[], Result], deadline: float) -> Result:
        """Do work on a thread by then (monotonic). Raises LateError, or what the work raises."""
        job = thread.submit(work, deadline)
        left_s = deadline - time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), left_s)
        except TimeoutError:
            raise LateError(begun=not job.cancel()) from None
        finally:
            job.cancel()

    async def embed(
        self, texts: Sequence[str], most_unknown: float = 1.0
    ) -> NDArray[np.float32] | None:
        """Embed a query's texts on the worker's thread, (n, d) with rows of length 1.

        None when a greater share of one than `most_unknown` is unknown to the model.
        Raises TimeoutError after the operator's time for ranking, OverloadedError, or NotReadyError
        where nothing here embeds, while the breaker is not closed, and when embedding fails.
        """
        if self._vectors is None:
            raise NotReadyError(self.error or "there is no embedder")
        if self.breaker.state != "closed":
            raise NotReadyError("the model is left alone for a while")
        if self._waiting >= self._rerank.max_waiting:
            raise OverloadedError
        self._restart_if_stuck()
        vectors, timeout_s = self._vectors, self._rerank.timeout_ms / 1000

        def work() -> NDArray[np.float32] | None:
            if any(vectors.encoder.unknown_share(text) > most_unknown for text in texts):
                return None
            return vectors.encode(texts)

        job = self._thread.submit(work, time.monotonic() + timeout_s)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), timeout_s)
        except (TimeoutError, OverloadedError):
            raise
        except Exception as error:
            raise NotReadyError(f"{type(error).__name__}: {error}") from error
        finally:
            job.cancel()

    async def embed_in_background(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed many texts that nobody waits for, (n, d); the cache keeps none of them.

        Raises NotReadyError.
        """
        if self._vectors is None:
            raise NotReadyError(self.error or "there is no embedder")
        encode = self._vectors.encoder.encode
        parts = [
            await asyncio.wrap_future(
                self._background.submit(partial(encode, texts[start : start + PART]))
            )
            for start in range(0, len(texts), PART)
        ]
        return np.concatenate([np.zeros((0, self._vectors.encoder.dimensions), np.float32), *parts])

    def _embed_later(self, texts: Sequence[str]) -> None:
        """Embed texts when nobody waits; not when enough of that is already to be done."""
        if self._vectors is None or self._embedding >= MAX_EMBEDDING:
            return
        self._embedding += 1
        job = asyncio.wrap_future(self._background.submit(partial(self._vectors.encode, texts)))

        def finish(done: asyncio.Future[Any]) -> None:
            self._embedding -= 1
            if not done.cancelled() and (error := done.exception()) is not None:
                log.warning("texts could not be embedded in the background", error=str(error))

        job.add_done_callback(finish)

    def _overdue_s(self) -> float:
        """By how much the model is late; negative when it is not."""
        late_s = self._thread.overdue_s()
        return late_s if self._pairs is None else max(late_s, self._pairs.overdue_s())

    def _restart_if_stuck(self) -> None:
        """Leave a thread that is long past its job's time, and go on with another."""
        for part in (self._pairs, self._thread, self._plain):
            if part is None:
                continue
            overdue_s = part.overdue_s()
            if part.restart(self._rerank.stuck_s):
                telemetry.RESTARTS.labels("thread").inc()
                log.error("the model is stuck: its thread is left alone", overdue_s=overdue_s)

    def _show_breaker(self) -> None:
        current = self.breaker.state
        for state in get_args(State):
            telemetry.BREAKER.labels(state).set(state == current)
