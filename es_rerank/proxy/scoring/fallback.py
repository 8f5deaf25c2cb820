"""What scores where a server elsewhere does not: `[model] fallback`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from es_rerank.proxy.scoring.job import Job, NotReadyError, OverloadedError
from es_rerank.ranking.pipeline import Ranking
from es_rerank.ranking.score import TooSlowError

FALLBACK_MODEL = "fallback-model"
"""Notes that [model] fallback scored in the server's place."""
KEPT_FOR_FALLBACK = 0.25
"""Of a search's time, what is kept for the fallback."""


def find_failed(rankings: Sequence[Ranking | Exception]) -> list[int]:
    """Which windows the server failed for."""
    others = (OverloadedError, NotReadyError, TooSlowError)
    return [
        i
        for i, each in enumerate(rankings)
        if isinstance(each, Exception) and not isinstance(each, others)
    ]


def shorten(jobs: Sequence[Job], spent_s: float) -> list[Job]:
    """The jobs with the time that is left of theirs, a moment at least."""
    return [replace(job, timeout_s=max(job.timeout_s - spent_s, 0.001)) for job in jobs]


def mark_fallback(ranking: Ranking | Exception) -> Ranking | Exception:
    """A ranking that says who scored; one for which no model was asked as it is."""
    if isinstance(ranking, Exception) or ranking.relevance is None:
        return ranking
    return replace(ranking, notes=(FALLBACK_MODEL, *ranking.notes))
