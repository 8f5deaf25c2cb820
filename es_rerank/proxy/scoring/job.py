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


class LateError(TimeoutError):
    """Ranking took longer than there was time. begun: whether it had begun at all."""

    def __init__(self, begun: bool) -> None:
        super().__init__("ranking was under way" if begun else "ranking was not begun")
        self.begun = begun


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


def read_windows(jobs: Sequence[Job], began: float) -> tuple[list[Window], list[Exception | None]]:
    """The jobs' windows, of those that could be read, and what befell each job.

    began: when they were handed in (monotonic).
    """
    windows: list[Window] = []
    failed: list[Exception | None] = []
    for job in jobs:
        try:
            candidates = job.gather()
        except Exception as error:
            failed.append(error)
            continue
        failed.append(None)
        left_s = began + job.timeout_s - time.monotonic()
        windows.append(Window(job.query, candidates, job.options, left_s))
    return windows, failed


def without_model(window: Window) -> Window:
    """A window that no model is asked about."""
    weights = replace(window.options.weights, relevance=0.0)
    return replace(window, options=replace(window.options, weights=weights))


def rank_jobs(
    jobs: Sequence[Job], scorer: Scorer, vectors: VectorCache | None, began: float
) -> list[Ranking | Exception]:
    """Read the windows and rank them; `began` is when they were handed in (monotonic)."""
    windows, failed = read_windows(jobs, began)
    if isinstance(scorer, WithoutModel):
        windows = [without_model(window) for window in windows]
    rankings = iter(rank_all(windows, scorer, vectors))
    done = [next(rankings) if error is None else error for error in failed]
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
        each
        for each in rankings
        if isinstance(each, Exception)
        and not isinstance(each, excused)
        and not (isinstance(each, LateError) and not each.begun)  # a long queue says nothing
    ]
    return False if failed else None
