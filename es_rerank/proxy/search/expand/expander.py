"""Asks the cluster for the window, and, where it was wished for, for more than the words find."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from es_rerank import telemetry
from es_rerank.config import Expansion
from es_rerank.proxy.scoring.job import NotReadyError, OverloadedError
from es_rerank.proxy.search.additions import Additions, widen
from es_rerank.proxy.search.expand.fuse import Found
from es_rerank.proxy.search.expand.knn import find_filter, neighbour_search
from es_rerank.proxy.search.expand.rewording import reword_plan
from es_rerank.proxy.search.expand.search import NotExpandedError, Sender
from es_rerank.proxy.search.expand.spelling import find_words, read_corrections, suggestion_search
from es_rerank.proxy.search.expand.synonyms import SynonymFinder
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.splice import AnswerError, read_answer
from es_rerank.proxy.upstream import Answer, AnswerTooLargeError, Upstream, UpstreamError

log = telemetry.get_logger()
UNUSABLE = (AnswerError, AnswerTooLargeError, UpstreamError)
UNREADABLE = (KeyError, TypeError, msgspec.DecodeError)
# What a search need not bring along that is only to say whether it finds little.
SHOWN = ("aggs", "aggregations", "highlight", "suggest", "fields", "docvalue_fields", "explain")


@dataclass(frozen=True)
class Asked:
    """The cluster's answer to a plan, and what else was found.

    plan: the one that `answer` belongs to. others: the hits of further searches, to be fused with
    the answer's. used: which expansions these are. notes: why an expansion that was wished for was
    not made. corrected: the words that were searched for instead. stages: seconds by stage.
    """

    plan: Plan
    answer: Answer
    stages: dict[str, float]
    others: list[Found] = field(default_factory=list)
    used: list[Expansion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    corrected: str | None = None


class BeyondWindowError(Exception):
    """The page lies past the window and nothing is added to it: the engine's own page serves."""


Further = dict[Expansion, "asyncio.Task[Found | None]"]


