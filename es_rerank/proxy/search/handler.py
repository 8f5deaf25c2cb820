"""`_search` over HTTP: ask for the window, answer with the page; in doubt pass through."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from urllib.parse import quote

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.errors import RequestError
from es_rerank.proxy.access import note_query_text
from es_rerank.proxy.answer import (
    Header,
    Receive,
    Scope,
    Send,
    compress,
    find_header,
    send_answer,
    send_error,
)
from es_rerank.proxy.relay import (
    join_chunks,
    pass_through,
    read_body,
    request_target,
    send_upstream_error,
    while_connected,
)
from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.dialects.dialect import read_dialects
from es_rerank.proxy.search.expand.expander import BeyondWindowError, Expander
from es_rerank.proxy.search.orders import OrderCache
from es_rerank.proxy.search.phases import page_search, show_hits, split
from es_rerank.proxy.search.plan import LeftAlone, Plan, Planner
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import SearchRequest, read_request, write_request
from es_rerank.proxy.search.rerank import Reranked, Reranker, UnusableAnswerError
from es_rerank.proxy.search.splice import AnswerError, read_answer, write_answer
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

MARK = b"x-es-rerank"
MOST_CORRECTED = 500
"""Characters of mended words that are shown."""


@dataclass(frozen=True)
class Sent:
    """A request as it can be sent to the cluster: the client's own, without our block."""

    method: str
    target: bytes
    headers: list[Header]
    body: bytes


