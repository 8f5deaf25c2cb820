"""Asks the cluster for the window, and, where it was wished for, for more than the words find."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from es_rerank.config import Expansion
from es_rerank.proxy.scoring.job import NotReadyError, OverloadedError
from es_rerank.proxy.search.expand.fuse import Found
from es_rerank.proxy.search.expand.knn import NoNeighboursError, find_filter, neighbour_search
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import SearchRequest, write_request
from es_rerank.proxy.search.splice import AnswerError, SearchAnswer, read_answer
from es_rerank.proxy.upstream import Answer, AnswerTooLargeError, Upstream, UpstreamError


@dataclass(frozen=True)
class Asked:
    """The cluster's answer to a plan, and what else was found.

    others: the hits of further searches, to be fused with the answer's. used: which expansions
    these are. notes: why an expansion that was wished for was not made. stages: seconds by stage.
    """

    plan: Plan
    answer: Answer
    stages: dict[str, float]
    others: list[Found] = field(default_factory=list)
    used: list[Expansion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class BeyondWindowError(Exception):
    """The page lies past the window and nothing is added to it: the engine's own page serves."""


class Expander:
    """Makes the searches of a plan."""

    def __init__(self, upstream: Upstream, ranker: Ranker, max_answer_bytes: int) -> None:
        self._upstream = upstream
        self._ranker = ranker
        self._max_answer_bytes = max_answer_bytes

    async def ask(self, plan: Plan) -> Asked:
        """Ask for the window, and for the plan's expansions beside it.

        The client's own search decides: whatever fails in an expansion, its answer comes alone.
        Raises BeyondWindowError, AnswerTooLargeError or UpstreamError.
        """
        began = time.perf_counter()
        notes: list[str] = []
        filters = self._find_filter(plan, notes) if "knn" in plan.options.expand else None
        if filters is None and plan.page.start >= plan.window:
            raise BeyondWindowError
        if filters is None:
            answer = await self._send(plan.widened())
            return Asked(plan, answer, {"upstream": time.perf_counter() - began}, notes=notes)
        neighbours = asyncio.ensure_future(self._find_neighbours(plan, filters))
        try:
            answer = await self._send(plan.widened())
            asked = Asked(plan, answer, {"upstream": time.perf_counter() - began}, notes=notes)
            if answer.status == 200:
                await self._join(asked, neighbours)
                asked.stages["expand"] = time.perf_counter() - began - asked.stages["upstream"]
            return asked
        finally:
            neighbours.cancel()
            with contextlib.suppress(asyncio.CancelledError, NoNeighboursError):
                await neighbours

    async def _join(self, asked: Asked, neighbours: asyncio.Future[Found]) -> None:
        """Wait for the neighbours, no longer than ranking may take."""
        try:
            found = await asyncio.wait_for(neighbours, asked.plan.options.timeout_s)
        except TimeoutError:
            asked.notes.append("knn-deadline")
        except NoNeighboursError as error:
            asked.notes.append(str(error))
        else:
            asked.others.append(found)
            asked.used.append("knn")

    def _find_filter(self, plan: Plan, notes: list[str]) -> list[Any] | None:
        """What neighbours must satisfy; None where they cannot be looked for, which is noted."""
        if plan.query is None:
            return None
        try:
            cache = self._ranker.embedder
            if cache is None:
                raise NoNeighboursError("knn-model")
            if plan.fields.vector is None or plan.fields.model != cache.encoder.name:
                raise NoNeighboursError("knn-vectors")
            return find_filter(plan)
        except NoNeighboursError as error:
            notes.append(str(error))
            return None

    async def _find_neighbours(self, plan: Plan, filters: Sequence[Any]) -> Found:
        """Embed the words and look for their neighbours. Raises NoNeighboursError."""
        assert plan.query is not None, "looked for only where there are words"
        try:
            vector = await self._ranker.embed(plan.query)
            if vector is None:
                raise NoNeighboursError("knn-language")
            on_elasticsearch = bool(self._upstream.product)
            search = neighbour_search(plan, vector.tolist(), filters, on_elasticsearch)
            return Found("neighbours", (await self._search(search)).hits)
        except (NotReadyError, OverloadedError):
            raise NoNeighboursError("knn-model") from None
        except (AnswerError, AnswerTooLargeError, UpstreamError):
            raise NoNeighboursError("knn-failed") from None

    async def _search(self, request: SearchRequest) -> SearchAnswer:
        """Make a search of our own. Raises AnswerError where it is refused, or not whole."""
        answer = await self._send(request)
        if answer.status != 200:
            raise AnswerError(f"status {answer.status}")
        taken = read_answer(answer.body)
        if not is_whole(taken):
            raise AnswerError("some shards did not answer")
        return taken

    async def _send(self, request: SearchRequest) -> Answer:
        target, headers, body = write_request(request)
        return await self._upstream.ask(
            request.method, target, headers, body, self._max_answer_bytes
        )


def is_whole(answer: SearchAnswer) -> bool:
    """Whether all shards answered, in time."""
    shards = bytes(answer.body.get("_shards", b"")).replace(b" ", b"")
    return b'"failed":0' in shards and bytes(answer.body.get("timed_out", b"")) != b"true"
