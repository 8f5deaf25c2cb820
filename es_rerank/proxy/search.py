"""One search, from request to answer: widen, ask, rank, splice; on any doubt the engine's order."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import aiohttp

from es_rerank import telemetry
from es_rerank.cluster.fields import IndexFields
from es_rerank.config import Settings
from es_rerank.errors import RequestError
from es_rerank.proxy import splice
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
from es_rerank.proxy.explain import explain_places
from es_rerank.proxy.fields import FieldCatalog, find_index_settings
from es_rerank.proxy.options import SearchOptions, read_block, resolve_options
from es_rerank.proxy.ranker import NotReadyError, OverloadedError, Ranker
from es_rerank.proxy.relay import (
    join_chunks,
    pass_through,
    read_body,
    request_target,
    send_upstream_error,
    while_connected,
)
from es_rerank.proxy.request import (
    Additions,
    BodyError,
    Page,
    SearchRequest,
    choose_additions,
    clamp_window,
    find_obstacle,
    read_page,
    read_query_fields,
    read_query_text,
    read_request,
    widen,
    write_request,
)
from es_rerank.proxy.upstream import Answer, AnswerTooLargeError, Upstream
from es_rerank.proxy.window import gather
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking

MARK = b"x-es-rerank"
MIN_HITS = 2
REFUSED_BY_SHARDS = b"illegal_argument_exception"
WARN_EVERY_S = 60.0
MENDS = {
    "deadline": "store vectors with `es-rerank reindex`, raise rerank.timeout_ms, or use a GPU",
    "overloaded": "run more proxies, or raise rerank.max_waiting",
}
log = telemetry.get_logger()


@dataclass(frozen=True)
class Search:
    """What is known of a search before the cluster is asked."""

    request: SearchRequest
    page: Page
    options: SearchOptions
    window: int
    fields: IndexFields
    query: str | None
    additions: Additions


class SearchHandler:
    """Answers `_search`."""

    def __init__(
        self, settings: Settings, upstream: Upstream, catalog: FieldCatalog, ranker: Ranker
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._catalog = catalog
        self._ranker = ranker
        self._fallen: Counter[str] = Counter()
        self._quiet_until: dict[str, float] = {}

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
        return await while_connected(
            receive,
            send,
            lambda sender: self._search(sender, method, target, headers, body, index),
        )

    async def _search(
        self,
        send: Send,
        method: str,
        target: bytes,
        headers: list[Header],
        body: bytes,
        index: bytes,
    ) -> str:
        limit = self._settings.proxy.max_search_bytes
        path, _, query = target.partition(b"?")
        try:
            request = read_request(method, path, query, headers, body, limit)
        except BodyError as error:
            mark = skipped(str(error))
            await pass_through(send, self._upstream, method, target, headers, body or None, mark)
            return "skipped"
        try:
            block = None if request.block is None else read_block(request.block)
        except RequestError as error:
            await send_error(send, 400, "parsing_exception", str(error), self._upstream.product)
            return "error"
        index_settings = find_index_settings(index, self._settings.indices)
        options = resolve_options(block, self._settings.rerank, index_settings)
        if request.edited:
            target, headers, body = write_request(request)
        page = read_page(request)
        window = clamp_window(request, options.window)
        reason = find_obstacle(request, page, window) if options.enabled else "disabled"
        if reason is not None or page is None:
            mark = skipped(reason or "result-window", options.clamped)
            await pass_through(send, self._upstream, method, target, headers, body or None, mark)
            return "skipped"
        search = await self._plan(request, page, options, window, index)
        return await self._run(send, search, (target, headers, body))

    async def _plan(
        self,
        request: SearchRequest,
        page: Page,
        options: SearchOptions,
        window: int,
        index: bytes,
    ) -> Search:
        found = await self._catalog.find(index, request.headers)
        fields = replace(
            found,
            text=options.text_fields or found.text or read_query_fields(request),
            attributes=options.attribute_fields or found.attributes,
            price=options.price_field or found.price,
            code=found.code if found.model == self._embedder_name() else None,
        )
        capped = tuple(cap.field for cap in options.ranking.crowding)
        others = [*fields.attributes, *capped, *([fields.price] if fields.price else [])]
        return Search(
            request=request,
            page=page,
            options=options,
            window=window,
            fields=fields,
            query=options.query_text or read_query_text(request),
            additions=choose_additions(request, fields.text, others, fields.code),
        )

    def _embedder_name(self) -> str | None:
        cache = self._ranker.embedder
        return None if cache is None else cache.encoder.name

    async def _run(
        self, send: Send, search: Search, original: tuple[bytes, list[Header], bytes]
    ) -> str:
        """Ask the cluster for the window, rank it, and answer with the page."""
        began = time.perf_counter()
        wanted = max(search.window, search.page.start + search.page.size)
        method = search.request.method
        target, headers, body = write_request(widen(search.request, wanted, search.additions))
        try:
            answer = await self._upstream.ask(
                method, target, headers, body, self._settings.proxy.max_answer_bytes
            )
        except AnswerTooLargeError:
            return await self._pass_original(send, method, original, "answer-too-large")
        except (aiohttp.ClientError, TimeoutError) as error:
            await send_upstream_error(send, self._upstream, error)
            return "error"
        upstream_s = time.perf_counter() - began
        if answer.status in {400, 406}:
            # It may be our rewriting that the cluster refuses: let it judge the client's own words.
            return await self._pass_original(send, method, original, "refused")
        if answer.status != 200:
            await send_answer(send, answer.status, answer.body, without_length(answer.headers, ()))
            return "error"
        return await self._finish(send, search, answer, upstream_s, original)

    async def _pass_original(
        self, send: Send, method: str, original: tuple[bytes, list[Header], bytes], reason: str
    ) -> str:
        target, headers, body = original
        telemetry.FALLBACKS.labels(reason).inc()
        marks = [(MARK, mark("fallback", reason))]
        await pass_through(send, self._upstream, method, target, headers, body or None, marks)
        return "fallback"

    async def _finish(
        self,
        send: Send,
        search: Search,
        answer: Answer,
        upstream_s: float,
        original: tuple[bytes, list[Header], bytes],
    ) -> str:
        began = time.perf_counter()
        method = search.request.method
        try:
            taken = splice.read_answer(answer.body)
        except splice.AnswerError:
            return await self._pass_original(send, method, original, "answer-unreadable")
        if REFUSED_BY_SHARDS in bytes(taken.body.get("_shards", b"")):
            # Some indices took our rewriting and others did not: their hits would be missing.
            return await self._pass_original(send, method, original, "refused")
        ranking, outcome, reason = await self._rank(search, taken)
        order: Sequence[int] = range(min(search.window, len(taken.hits)))
        explanations: Mapping[int, Any] = {}
        stages = {"upstream": upstream_s}
        if ranking is not None:
            order = [int(i) for i in ranking.order]
            stages |= ranking.stages
            if search.options.explain:
                explanations = explain_places(ranking, taken.hits)
        page = splice.place_hits(
            taken,
            order,
            search.page.start,
            search.page.size,
            search.additions,
            explanations,
        )
        added_ms = math.floor(1000 * (time.perf_counter() - began))
        pretty = search.request.parameter("pretty") in {"", "true"}
        written = splice.write_answer(taken, page, added_ms, pretty)
        for stage, seconds in stages.items():
            telemetry.STAGE_SECONDS.labels(stage).observe(seconds)
        marks = [
            (MARK, mark(outcome, reason, search.options.clamped)),
            (b"server-timing", write_timing(stages)),
        ]
        accepted = find_header(search.request.headers, b"accept-encoding")
        written, coding = compress(written, accepted)
        await send_answer(send, 200, written, [*without_length(answer.headers), *coding, *marks])
        return outcome

    async def _rank(
        self, search: Search, taken: splice.SearchAnswer
    ) -> tuple[Ranking | None, str, str | None]:
        """Rank the window. Returns (ranking or None, outcome, reason)."""
        hits = taken.hits[: search.window]
        telemetry.CANDIDATES.observe(len(hits))
        if len(hits) < MIN_HITS:
            return None, "skipped", "few-hits"
        timeout_s = search.options.timeout_s
        try:
            ranking = await self._ranker.rank(
                search.query, partial(self._gather, hits, search), search.options.ranking, timeout_s
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

    def _gather(self, hits: Sequence[splice.RawHit], search: Search) -> Candidates:
        cache = self._ranker.embedder
        return gather(
            hits,
            search.fields,
            [cap.field for cap in search.options.ranking.crowding],
            0 if cache is None else cache.encoder.dimensions,
            self._ranker.reads_texts,
        )


def skipped(reason: str, clamped: Sequence[str] = ()) -> list[Header]:
    """The header of a search that passed through."""
    return [(MARK, mark("skipped", reason, clamped))]


def mark(outcome: str, reason: str | None, clamped: Sequence[str] = ()) -> bytes:
    """The value of X-Es-Rerank."""
    parts = [outcome]
    if reason:
        parts.append(f"reason={reason}")
    if clamped:
        parts.append(f"clamped={','.join(clamped)}")
    return "; ".join(parts).encode()


def write_timing(stages: Mapping[str, float]) -> bytes:
    """The value of Server-Timing, in milliseconds."""
    return ", ".join(f"{name};dur={1000 * s:.2f}" for name, s in stages.items()).encode()


def without_length(
    headers: Sequence[Header], others: Sequence[bytes] = (b"content-encoding",)
) -> list[Header]:
    """The answer's headers without its length, and without the `others` that no longer hold."""
    dropped = {b"content-length", *others}
    return [(k, v) for k, v in headers if k.lower() not in dropped]
