"""The ranker: one model, one queue, and a deadline that is seen from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from es_rerank.config import ModelSettings
from es_rerank.errors import ConfigError, ModelError
from es_rerank.proxy.ranker import NotReadyError, OverloadedError, Ranker
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions
from tests.proxy.wire import reranker

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
        ranker = Ranker(ModelSettings(kind="remote", url=url), max_waiting)
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
    go = threading.Event()

    def score(_: str, text: str) -> float:
        asked.append(text)
        go.wait(5)
        return 1.0

    async def job(ranker: Ranker) -> list[object]:
        jobs = [
            asyncio.create_task(ranker.rank("q", partial(candidates, [name, name]), OPTIONS, wait))
            for name, wait in (("first", 5.0), ("second", 0.1))
        ]
        began = time.monotonic()
        late = await asyncio.gather(jobs[1], return_exceptions=True)
        assert time.monotonic() - began < 2
        go.set()
        return [*late, await jobs[0]]

    results = run(score, job)
    assert isinstance(results, list)
    assert [type(result) for result in results] == [TimeoutError, Ranking]
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
    ranker = Ranker(ModelSettings(name="some-model"), 8)
    assert (ranker.ready, ranker.model, ranker.embedder) == (False, "some-model", None)
    with pytest.raises(NotReadyError):
        asyncio.run(ranker.rank("q", partial(candidates, ["a"]), OPTIONS, 1))


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (ModelSettings(kind="remote"), ConfigError),
        (ModelSettings(kind="remote", url="nonsense"), ModelError),
    ],
)
def test_wrong_models_are_told(settings: ModelSettings, error: type[Exception]) -> None:
    with pytest.raises(error, match="model"):
        asyncio.run(Ranker(settings, 8).load())
