"""A window to rank on the scorer's thread, with the scorer or without."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions, Window, rank_all
from es_rerank.ranking.score import Scorer, TooSlowError, VectorCache

BREAKER_OPEN = "breaker-open"
"""Notes that the model was left alone, since it had failed too often."""


class OverloadedError(Exception):
    """More searches wait for the model than may."""


class NotReadyError(Exception):
    """The model is still being loaded."""


class ScorerGoneError(Exception):
    """The process that has the model has ended; it is started again."""


@dataclass(frozen=True)
class Job:
    """A window to rank: `gather` reads it on the worker's thread, within `timeout_s`."""

    query: str | None
    gather: Callable[[], Candidates]
    options: RankingOptions
    timeout_s: float


class WithoutModel:
    """Stands where the scorer would; a ranking by it asks no model and says so."""

    name = "none"

    def score(self, query: str, candidates: Candidates) -> NDArray[np.float64]:
        """Nothing is scored."""
        return np.full(len(candidates), np.nan)

    def unknown_share(self, query: str) -> float:
        """No word is unknown: 0."""
        return 0.0


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
        options = job.options
        if isinstance(scorer, WithoutModel):
            options = replace(options, weights=replace(options.weights, relevance=0.0))
        windows.append(Window(job.query, candidates, options, left_s))
    rankings = iter(rank_all(windows, scorer, vectors))
    done = [next(rankings) if result is None else result for result in results]
    if isinstance(scorer, WithoutModel):
        return [
            each
            if isinstance(each, Exception)
            else replace(each, notes=(BREAKER_OPEN, *each.notes))
            for each in done
        ]
    return done


def assess(rankings: Sequence[Ranking | Exception], whole: bool) -> bool | None:
    """Whether the scorer did its work; None where it was not asked, or had no chance to.

    whole: whether it had the time that the operator gives.
    """
    if any(not isinstance(each, Exception) and each.relevance is not None for each in rankings):
        return True
    excused = (TooSlowError, OverloadedError, NotReadyError, *(() if whole else (TimeoutError,)))
    failed = [
        each for each in rankings if isinstance(each, Exception) and not isinstance(each, excused)
    ]
    return False if failed else None
