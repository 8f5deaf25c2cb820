"""A window's two stages on the ranker's thread, before and after the model reads its texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from es_rerank.proxy.scoring.job import Job, LateError, read_windows
from es_rerank.proxy.scoring.pairs import Ask, Pairs
from es_rerank.ranking.blend import blend
from es_rerank.ranking.pipeline import Judged, Ranking, finish, prepare
from es_rerank.ranking.score import PairScorer, VectorCache, check_scores, compare

OVERDUE_S = 0.05
"""A call of the model that is later than that is a failure of the model's."""


@dataclass(frozen=True)
class Opened:
    """A window whose texts are being scored. rows: the positions of the texts in the window."""

    judged: Judged
    ask: Ask
    rows: Sequence[int]


def open_jobs(
    jobs: Sequence[Job],
    scorer: PairScorer,
    vectors: VectorCache | None,
    pairs: Pairs,
    began: float,
    reserve_s: float,
) -> list[Opened | Ranking | Exception]:
    """Read the windows, and have scored what no cache knows the score of.

    began: when they were handed in (monotonic). reserve_s: the time of each job that is kept for
    what comes after. A window that need not wait is ranked at once.
    """
    windows, results = read_windows(jobs, began)
    judged = iter(prepare(windows, scorer, vectors))
    opened: list[Opened | Ranking | Exception] = []
    for job, failed in zip(jobs, results, strict=True):
        if failed is not None:
            opened.append(failed)
            continue
        each = next(judged)
        if not each.asked or each.failed is not None:
            opened += finish([each])
            continue
        texts = each.candidates.texts
        rows = [i for i, text in enumerate(texts) if text]
        hash_at = getattr(texts, "hash_at", None)  # of hits that were read before
        keys = None if hash_at is None else [hash_at(i) for i in rows]
        ask = pairs.open(each.window.query or "", [texts[i] or "" for i in rows], keys)
        waiting = Opened(each, ask, rows)
        if ask.missing():
            submit(waiting, vectors, pairs, began + job.timeout_s - reserve_s)
            opened.append(waiting)
        else:
            opened.append(close(waiting, pairs))
    return opened


def submit(opened: Opened, vectors: VectorCache | None, pairs: Pairs, deadline: float) -> None:
    """Have the texts scored, the most promising first where there is no time for all."""
    ask = opened.ask
    order = None
    if pairs.is_short(ask, deadline):
        order = promise(opened, vectors)
    pairs.submit(ask, deadline, order)


def promise(opened: Opened, vectors: VectorCache | None) -> list[int]:
    """The texts without a score, the most promising first.

    That is by the blend of the engine's score and the cosine of the vectors that are at hand with
    the query's, weighed as the operator has it; without vectors, the engine's order. A cascade
    (Wang, Lin and Metzler, SIGIR 2011).
    """
    candidates, window = opened.judged.candidates, opened.judged.window
    missing = opened.ask.missing()
    known = candidates.has_vector
    if vectors is None or candidates.vectors is None or (known is not None and not known.any()):
        return missing  # before the query is embedded for nothing
    cosine = compare(vectors.encode([window.query or ""])[0], candidates)
    if cosine is None:
        return missing
    blended = blend(candidates.first_stage, cosine, window.options.weights)
    rows = np.asarray(opened.rows)[missing]
    return [missing[i] for i in np.argsort(-blended[rows], kind="stable").tolist()]


def close(opened: Opened, pairs: Pairs) -> Ranking | Exception:
    """Rank a window by what was scored of it.

    Where a long queue left the model no time for any text, a window is ranked by its vectors'
    cosines if the model counts on those.
    """
    judged, ask = opened.judged, opened.ask
    scores = ask.scores.copy()
    late = np.isnan(scores)
    failed = ask.error
    if failed is None and len(scores) and late.all():
        failed = LateError(begun=ask.begun or pairs.overdue_s() > OVERDUE_S)
    queued = isinstance(failed, LateError) and not failed.begun
    if queued and judged.cosine is not None:
        judged.relevance, judged.unread = np.full(len(judged.candidates), np.nan), len(scores)
        judged.relevance[opened.rows] = judged.cosine[opened.rows]
    elif failed is not None:
        judged.failed = failed
    else:
        relevance = np.full(len(judged.candidates), np.nan)
        relevance[opened.rows] = scores
        judged.relevance = check_scores(relevance, judged.candidates)
        judged.late = np.zeros(len(relevance), np.bool_)
        judged.late[opened.rows] = late
    (ranking,) = finish([judged])
    return ranking


def close_jobs(
    opened: Sequence[Opened | Ranking | Exception], pairs: Pairs
) -> list[Ranking | Exception]:
    """Rank what was opened by what was scored of it."""
    return [close(each, pairs) if isinstance(each, Opened) else each for each in opened]
