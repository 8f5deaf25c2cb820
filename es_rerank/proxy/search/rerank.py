"""The cluster's answer for a window, ranked and put together as the page that was asked for."""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from es_rerank import telemetry, tracing
from es_rerank.errors import EsRerankError
from es_rerank.proxy.scoring.fallback import FALLBACK_MODEL
from es_rerank.proxy.scoring.job import (
    BREAKER_OPEN,
    NotReadyError,
    OverloadedError,
    ScorerGoneError,
)
from es_rerank.proxy.search import splice
from es_rerank.proxy.search.batch import Seat
from es_rerank.proxy.search.expand.fuse import Found, Fused, explain_ranks, fuse
from es_rerank.proxy.search.explain import explain_places
from es_rerank.proxy.search.filter_path import Filter, FilterError, read_filter
from es_rerank.proxy.search.orders import Order, OrderCache, follow, identify
from es_rerank.proxy.search.page import Page
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.seen import Seen
from es_rerank.proxy.search.window import gather
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking

MIN_HITS = 2
REFUSED_BY_SHARDS = b"illegal_argument_exception"
WARN_EVERY_S = 60.0
MENDS = {
    "deadline": "store vectors with `es-rerank reindex`, raise rerank.timeout_ms, or use a GPU",
    "scorer-gone": "it is started again; the log says why it ended",
    BREAKER_OPEN: "the log says why the model failed; it is tried again every few seconds",
    FALLBACK_MODEL: "the log says why the server of [model] url failed",
    "overloaded": "run more proxies, or raise rerank.max_waiting",
}
SECOND_BEST = frozenset({BREAKER_OPEN, FALLBACK_MODEL})
"""Notes of windows that were ranked, but not as was wanted."""
log = telemetry.get_logger()


class UnusableAnswerError(Exception):
    """The answer cannot serve: the client's own search must be sent instead. Names the reason."""


@dataclass(frozen=True)
class Reranked:
    """The answer with its page. outcome: applied, skipped or fallback. stages: seconds by stage.

    scored: how much of the window the model read, such as 64/100, where that was not all.
    """

    body: bytes
    outcome: str
    reason: str | None
    stages: Mapping[str, float]
    scored: str | None = None


@dataclass(frozen=True)
class Arranged:
    """The window in its order.

    places: engine positions by place; None where a hit that was shown has vanished, and at the
    window's end for each that crowding has dropped.
    """

    places: Sequence[int | None]
    outcome: str
    reason: str | None
    stages: Mapping[str, float]
    ranking: Ranking | None = None
    scored: str | None = None


