"""`_msearch`: each search planned on its own, one call to the cluster, one batch for the model."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.errors import RequestError
from es_rerank.proxy.answer import Header, Receive, Scope, Send, compress, find_header, send_answer
from es_rerank.proxy.relay import (
    join_chunks,
    pass_through,
    read_body,
    request_target,
    send_upstream_error,
    while_connected,
)
from es_rerank.proxy.search.batch import Batch, Seat
from es_rerank.proxy.search.coding import BodyError, decompress
from es_rerank.proxy.search.dialects.dialect import read_dialects
from es_rerank.proxy.search.handler import Sent, skipped, without_length, write_timing
from es_rerank.proxy.search.ndjson import Item, read_items, write_items
from es_rerank.proxy.search.obstacle import accepts_json
from es_rerank.proxy.search.plan import LeftAlone, Plan, Planner
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import RAW_OBJECT, SearchRequest, plain, read_request
from es_rerank.proxy.search.rerank import Reranker, UnusableAnswerError
from es_rerank.proxy.search.turn import (
    Turn,
    join_stages,
    read_responses,
    summarise,
    write_marks,
    write_responses,
)
from es_rerank.proxy.upstream import Answer, AnswerTooLargeError, Upstream, UpstreamError

log = telemetry.get_logger()
SHARED = ("typed_keys", "rest_total_hits_as_int")
"""Parameters of the request that hold for each of its searches."""


class MsearchHandler:
    """Answers `_msearch`."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        planner: Planner,
        reranker: Reranker,
        ranker: Ranker,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._planner = planner
        self._reranker = reranker
        self._ranker = ranker

    async def answer(self, scope: Scope, receive: Receive, send: Send, index: bytes) -> str:
        """Answer one request of several searches. Returns the outcome, as for one search."""
        headers: list[Header] = scope["headers"]
        target, method = request_target(scope), scope["method"]
        body, rest = await read_body(receive, self._settings.proxy.max_search_bytes)
        if rest is not None:
            whole = join_chunks(body, rest)
            mark = skipped("body-too-large")
            await pass_through(send, self._upstream, method, target, headers, whole, mark)
            return "skipped"
        sent = Sent(method, target, headers, body)
        return await while_connected(
            receive, send, lambda sender: self._search_all(sender, sent, index)
        )

    async def _search_all(self, send: Send, sent: Sent, index: bytes) -> str:
        try:
            plainly = self.read(sent)
            items = read_items(plainly.body, index)
        except BodyError as error:
            await self._pass(send, sent, skipped(str(error)))
            return "skipped"
        return await self.run(send, sent, plainly, items)

    async def run(self, send: Send, sent: Sent, plainly: Sent, items: Sequence[Item]) -> str:
        """Answer searches that were read. sent: the client's request, relayed where nothing is to
        be done. plainly: where and how they are asked together, uncompressed."""
        turns = await self._plan(plainly, items)
        if any(turn.response or isinstance(turn.plan, Plan) for turn in turns):
            return await self._rerank_all(send, plainly, turns)
        if any(turn.own is not turn.item.body for turn in turns):
            sent = with_items(plainly, turns)
        await self._pass(send, sent, write_marks(turns))
        return summarise(turns)

    def read(self, sent: Sent) -> Sent:
        """The request uncompressed. Raises BodyError for what must be left to the cluster."""
        parameters = read_parameters(sent)
        if parameters.get("format", "json") != "json" or not accepts_json(sent.headers):
            raise BodyError("media-type")
        if "filter_path" in parameters:
            raise BodyError("filter_path")
        if b"json" not in find_header(sent.headers, b"content-type").lower():
            raise BodyError("media-type")
        encoding = find_header(sent.headers, b"content-encoding").lower().strip()
        if not encoding or encoding == b"identity":
            return sent
        body = decompress(sent.body, encoding, self._settings.proxy.max_search_bytes)
        headers = without_length(sent.headers, (b"content-encoding",))
        return Sent(sent.method, sent.target, headers, body)

    async def _plan(self, sent: Sent, items: Sequence[Item]) -> list[Turn]:
        """Plan each search; one whose block is wrong has its answer already."""
        turns: list[Turn] = []
        left = self._settings.rerank.max_batch
        for item in items:
            own = item.body
            wrong: RequestError | None = None
            plan: Plan | LeftAlone
            try:
                request = self._read_item(sent, item)
                request = read_dialects(request, self._settings.rerank.dialects)
                if request.edited:
                    own = msgspec.json.encode(request.body)
                plan = await self._planner.plan(request, item.index)
            except BodyError as error:
                plan = LeftAlone(str(error))
            except RequestError as error:
                plan, wrong = LeftAlone("body"), error
            if isinstance(plan, Plan):
                left -= 1
                if left < 0:
                    plan = LeftAlone("beyond-batch")
            if isinstance(plan, LeftAlone) and plan.request is not None:
                own = msgspec.json.encode(plan.request.body)
            turn = Turn(item, plan, own)
            if isinstance(plan, LeftAlone):
                turn.reason = plan.reason
                if plan.failed:
                    turn.fall_back(plan.reason)
                    telemetry.FALLBACKS.labels(plan.reason).inc()
            if wrong is not None:
                turn.fail(400, wrong.kind, str(wrong))
            turns.append(turn)
        return turns

    def _read_item(self, sent: Sent, item: Item) -> SearchRequest:
        """One item as the search that it would be alone. Raises BodyError."""
        path = (b"/" + item.index if item.index else b"") + b"/_search"
        limit = self._settings.proxy.max_search_bytes
        request = read_request("POST", path, b"", sent.headers, item.body, limit)
        parameters = read_parameters(sent)
        shared = [(k.encode(), parameters[k].encode()) for k in SHARED if k in parameters]
        return replace(request, parameters=(*item.parameters, *shared))

    async def _rerank_all(self, send: Send, sent: Sent, turns: Sequence[Turn]) -> str:
        """Ask the cluster for all windows at once, rank them, and answer with the pages."""
        began = time.perf_counter()
        envelope = {"took": msgspec.Raw(b"0"), "responses": msgspec.Raw(b"[]")}
        headers: list[Header] = [(b"content-type", b"application/json"), *self._upstream.product]
        asked = [turn for turn in turns if not turn.response]
        if asked:
            try:
                answer = await self._ask(sent, [(turn.item.header, turn.asked) for turn in asked])
            except AnswerTooLargeError:
                return await self._fall_back(send, sent, turns, "answer-too-large")
            except UpstreamError as error:
                await send_upstream_error(send, self._upstream, error)
                return "error"
            if answer.status in {400, 406}:
                return await self._fall_back(send, sent, turns, "refused")
            headers = without_length(answer.headers)
            if answer.status != 200:
                whole = without_length(answer.headers, ())
                await send_answer(send, answer.status, answer.body, whole)
                return "error"
            responses = read_responses(answer.body, len(asked))
            if responses is None:
                return await self._fall_back(send, sent, turns, "answer-unreadable")
            envelope = RAW_OBJECT.decode(answer.body)
            upstream_s, began = time.perf_counter() - began, time.perf_counter()
            for turn, response in zip(asked, responses, strict=True):
                turn.response = response
            await self._rerank(sent, asked, upstream_s)
        added_ms = math.floor(1000 * (time.perf_counter() - began))
        pretty = read_parameters(sent).get("pretty") in {"", "true"}
        body = write_responses(envelope, turns, added_ms, pretty)
        written, coding = compress(body, find_header(sent.headers, b"accept-encoding"))
        marks = [*write_marks(turns), (b"server-timing", write_timing(join_stages(turns)))]
        await send_answer(send, 200, written, [*headers, *coding, *marks])
        return summarise(turns)

    async def _rerank(self, sent: Sent, turns: Sequence[Turn], upstream_s: float) -> None:
        """Rerank what was planned, in one batch; ask again for what our rewriting broke."""
        planned = [(turn, turn.plan) for turn in turns if isinstance(turn.plan, Plan)]
        batch = Batch(self._ranker, len(planned))
        try:
            async with asyncio.TaskGroup() as group:
                for turn, plan in planned:
                    group.create_task(self._rerank_one(turn, plan, Seat(batch), upstream_s))
        finally:
            batch.close()
        broken = [turn for turn, _ in planned if turn.outcome == "again"]
        if broken:
            await self._ask_again(sent, broken)

    async def _rerank_one(self, turn: Turn, plan: Plan, seat: Seat, upstream_s: float) -> None:
        """Rerank one response, unless it is an error or no use: then the turn is to come again."""
        try:
            if turn.status in {400, 406}:
                raise UnusableAnswerError("refused")
            if turn.status != 200:
                turn.outcome = "error"
                return
            done = await self._reranker.rerank(
                plan, turn.response, {"upstream": upstream_s}, seat=seat
            )
        except UnusableAnswerError as error:
            turn.outcome, turn.reason = "again", str(error)
        else:
            notes = [done.reason, "unknown-field" if plan.unknown else None]
            turn.response, turn.outcome = done.body, done.outcome
            turn.reason = ",".join(filter(None, notes)) or None
            turn.stages, turn.scored = dict(done.stages), done.scored
        finally:
            seat.leave()

    async def _ask_again(self, sent: Sent, turns: Sequence[Turn]) -> None:
        """Ask for some searches once more, in the client's own words."""
        responses: list[bytes] | None = None
        try:
            answer = await self._ask(sent, [(turn.item.header, turn.own) for turn in turns])
            if answer.status == 200:
                responses = read_responses(answer.body, len(turns))
        except (AnswerTooLargeError, UpstreamError):
            log.warning("searches could not be sent again", searches=len(turns))
        for i, turn in enumerate(turns):
            turn.fall_back(turn.reason or "refused")
            telemetry.FALLBACKS.labels(turn.reason).inc()
            if responses is not None:
                turn.response = responses[i]
            elif turn.status == 200:  # but to another search than the client's
                reason = "the search could not be sent again as it was"
                turn.fail(502, "upstream_unreachable_exception", reason)

    async def _ask(self, sent: Sent, searches: Sequence[tuple[bytes, bytes]]) -> Answer:
        return await self._upstream.ask(
            sent.method,
            sent.target,
            without_length(sent.headers, (b"transfer-encoding", b"accept-encoding")),
            write_items(searches),
            self._settings.proxy.max_answer_bytes,
        )

    async def _pass(self, send: Send, sent: Sent, marks: Sequence[Header]) -> None:
        await pass_through(
            send,
            self._upstream,
            sent.method,
            sent.target,
            sent.headers,
            sent.body or None,
            marks,
        )

    async def _fall_back(self, send: Send, sent: Sent, turns: Sequence[Turn], reason: str) -> str:
        """Send the client's own searches, whose answers go back."""
        for turn in turns:
            if turn.response or isinstance(turn.plan, Plan):
                turn.fall_back(reason)
                telemetry.FALLBACKS.labels(reason).inc()
        await self._pass(send, with_items(sent, turns), write_marks(turns))
        return summarise(turns)


def with_items(sent: Sent, turns: Sequence[Turn]) -> Sent:
    """The request with each search in the client's own words."""
    headers = without_length(sent.headers, (b"transfer-encoding",))
    body = write_items((turn.item.header, turn.own) for turn in turns)
    return Sent(sent.method, sent.target, headers, body)


def read_parameters(sent: Sent) -> dict[str, str]:
    """The query string's parameters, the last of each name, decoded."""
    pairs = [pair.partition(b"=") for pair in sent.target.partition(b"?")[2].split(b"&") if pair]
    return {plain(key): plain(value) for key, _, value in pairs}
