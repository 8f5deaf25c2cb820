"""The ranker: one model, one queue, and a deadline that is seen from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from es_rerank.config import ModelSettings, RerankSettings
from es_rerank.errors import ModelError
from es_rerank.proxy.scoring.job import Job, NotReadyError, OverloadedError
from es_rerank.proxy.search.batch import Batch, Seat
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions
from es_rerank.ranking.score import TooSlowError
from tests.proxy.wire import reranker

CALLS = ModelSettings().parallel
OPTIONS = RankingOptions(diversity=0.0)


def candidates(texts: Sequence[str]) -> Candidates:
    scores: NDArray[np.float64] = np.arange(len(texts), 0, -1, dtype=np.float64)
    return Candidates(first_stage=scores, texts=texts)


def run(
    score: Callable[[str, str], float],
    job: Callable[[Ranker], object],
    max_waiting: int = 8,
) -> object:
    async def whole(url: str) -> object:
        ranker = Ranker(
            ModelSettings(kind="remote", url=url), RerankSettings(max_waiting=max_waiting)
        )
        await ranker.load()
        try:
            return await job(ranker)  # type: ignore[misc]
        finally:
            ranker.close()

    with reranker(score) as model:
        return asyncio.run(whole(model.url))


def test_windows_are_ranked() -> None:
    async def job(ranker: Ranker) -> Ranking:
        return await ranker.rank("q", partial(candidates, ["1", "3", "2"]), OPTIONS, 5)

    ranking = run(lambda _, text: float(text) ** 3, job)
    assert isinstance(ranking, Ranking)
    assert ranking.relevance is not None
    assert list(ranking.relevance) == [1.0, 27.0, 8.0]


def test_a_job_over_time_that_was_not_begun_is_dropped() -> None:
    asked: list[str] = []
    begun, go = threading.Barrier(CALLS + 1), threading.Event()

    def score(_: str, text: str) -> float:
        asked.append(text)
        if not go.is_set():
            begun.wait(10)
        go.wait(5)
        return 1.0

    async def job(ranker: Ranker) -> list[object]:
        firsts = [
            asyncio.create_task(ranker.rank("q", partial(candidates, ["first"] * 2), OPTIONS, 5))
            for _ in range(CALLS)
        ]
        await asyncio.to_thread(begun.wait, 10)
        began = time.monotonic()
        second = ranker.rank("q", partial(candidates, ["second"] * 2), OPTIONS, 0.1)
        late = await asyncio.gather(second, return_exceptions=True)
        assert time.monotonic() - began < 2
        go.set()
        return [*late, await firsts[0]]

    results = run(score, job, max_waiting=32)
    assert isinstance(results, list)
    late, ranking = results
    assert isinstance(late, TimeoutError)
    assert isinstance(ranking, Ranking)
    assert set(asked) == {"first"}


def test_the_queue_is_bounded_and_drains() -> None:
    async def job(ranker: Ranker) -> list[object]:
        many = [ranker.rank("q", partial(candidates, ["a", "b"]), OPTIONS, 5) for _ in range(5)]
        first = await asyncio.gather(*many, return_exceptions=True)
        return [*first, await ranker.rank("q", partial(candidates, ["a", "b"]), OPTIONS, 5)]

    results = run(lambda *_: 1.0, job, max_waiting=2)
    assert isinstance(results, list)
    assert [type(result) for result in results] == [Ranking] * 2 + [OverloadedError] * 3 + [Ranking]


def test_without_a_model_there_is_no_ranking() -> None:
    ranker = Ranker(ModelSettings(name="some-model"), RerankSettings())
    assert (ranker.ready, ranker.model, ranker.embedder) == (False, "some-model", None)
    with pytest.raises(NotReadyError):
        asyncio.run(ranker.rank("q", partial(candidates, ["a"]), OPTIONS, 1))


def test_a_wrong_address_is_told() -> None:
    with pytest.raises(ModelError, match="model"):
        asyncio.run(Ranker(ModelSettings(kind="remote", url="nonsense"), RerankSettings()).load())


def test_what_cannot_be_embedded_in_time_is_given_up_at_once_and_embedded_later() -> None:
    def window(name: str) -> Callable[[], Candidates]:
        return partial(candidates, [f"{name} {i} " + "long description " * 100 for i in range(24)])

    async def job() -> list[object]:
        ranker = Ranker(ModelSettings(kind="bi-encoder"), RerankSettings())
        await ranker.load()
        try:
            await ranker.rank("shoes", window("first"), OPTIONS, 60)  # teaches it the speed
            with pytest.raises(TimeoutError) as caught:
                await ranker.rank("shoes", window("second"), OPTIONS, 0.01)
            for _ in range(600):
                try:
                    ranking = await ranker.rank("shoes", window("second"), OPTIONS, 0.2)
                    return [caught.value.__cause__, ranking]
                except TimeoutError:
                    await asyncio.sleep(0.1)
            return [caught.value.__cause__, None]
        finally:
            ranker.close()

    cause, ranking = asyncio.run(job())
    assert isinstance(cause, TooSlowError)
    assert len(cause.texts) == 24
    assert isinstance(ranking, Ranking)


def test_a_batch_ranks_each_and_counts_as_one() -> None:
    def broken() -> Candidates:
        raise ValueError("unreadable")

    async def job(ranker: Ranker) -> list[object]:
        jobs = [
            Job("q", partial(candidates, ["1", "2"]), OPTIONS, 5),
            Job("q", broken, OPTIONS, 5),
            Job(None, partial(candidates, ["1"]), OPTIONS, 5),
        ]
        return [*await ranker.rank_all(jobs)]

    first, second, third = cast("list[object]", run(lambda _, text: float(text), job, 1))
    assert isinstance(first, Ranking)
    assert first.relevance is not None
    assert list(first.relevance) == [1.0, 2.0]
    assert isinstance(second, ValueError)
    assert isinstance(third, Ranking)
    assert third.notes == ("no-query-text",)


def test_members_of_a_batch_wait_for_each_other_and_for_nobody_who_left() -> None:
    async def job(ranker: Ranker) -> list[object]:
        batch = Batch(ranker, 3)
        seats = [Seat(batch) for _ in range(3)]
        ranked = [
            asyncio.create_task(seat.rank("q", partial(candidates, texts), OPTIONS, wait))
            for seat, texts, wait in zip(seats, (["1", "2"], ["3"]), (5.0, 0.05), strict=False)
        ]
        late = await asyncio.gather(ranked[1], return_exceptions=True)
        assert not ranked[0].done()
        seats[2].leave()
        seats[2].leave()
        return [*late, await ranked[0]]

    late, ranking = cast("list[object]", run(lambda _, text: float(text), job))
    assert isinstance(late, TimeoutError)
    assert isinstance(ranking, Ranking)
    assert ranking.relevance is not None
    assert list(ranking.relevance) == [1.0, 2.0]
