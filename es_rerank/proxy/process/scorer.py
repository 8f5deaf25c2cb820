"""The scorer process: the model, loaded once, for all workers over a local socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.proxy.process.frames import (
    LENGTH,
    Answer,
    Describe,
    Described,
    Encode,
    Failed,
    FrameError,
    Ping,
    Pong,
    Request,
    Score,
    Scores,
    Share,
    ShareUnknown,
    Vectors,
    read_length,
    read_request,
    write_frame,
)
from es_rerank.proxy.scoring.job import OverloadedError
from es_rerank.proxy.scoring.load import QUEUED, load, queue_pairs
from es_rerank.proxy.scoring.pairs import Pairs
from es_rerank.proxy.scoring.thread import JobThread
from es_rerank.ranking.score import PairScorer, Scorer, VectorCache

Result = TypeVar("Result")
PATIENCE_S = 60.0
"""Seconds for scores that nobody waits for."""
WAY_BACK_S = 0.002
"""Of a search's time, what the answer's way to the worker takes."""
log = telemetry.get_logger()


class ScorerServer:
    """Answers workers. What searches wait for goes before what is embedded in the background."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scorer: Scorer | None = None
        self._vectors: VectorCache | None = None
        self._pairs: Pairs | None = None
        self.error: str | None = None
        self._searches = JobThread("scorer")
        self._background = JobThread("embedder")
        self._words = JobThread("tokenizer")
        self._waiting = 0

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and warm."""
        return self._scorer is not None

    @property
    def name(self) -> str:
        """The model's name."""
        return self._scorer.name if self._scorer is not None else self._settings.model.name

    async def serve(self, path: Path, stop: asyncio.Event) -> None:
        """Answer on the socket until told to stop; the model is loaded meanwhile."""
        server = await asyncio.start_unix_server(self._talk, path)
        loading = asyncio.create_task(self.load())
        async with server:
            await stop.wait()
        loading.cancel()

    async def load(self) -> None:
        """Load and warm up; what goes wrong is told as `error`."""
        model = self._settings.model
        job = self._searches.submit(partial(load, model, self._settings.plugins))
        try:
            scorer, vectors = await asyncio.wrap_future(job)
            if isinstance(scorer, PairScorer) and model.kind in QUEUED:
                settings = self._settings
                queue = partial(
                    queue_pairs, scorer.model, model, settings.score_cache, settings.rerank
                )
                self._pairs = await asyncio.wrap_future(self._searches.submit(queue))
        except Exception as error:  # whatever a model's files or a GPU can do
            self.error = str(error) or repr(error)
            log.error("the model cannot be loaded", error=self.error)
            return
        self._scorer, self._vectors = scorer, vectors
        log.info("model ready", model=scorer.name)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, FrameError):
            while True:
                length = read_length(await reader.readexactly(LENGTH.size))
                answer = await self.answer(read_request(await reader.readexactly(length)))
                writer.write(write_frame(answer))
                await writer.drain()
        writer.close()

    async def answer(self, request: Request) -> Answer:
        """Answer one request, within its own time."""
        if isinstance(request, Ping):
            overdue_s = self._searches.overdue_s()
            if self._pairs is not None:
                overdue_s = max(overdue_s, self._pairs.overdue_s())
            return Pong(self._scorer is not None, self.error, max(overdue_s, 0.0))
        if self._scorer is None:
            if self.error is not None:
                return Failed("broken", self.error)
            return Failed("not-ready", "the model is being loaded")
        try:
            return await self._work(request, self._scorer)
        except TimeoutError:
            return Failed("deadline", "the scorer had no time for it")
        except OverloadedError:
            return Failed("overloaded", "too many searches wait for the scorer")
        except Exception as error:
            return Failed("broken", describe(error))

    async def _work(self, request: Request, scorer: Scorer) -> Answer:
        vectors = self._vectors
        if isinstance(request, Describe):
            return Described(
                self._settings.model.kind,
                scorer.name,
                None if vectors is None else vectors.encoder.name,
                0 if vectors is None else vectors.encoder.dimensions,
                0.0 if vectors is None else vectors.seconds_per_text,
                "" if self._pairs is None else self._pairs.cache.identity,
                0.0 if self._pairs is None else self._pairs.pace.tokens_per_s,
                scorer.cosine_share if isinstance(scorer, PairScorer) else 0.0,
            )
        if isinstance(request, ShareUnknown):
            embeds = request.embedder and vectors is not None
            reader = vectors.encoder if embeds and vectors is not None else scorer
            job = self._words.submit(partial(reader.unknown_share, request.text))
            return Share(await asyncio.wrap_future(job))
        if isinstance(request, Encode) and vectors is not None:
            rows = await self._run(partial(vectors.encode, request.texts), request.left_s)
            return Vectors(rows.astype(np.float32).tobytes(), vectors.seconds_per_text)
        if isinstance(request, Score) and self._pairs is not None:
            return await self._score(request, self._pairs)
        if isinstance(request, Score) and isinstance(scorer, PairScorer):
            scored = await self._run(
                partial(scorer.model.score_lists, request.lists), request.left_s
            )
            return Scores(
                [
                    b"" if isinstance(each, Exception) else np.asarray(each, np.float64).tobytes()
                    for each in scored
                ],
                [describe(each) if isinstance(each, Exception) else None for each in scored],
                [True] * len(scored),
            )
        return Failed("broken", f"this scorer does not {type(request).__name__}")

    async def _score(self, request: Score, pairs: Pairs) -> Scores:
        """Score each list, as much of it as there is time for."""
        with self._queued(request.left_s):
            left_s = PATIENCE_S if request.left_s is None else request.left_s
            deadline = time.monotonic() + left_s - min(WAY_BACK_S, left_s / 4)
            # On a thread: it may ask Redis.
            asks = await asyncio.wrap_future(
                self._words.submit(lambda: [pairs.open(*each) for each in request.lists])
            )
            for ask in asks:
                pairs.submit(ask, deadline)
            if asks:
                await pairs.wait(asks)
            return Scores(
                [ask.scores.tobytes() for ask in asks],
                [None if ask.error is None else describe(ask.error) for ask in asks],
                [ask.begun or pairs.overdue_s() > 0 for ask in asks],
                pairs.pace.tokens_per_s,
            )

    async def _run(self, work: Callable[[], Result], left_s: float | None) -> Result:
        """Do work for a search within its time, or in the background where nobody waits."""
        if left_s is None:
            return await asyncio.wrap_future(self._background.submit(work))
        with self._queued(left_s):
            job = self._searches.submit(work, time.monotonic() + left_s)
            # What has begun is finished, for the caches; what has not when time is over is dropped.
            done, _ = await asyncio.wait({future := asyncio.wrap_future(job)}, timeout=left_s)
            if not done and job.cancel():
                raise TimeoutError
            return await future

    @contextlib.contextmanager
    def _queued(self, left_s: float | None) -> Iterator[None]:
        """Count what searches wait for. Raises OverloadedError."""
        if left_s is not None and self._waiting >= self._settings.rerank.max_waiting:
            raise OverloadedError
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


def describe(error: Exception) -> str:
    """An error as text."""
    return f"{type(error).__name__}: {error}"