class Expander:
    """Makes the searches of a plan."""

    def __init__(self, upstream: Upstream, ranker: Ranker, max_answer_bytes: int) -> None:
        self._sender = Sender(upstream, max_answer_bytes)
        self._ranker = ranker
        self._synonyms = SynonymFinder(self._sender, ranker)

    async def ask(self, plan: Plan) -> Asked:
        """Ask for the window, and for the plan's expansions beside it.

        The client's own search decides: whatever fails in an expansion, its answer comes alone.
        Raises BeyondWindowError, AnswerTooLargeError or UpstreamError.
        """
        began = time.perf_counter()
        mends = "spelling" in plan.options.expand and plan.query is not None
        notes: list[str] = []
        further = self._begin(plan, notes)
        try:
            beyond = not further and plan.page.start >= plan.window
            if beyond and not (mends and await self._finds_little(plan)):
                raise BeyondWindowError
            answer = await self._sender.send(plan.widened())
            asked = Asked(plan, answer, {"upstream": time.perf_counter() - began}, notes=notes)
            if answer.status != 200:
                return asked
            if mends and (mended := await self._mend(asked)) is not None:
                asked = mended
                await discard(further)
                further = self._begin(asked.plan, asked.notes)
            for name, task in further.items():
                await self._join(asked, name, task)
            if plan.options.expand:
                asked.stages["expand"] = time.perf_counter() - began - asked.stages["upstream"]
            return asked
        finally:
            await discard(further)

    def _begin(self, plan: Plan, notes: list[str]) -> Further:
        """Begin the searches that need not wait for the client's own."""
        searches: dict[Expansion, Coroutine[Any, Any, Found | None]] = {}
        if plan.query is None:
            return {}
        try:
            cache = self._ranker.embedder
            if "knn" in plan.options.expand:
                if cache is None:
                    raise NotExpandedError("knn-model")
                if plan.fields.vector is None or plan.fields.model != cache.encoder.name:
                    raise NotExpandedError("knn-vectors")
                searches["knn"] = self._find_neighbours(plan, find_filter(plan))
        except NotExpandedError as error:
            notes.append(str(error))
        except Exception as error:
            notes.append(note_failure("knn", error))
        if "synonyms" in plan.options.expand:
            searches["synonyms"] = self._synonyms.find(plan)
        return {name: asyncio.create_task(search) for name, search in searches.items()}

    async def _join(self, asked: Asked, name: Expansion, task: asyncio.Task[Found | None]) -> None:
        """Wait for a further search, no longer than ranking may take."""
        try:
            found = await asyncio.wait_for(task, asked.plan.options.timeout_s)
        except TimeoutError:
            asked.notes.append(f"{name}-deadline")
        except NotExpandedError as error:
            asked.notes.append(str(error))
        except Exception as error:
            asked.notes.append(note_failure(name, error))
        else:
            if found is not None:
                asked.others.append(found)
                asked.used.append(name)

    async def _find_neighbours(self, plan: Plan, filters: list[Any]) -> Found:
        """Embed the words and look for their neighbours. Raises NotExpandedError."""
        assert plan.query is not None, "looked for only where there are words"
        try:
            rows = await self._ranker.embed([plan.query], plan.options.ranking.unknown_limit)
            if rows is None:
                raise NotExpandedError("knn-language")
            search = neighbour_search(
                plan, rows[0].tolist(), filters, self._sender.on_elasticsearch
            )
            return Found("neighbours", (await self._sender.search(search)).hits)
        except (NotReadyError, OverloadedError):
            raise NotExpandedError("knn-model") from None
        except UNUSABLE:
            raise NotExpandedError("knn-failed") from None

    async def _finds_little(self, plan: Plan) -> bool:
        """Whether the plan's search finds little, asked without what its hits would show."""
        wide = widen(plan.request, plan.window, Additions())
        body = {key: raw for key, raw in wide.body.items() if key not in SHOWN}
        body["_source"] = msgspec.Raw(b"false")
        try:
            answer = await self._sender.send(replace(wide, body=body))
            return answer.status == 200 and count_hits(answer, plan) < plan.options.spelling_below
        except UNUSABLE:
            return False

    async def _mend(self, asked: Asked) -> Asked | None:
        """Search again with the spelling mended; None unless that finds more than little."""
        plan = asked.plan
        words = find_words(plan.query or "")
        try:
            found = count_hits(asked.answer, plan)
            if found >= plan.options.spelling_below or not words:
                return None
            told = await self._sender.search(suggestion_search(plan, words))
            corrections = read_corrections(told.body, words)
            if not corrections:
                return None
            mended = reword_plan(plan, corrections)
            answer = await self._sender.send(mended.widened())
            if answer.status != 200 or count_hits(answer, mended) <= found:
                return None
        except (*UNUSABLE, *UNREADABLE):
            asked.notes.append("spelling-failed")
            return None
        except Exception as error:
            asked.notes.append(note_failure("spelling", error))
            return None
        return replace(
            asked,
            plan=mended,
            answer=answer,
            used=["spelling"],
            notes=[],
            corrected=mended.query,
        )


def count_hits(answer: Answer, plan: Plan) -> float:
    """How many hits a widened search has: its total, or those of the window; infinity for more.

    Raises AnswerError.
    """
    taken = read_answer(answer.body)
    total = msgspec.json.decode(taken.hits_object.get("total", b"null"))
    if isinstance(total, int) and total >= 0:
        return total
    if isinstance(total, dict) and total.get("relation") == "eq":
        return int(total["value"])
    return len(taken.hits) if len(taken.hits) < plan.window else float("inf")


async def discard(further: Further) -> None:
    """Give up what is still being asked for."""
    for task in further.values():
        task.cancel()
    await asyncio.gather(*further.values(), return_exceptions=True)


def note_failure(name: str, error: Exception) -> str:
    """Whatever breaks in an expansion, the search must not: it goes on without, and is told of."""
    log.error("expansion failed", expansion=name, error=type(error).__name__, exc_info=error)
    return f"{name}-failed"
