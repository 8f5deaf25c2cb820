"""Several searches of one request, ranked as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from es_rerank.proxy.scoring.job import Job
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions


class Batch:
    """Collects windows until each member has brought one or left, then ranks them in one go."""

    def __init__(self, ranker: Ranker, members: int) -> None:
        self.ranker = ranker
        self._awaited = members
        self._jobs: list[tuple[Job, asyncio.Future[Ranking]]] = []
        self._ranking: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Give up what is not ranked yet."""
        if self._ranking is not None:
            self._ranking.cancel()

    def bring(self, job: Job) -> asyncio.Future[Ranking]:
        """A member's window."""
        future: asyncio.Future[Ranking] = asyncio.get_running_loop().create_future()
        self._jobs.append((job, future))
        self.leave()
        return future

    def leave(self) -> None:
        """The others wait for one member less."""
        self._awaited -= 1
        if self._awaited == 0 and self._jobs:
            self._ranking = asyncio.create_task(self._rank_all())

    async def _rank_all(self) -> None:
        results: list[Ranking | Exception]
        try:
            results = await self.ranker.rank_all([job for job, _ in self._jobs])
        except Exception as error:
            results = [error] * len(self._jobs)
        for (_, future), result in zip(self._jobs, results, strict=True):
            if future.done():  # its own time was over sooner
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


class Seat:
    """One member's place in a batch: it ranks at most once, and must `leave` in the end."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._done = False

    async def rank(
        self,
        query: str | None,
        gather: Callable[[], Candidates],
        options: RankingOptions,
        timeout_s: float,
    ) -> Ranking:
        """Rank a window with the others', or alone when they wait no longer.

        Raises as Ranker.rank does.
        """
        if self._done:
            return await self._batch.ranker.rank(query, gather, options, timeout_s)
        self._done = True
        future = self._batch.bring(Job(query, gather, options, timeout_s))
        return await asyncio.wait_for(future, timeout_s)

    def leave(self) -> None:
        """Let the others go on."""
        if not self._done:
            self._done = True
            self._batch.leave()