class Reranker:
    """Turns the cluster's answer into the page. `orders`: those that lists were given lately."""

    def __init__(self, ranker: Ranker, orders: OrderCache) -> None:
        self._ranker = ranker
        self._orders = orders
        self._seen = Seen()
        self._fallen: Counter[str] = Counter()
        self._quiet_until: dict[str, float] = {}

    async def rerank(
        self,
        plan: Plan,
        answer: bytes,
        stages: Mapping[str, float],
        others: Sequence[Found] = (),
        seat: Seat | None = None,
    ) -> Reranked:
        """Rank the window in `answer`, the cluster's to `plan.widened()`, and cut the page out.

        others: hits of further searches, with which the window is filled too. seat: a place in a
        batch, which ranks it together with others. Raises UnusableAnswerError. Whatever breaks in
        ranking, the engine's order goes back.
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
        window = taken.hits[: plan.window]
        arranged = await self._arrange(plan, window, seat)
        tracing.record_stages(arranged.stages, {"es_rerank.candidates": len(window)})
        explanations: Mapping[int, Any] = {}
        if arranged.ranking is not None and plan.options.explain:
            explanations = explain_places(arranged.ranking, taken.hits, plan.options.ranking)
            if others:
                explanations = explain_ranks(explanations, fused.ranks)
        order, cut = close_gaps(arranged.places, plan.page)
        page = splice.place_hits(
            taken, order, cut.start, cut.size, plan.additions, explanations, len(window)
        )
        stages = {**stages, **arranged.stages}
        added_ms = math.floor(1000 * (time.perf_counter() - began))
        pretty = plan.request.parameter("pretty") in {"", "true"}
        shown = read_filter(plan.request)
        written = splice.write_answer(taken, page, added_ms, pretty and shown is None)
        if shown is not None:
            written = cut_answer(shown, written, pretty)
        stages["rerank"] = time.perf_counter() - began
        for stage, seconds in stages.items():
            telemetry.STAGE_SECONDS.labels(stage).observe(seconds)
        return Reranked(written, arranged.outcome, arranged.reason, stages, arranged.scored)

    async def _arrange(
        self, plan: Plan, hits: Sequence[splice.RawHit], seat: Seat | None
    ) -> Arranged:
        """Order the window as its list was ordered lately, or rank it."""
        if plan.page.start >= plan.window:
            return Arranged(range(len(hits)), "skipped", "beyond-window", {})
        telemetry.CANDIDATES.observe(len(hits))
        began, timeout_s = time.perf_counter(), plan.options.timeout_s
        ranker = seat or self._ranker
        key = plan.list_key if self._orders.on else None
        present = None if key is None else identify(hits, plan.collapsed)
        if key is None or present is None:
            telemetry.ORDER_CACHE.labels("bypass").inc()
            return await self._rank(plan, hits, timeout_s, ranker)
        if seat is not None and self._orders.is_ranking(key):
            seat.leave()  # it may be another of the same batch that is waited for
        waited = await self._orders.settle(key, timeout_s)
        known = self._orders.find(key, self._ranker.model)
        if known is not None and (known.ranked or plan.page.start > 0 or waited):
            telemetry.ORDER_CACHE.labels("hit").inc()
            return self._follow(plan, key, known, present)
        telemetry.ORDER_CACHE.labels("miss").inc()
        with self._orders.ordering(key):
            left_s = timeout_s - (time.perf_counter() - began)
            arranged = await self._rank(plan, hits, left_s, ranker)
        given = self._orders.find(key, self._ranker.model)
        if given is not None and (given.ranked or arranged.outcome == "fallback"):
            return self._follow(plan, key, given, present)
        if arranged.outcome in {"applied", "fallback"}:
            places = array("q", (present[i] for i in arranged.places if i is not None))
            served = min(plan.page.start + plan.page.size, len(places))
            listed = set(places)
            dropped = array("q", (one for one in present if one not in listed))
            how = (arranged.outcome, arranged.reason, self._ranker.model, arranged.scored)
            self._orders.keep(key, Order(places, served, *how, dropped=dropped))
        return arranged

    def _follow(self, plan: Plan, key: bytes, known: Order, present: Sequence[int]) -> Arranged:
        """Order the window as its list was ordered."""
        began = time.perf_counter()
        identities = follow(known, present, plan.window)
        served = min(plan.page.start + plan.page.size, len(identities))
        moved = replace(known, identities=identities, served=max(known.served, served))
        self._orders.move_on(key, moved, longer=plan.page.start > 0)
        position = {identity: i for i, identity in enumerate(present)}
        places = [position.get(identity) for identity in identities]
        places += [None for identity in known.dropped if identity in position]
        if not known.ranked and known.reason:
            telemetry.FALLBACKS.labels(known.reason).inc()
        stages = {"order-cache": time.perf_counter() - began}
        return Arranged(places, known.outcome, known.reason, stages, scored=known.scored)

    async def _rank(
        self, plan: Plan, hits: Sequence[splice.RawHit], timeout_s: float, ranker: Seat | Ranker
    ) -> Arranged:
        """Rank the window; in the engine's order where that fails."""
        as_it_came = range(len(hits))
        if len(hits) < MIN_HITS:
            return Arranged(as_it_came, "skipped", "few-hits", {})
        try:
            ranking = await ranker.rank(
                plan.query, partial(self._gather, hits, plan), plan.options.ranking, timeout_s
            )
        except TimeoutError:
            reason = "deadline"
        except OverloadedError:
            reason = "overloaded"
        except NotReadyError:
            reason = "model-not-ready"
        except ScorerGoneError:
            reason = "scorer-gone"
        except Exception as error:
            # Whatever breaks in ranking, the search must not: the engine's order goes back.
            # Our own errors say what is wrong; a traceback would hold other searches up.
            told = isinstance(error, EsRerankError)
            what = f"{type(error).__name__}: {error}" if told else type(error).__name__
            log.error("ranking failed", error=what, exc_info=None if told else error)
            reason = "ranking-error"
        else:
            kept = len(ranking.order) - ranking.dropped
            order = [*ranking.order[:kept].tolist(), *[None] * ranking.dropped]
            notes = ",".join(ranking.notes) or None
            outcome = "applied"
            for note in SECOND_BEST.intersection(ranking.notes):
                outcome = "fallback"  # and so a list's first page is ranked anew the next time
                telemetry.FALLBACKS.labels(note).inc()
                self._warn(note)
            scored = None
            if ranking.scored is not None:
                scored = "{}/{}".format(*ranking.scored)
                telemetry.PARTLY_SCORED.inc()
            return Arranged(order, outcome, notes, ranking.stages, ranking, scored)
        telemetry.FALLBACKS.labels(reason).inc()
        self._warn(reason)
        return Arranged(as_it_came, "fallback", reason, {})

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
            None if cache is None else cache.encoder.dimensions,
            self._ranker.reads_texts,
            plan.signal_fields,
            self._seen,
            self._ranker.labels_texts,
        )


def cut_answer(shown: Filter, answer: bytes, pretty: bool) -> bytes:
    """The parts of the answer that the client wants. Raises UnusableAnswerError where in doubt."""
    try:
        cut = shown.cut(answer)
    except FilterError:
        raise UnusableAnswerError("filter_path") from None
    return msgspec.json.format(cut, indent=2) + b"\n" if pretty else cut


def close_gaps(places: Sequence[int | None], page: Page) -> tuple[list[int], Page]:
    """The order without its gaps, and where the page lies in it."""
    before = sum(place is None for place in places[: page.start])
    within = sum(place is None for place in places[page.start : page.start + page.size])
    order = [place for place in places if place is not None]
    return order, Page(page.start - before, page.size - within)