class SearchHandler:
    """Answers `_search`."""

    def __init__(
        self, settings: Settings, upstream: Upstream, planner: Planner, ranker: Ranker
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self.planner = planner
        self.reranker = Reranker(ranker, OrderCache(settings.rerank.order_cache_s))
        self._expander = Expander(upstream, ranker, settings.proxy.max_answer_bytes)

    async def answer(self, scope: Scope, receive: Receive, send: Send, index: bytes) -> str:
        """Answer one search. Returns the outcome: applied, skipped, fallback or error."""
        headers: list[Header] = scope["headers"]
        body, rest = await read_body(receive, self._settings.proxy.max_search_bytes)
        target = request_target(scope)
        method: str = scope["method"]
        if rest is not None:
            whole = join_chunks(body, rest)
            mark = skipped("body-too-large")
            await pass_through(send, self._upstream, method, target, headers, whole, mark)
            return "skipped"
        sent = Sent(method, target, headers, body)
        return await while_connected(
            receive, send, lambda sender: self._search(sender, sent, index)
        )

    async def _search(self, send: Send, sent: Sent, index: bytes) -> str:
        path, _, query = sent.target.partition(b"?")
        try:
            request = read_request(
                sent.method,
                path,
                query,
                sent.headers,
                sent.body,
                self._settings.proxy.max_search_bytes,
            )
        except BodyError as error:
            return await self._leave_alone(send, sent, skipped(str(error)))
        try:
            request = read_dialects(request, self._settings.rerank.dialects)
        except RequestError as error:
            await send_error(send, 400, error.kind, str(error), self._upstream.product)
            return "error"
        if request.edited:
            sent = Sent(sent.method, *write_request(request))
        return await self.run(send, sent, request, index)

    async def run(
        self,
        send: Send,
        sent: Sent,
        request: SearchRequest,
        index: bytes,
        added: Mapping[str, bytes] = MappingProxyType({}),
    ) -> str:
        """Answer a search that was read.

        sent: the client's own, to be sent where it is not reranked. added: raw members that the
        client's own would have at the end of its answer.
        """
        try:
            plan = await self.planner.plan(request, index, may_expand=True)
        except RequestError as error:
            await send_error(send, 400, error.kind, str(error), self._upstream.product)
            return "error"
        if isinstance(plan, LeftAlone) and plan.failed:
            return await self._fall_back(send, sent, plan.reason)
        if isinstance(plan, LeftAlone) and plan.request is not None:
            sent = Sent(sent.method, *write_request(plan.request))
        if isinstance(plan, LeftAlone):
            return await self._leave_alone(send, sent, skipped(plan.reason, plan.clamped))
        note_query_text(plan.query)
        return await self._rerank(send, plan, sent, added)

    async def _leave_alone(self, send: Send, sent: Sent, marks: list[Header]) -> str:
        await pass_through(
            send,
            self._upstream,
            sent.method,
            sent.target,
            sent.headers,
            sent.body or None,
            marks,
        )
        return "skipped"

    async def _rerank(
        self,
        send: Send,
        plan: Plan,
        sent: Sent,
        added: Mapping[str, bytes],
        whole: bool = False,
    ) -> str:
        """Ask the cluster for the window, rank it, and answer with the page.

        whole: whether all that the client wants is asked for at once.
        """
        light = None if whole or not self._settings.rerank.two_phases else split(plan)
        try:
            asked = await self._expander.ask(light or plan)
        except BeyondWindowError:
            marks = skipped("beyond-window", plan.options.clamped)
            return await self._leave_alone(send, sent, marks)
        except AnswerTooLargeError:
            return await self._fall_back(send, sent, "answer-too-large")
        except UpstreamError as error:
            await send_upstream_error(send, self._upstream, error)
            return "error"
        answer = asked.answer
        if answer.status in {400, 406}:
            # It may be our rewriting that the cluster refuses: let it judge the client's own words.
            return await self._fall_back(send, sent, "refused")
        if answer.status != 200:
            await send_answer(send, answer.status, answer.body, without_length(answer.headers, ()))
            return "error"
        try:
            done = await self.reranker.rerank(asked.plan, answer.body, asked.stages, asked.others)
        except UnusableAnswerError as error:
            return await self._fall_back(send, sent, str(error))
        if light is not None:
            filled = await self._fill(plan, done)
            if filled is None:
                return await self._rerank(send, plan, sent, added, whole=True)
            done = filled
        notes = [*asked.notes, *(["unknown-field"] if plan.unknown else [])]
        reason = ",".join(filter(None, [done.reason, *notes]))
        # Headers are logged on the way: what somebody typed stands in one only if he asks for it.
        corrected = asked.corrected if plan.options.explain else None
        marks = [
            (
                MARK,
                mark(
                    done.outcome,
                    reason,
                    plan.options.clamped,
                    asked.used,
                    plan.unknown,
                    corrected,
                    done.scored,
                ),
            ),
            (b"server-timing", write_timing(done.stages)),
        ]
        accepted = find_header(plan.request.headers, b"accept-encoding")
        written, coding = compress(add_members(done.body, added), accepted)
        await send_answer(send, 200, written, [*without_length(answer.headers), *coding, *marks])
        return done.outcome

    async def _fill(self, plan: Plan, done: Reranked) -> Reranked | None:
        """Fetch the page's hits with all that the client wants; None where that fails."""
        began = time.perf_counter()
        try:
            page = read_answer(done.body)
            if not page.hits:
                return done
            target, headers, body = write_request(page_search(plan, page.hits))
            answer = await self._upstream.ask(
                plan.request.method, target, headers, body, self._settings.proxy.max_answer_bytes
            )
            written = show_hits(page, read_answer(answer.body)) if answer.status == 200 else None
        except (AnswerError, AnswerTooLargeError, UpstreamError):
            return None
        if written is None:
            return None
        took_s = time.perf_counter() - began
        pretty = plan.request.parameter("pretty") in {"", "true"}
        whole = write_answer(page, written, round(1000 * took_s), pretty)
        telemetry.STAGE_SECONDS.labels("show").observe(took_s)
        return replace(done, body=whole, stages={**done.stages, "show": took_s})

    async def _fall_back(self, send: Send, sent: Sent, reason: str) -> str:
        """Send the client's own search, whose answer goes back."""
        telemetry.FALLBACKS.labels(reason).inc()
        await self._leave_alone(send, sent, [(MARK, mark("fallback", reason))])
        return "fallback"


def skipped(reason: str, clamped: Sequence[str] = ()) -> list[Header]:
    """The header of a search that passed through."""
    return [(MARK, mark("skipped", reason, clamped))]


def mark(
    outcome: str,
    reason: str | None,
    clamped: Sequence[str] = (),
    expanded: Sequence[str] = (),
    unknown: Sequence[str] = (),
    corrected: str | None = None,
    scored: str | None = None,
) -> bytes:
    """The value of X-Es-Rerank; `corrected` is percent-encoded, all but letters and digits."""
    parts = [outcome]
    if reason:
        parts.append(f"reason={reason}")
    if scored:
        parts.append(f"scored={scored}")
    if clamped:
        parts.append(f"clamped={','.join(clamped)}")
    if expanded:
        parts.append(f"expanded={','.join(expanded)}")
    if unknown:
        parts.append(f"unknown={','.join(quote(name, safe='@_.-') for name in unknown)}")
    if corrected:
        parts.append(f"corrected={quote(corrected[:MOST_CORRECTED], safe='')}")
    return "; ".join(parts).encode()


def add_members(body: bytes, added: Mapping[str, bytes]) -> bytes:
    """A JSON object with more members at its end."""
    if not added:
        return body
    more = b"".join(b',"%s":%s' % (name.encode(), raw) for name, raw in added.items())
    return body.rstrip().removesuffix(b"}").rstrip() + more + b"}"


def write_timing(stages: Mapping[str, float]) -> bytes:
    """The value of Server-Timing, in milliseconds."""
    return ", ".join(f"{name};dur={1000 * s:.2f}" for name, s in stages.items()).encode()


def without_length(
    headers: Sequence[Header], others: Sequence[bytes] = (b"content-encoding",)
) -> list[Header]:
    """The answer's headers without its length, and without the `others` that no longer hold."""
    dropped = {b"content-length", *others}
    return [(k, v) for k, v in headers if k.lower() not in dropped]
