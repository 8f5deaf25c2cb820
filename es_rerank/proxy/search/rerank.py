"""The cluster's answer for a window, ranked and put together as the page that was asked for."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from es_rerank import telemetry
from es_rerank.proxy.search import splice
from es_rerank.proxy.search.expand.fuse import Found, Fused, explain_ranks, fuse
from es_rerank.proxy.search.explain import explain_places
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.ranker import NotReadyError, OverloadedError, Ranker
from es_rerank.proxy.search.window import gather
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking

MIN_HITS = 2
REFUSED_BY_SHARDS = b"illegal_argument_exception"
WARN_EVERY_S = 60.0
MENDS = {
    "deadline": "store vectors with `es-rerank reindex`, raise rerank.timeout_ms, or use a GPU",
    "overloaded": "run more proxies, or raise rerank.max_waiting",
}
log = telemetry.get_logger()


class UnusableAnswerError(Exception):
    """The answer cannot serve: the client's own search must be sent instead. Names the reason."""


@dataclass(frozen=True)
class Reranked:
    """The answer with its page. outcome: applied, skipped or fallback. stages: seconds by stage."""

    body: bytes
    outcome: str
    reason: str | None
    stages: Mapping[str, float]


class Reranker:
    """Turns the cluster's answer into the page."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        self._fallen: Counter[str] = Counter()
        self._quiet_until: dict[str, float] = {}

    async def rerank(
        self, plan: Plan, answer: bytes, stages: Mapping[str, float], others: Sequence[Found] = ()
    ) -> Reranked:
        """Rank the window in `answer`, the cluster's to `plan.widened()`, and cut the page out.

        others: hits of further searches, with which the window is filled too. Raises
        UnusableAnswerError. Whatever breaks in ranking, the engine's order goes back.
        """
        began = time.perf_counter()
        try:
            taken = splice.read_answer(answer)
        except splice.AnswerError:
            raise UnusableAnswerError("answer-unreadable") from None
        if REFUSED_BY_SHARDS in bytes(taken.body.get("_shards", b"")):
            # Some indices took our rewriting and others did not: their hits would be missing.
            raise UnusableAnswerError("refused")
        fused = fuse(taken, others, plan.window) if others else Fused(taken)
        taken = fused.answer
        ranking, outcome, reason = await self._rank(plan, taken)
        order: Sequence[int] = range(min(plan.window, len(taken.hits)))
        explanations: Mapping[int, Any] = {}
        stages = dict(stages)
        if ranking is not None:
            order = [int(i) for i in ranking.order]
            stages |= ranking.stages
            if plan.options.explain:
                explanations = explain_places(ranking, taken.hits)
                if others:
                    explanations = explain_ranks(explanations, fused.ranks)
        page = splice.place_hits(
            taken, order, plan.page.start, plan.page.size, plan.additions, explanations
        )
        added_ms = math.floor(1000 * (time.perf_counter() - began))
        pretty = plan.request.parameter("pretty") in {"", "true"}
        written = splice.write_answer(taken, page, added_ms, pretty)
        for stage, seconds in stages.items():
            telemetry.STAGE_SECONDS.labels(stage).observe(seconds)
        return Reranked(written, outcome, reason, stages)

    async def _rank(
        self, plan: Plan, taken: splice.SearchAnswer
    ) -> tuple[Ranking | None, str, str | None]:
        """Rank the window. Returns (ranking or None, outcome, reason)."""
        if plan.page.start >= plan.window:
            return None, "skipped", "beyond-window"
        hits = taken.hits[: plan.window]
        telemetry.CANDIDATES.observe(len(hits))
        if len(hits) < MIN_HITS:
            return None, "skipped", "few-hits"
        timeout_s = plan.options.timeout_s
        try:
            ranking = await self._ranker.rank(
                plan.query, partial(self._gather, hits, plan), plan.options.ranking, timeout_s
            )
        except TimeoutError:
            reason = "deadline"
        except OverloadedError:
            reason = "overloaded"
        except NotReadyError:
            reason = "model-not-ready"
        except Exception as error:
            # Whatever breaks in ranking, the search must not: the engine's order goes back.
            log.error("ranking failed", error=type(error).__name__, exc_info=error)
            reason = "ranking-error"
        else:
            return ranking, "applied", ",".join(ranking.notes) or None
        telemetry.FALLBACKS.labels(reason).inc()
        self._warn(reason)
        return None, "fallback", reason

    def _warn(self, reason: str) -> None:
        """Log fallbacks, a line a minute at most for each reason."""
        self._fallen[reason] += 1
        now = time.monotonic()
        if now < self._quiet_until.get(reason, 0.0):
            return
        self._quiet_until[reason] = now + WARN_EVERY_S
        log.warning(
            "searches kept the engine's order",
            reason=reason,
            searches=self._fallen.pop(reason),
            mend=MENDS.get(reason, "see docs/reference/proxy.md"),
        )

    def _gather(self, hits: Sequence[splice.RawHit], plan: Plan) -> Candidates:
        cache = self._ranker.embedder
        return gather(
            hits,
            plan.fields,
            [cap.field for cap in plan.options.ranking.crowding],
            0 if cache is None else cache.encoder.dimensions,
            self._ranker.reads_texts,
            plan.signal_fields,
        )
