"""Asynchronous searches: reranked when they are done at once, and else left as they are.

A search that goes on is kept by the cluster under an id for whoever asks later. That must be the
client's own search, neither widened nor in another order.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.errors import RequestError
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
from es_rerank.proxy.search.handler import (
    MARK,
    Sent,
    mark,
    skipped,
    without_length,
    write_timing,
)
from es_rerank.proxy.search.plan import LeftAlone, Plan, Planner
from es_rerank.proxy.search.request import (
    RAW_OBJECT,
    UNREADABLE,
    SearchRequest,
    read_request,
    write_request,
)
from es_rerank.proxy.search.rerank import Reranker, UnusableAnswerError
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

log = telemetry.get_logger()


@dataclass(frozen=True)
class AsyncAnswer:
    """The cluster's answer to an asynchronous search.

    response: the search's own answer, raw; None while it is not done. key: what the cluster keeps
    it under; None where it keeps nothing.
    """

    envelope: dict[str, msgspec.Raw]
    response: bytes | None
    key: str | None


class AsyncHandler:
    """Answers the start of an asynchronous search; what becomes of it later is relayed."""

    def __init__(
        self, settings: Settings, upstream: Upstream, planner: Planner, reranker: Reranker
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._planner = planner
        self._reranker = reranker

    async def answer(self, scope: Scope, receive: Receive, send: Send, index: bytes | None) -> str:
        """Answer one. index: raw, from the path; None where the parameter `index` names it.

        Returns the outcome, as for a search.
        """
        headers: list[Header] = scope["headers"]
        target, method = request_target(scope), scope["method"]
        body, rest = await read_body(receive, self._settings.proxy.max_search_bytes)
        if rest is not None:
            whole = join_chunks(body, rest)
            marks = skipped("body-too-large")
            await pass_through(send, self._upstream, method, target, headers, whole, marks)
            return "skipped"
        sent = Sent(method, target, headers, body)
        return await while_connected(
            receive, send, lambda sender: self._search(sender, sent, index)
        )

    async def _search(self, send: Send, sent: Sent, index: bytes | None) -> str:
        path, _, query = sent.target.partition(b"?")
        limit = self._settings.proxy.max_search_bytes
        try:
            request = read_request(sent.method, path, query, sent.headers, sent.body, limit)
        except BodyError as error:
            return await self._leave_alone(send, sent, skipped(str(error)), "skipped")
        if index is None:
            index = quote(request.parameter("index") or "", safe=",*").encode()
        try:
            request = read_dialects(request, self._settings.rerank.dialects)
            plan = await self._plan(request, index)
        except RequestError as error:
            await send_error(send, 400, error.kind, str(error), self._upstream.product)
            return "error"
        if request.edited:
            sent = Sent(sent.method, *write_request(request))
        if isinstance(plan, LeftAlone) and plan.failed:
            return await self._fall_back(send, sent, plan.reason)
        if isinstance(plan, LeftAlone) and plan.request is not None:
            sent = Sent(sent.method, *write_request(plan.request))
        if isinstance(plan, LeftAlone):
            marks = skipped(plan.reason, plan.clamped)
            return await self._leave_alone(send, sent, marks, "skipped")
        return await self._rerank(send, plan, sent)

    async def _plan(self, request: SearchRequest, index: bytes) -> Plan | LeftAlone:
        plan = await self._planner.plan(request, index)
        if isinstance(plan, Plan) and request.parameter("keep_on_completion") not in {
            None,
            "false",
        }:
            return LeftAlone("keep_on_completion", plan.options.clamped)
        return plan

    async def _rerank(self, send: Send, plan: Plan, sent: Sent) -> str:
        """Ask for the window; when it is there at once, answer with the page."""
        target, headers, body = write_request(plan.widened())
        limit = self._settings.proxy.max_answer_bytes
        try:
            answer = await self._upstream.ask(sent.method, target, headers, body, limit)
        except AnswerTooLargeError:
            return await self._fall_back(send, sent, "answer-too-large")
        except UpstreamError as error:
            await send_upstream_error(send, self._upstream, error)
            return "error"
        if answer.status in {400, 406}:
            return await self._fall_back(send, sent, "refused")
        if answer.status != 200:
            whole = without_length(answer.headers, ())
            await send_answer(send, answer.status, answer.body, whole)
            return "error"
        try:
            taken = read_async(answer.body)
            if taken.key is not None:
                await self._forget(plan.request, taken.key)
            if taken.key is not None or taken.response is None:
                raise UnusableAnswerError("not-done")
            done = await self._reranker.rerank(plan, taken.response, {})
        except UnusableAnswerError as error:
            return await self._fall_back(send, sent, str(error))
        envelope = {**taken.envelope, "response": msgspec.Raw(done.body)}
        written = msgspec.json.encode(envelope)
        if plan.request.parameter("pretty") in {"", "true"}:
            written = msgspec.json.format(written, indent=2) + b"\n"
        written, coding = compress(written, find_header(sent.headers, b"accept-encoding"))
        marks = [
            (
                MARK,
                mark(done.outcome, done.reason, plan.options.clamped, scored=done.scored),
            ),
            (b"server-timing", write_timing(done.stages)),
        ]
        await send_answer(send, 200, written, [*without_length(answer.headers), *coding, *marks])
        return done.outcome

    async def _forget(self, request: SearchRequest, key: str) -> None:
        """Let the cluster drop what it keeps of our search, which nobody will ask for."""
        name = b"/_async_search" if b"_plugins" not in request.path else request.path
        target = name.rstrip(b"/") + b"/" + quote(key, safe="").encode()
        headers = [(k, v) for k, v in request.headers if not k.lower().startswith(b"content-")]
        try:
            answer = await self._upstream.ask("DELETE", target, headers, None, 1_000_000)
        except (AnswerTooLargeError, UpstreamError) as error:
            log.warning("an asynchronous search was not dropped", error=type(error).__name__)
        else:
            if answer.status >= 400:
                log.warning("an asynchronous search was not dropped", status=answer.status)

    async def _fall_back(self, send: Send, sent: Sent, reason: str) -> str:
        """Send the client's own search, whose answer goes back."""
        telemetry.FALLBACKS.labels(reason).inc()
        return await self._leave_alone(send, sent, [(MARK, mark("fallback", reason))], "fallback")

    async def _leave_alone(self, send: Send, sent: Sent, marks: list[Header], outcome: str) -> str:
        await pass_through(
            send,
            self._upstream,
            sent.method,
            sent.target,
            sent.headers,
            sent.body or None,
            marks,
        )
        return outcome


def read_async(body: bytes) -> AsyncAnswer:
    """Take an answer apart. Raises UnusableAnswerError.

    Elasticsearch says `is_running`, OpenSearch a `state`; whichever speaks must say that it is
    done.
    """
    try:
        envelope = RAW_OBJECT.decode(body)
        named = msgspec.json.decode(envelope["id"]) if "id" in envelope else None
    except UNREADABLE:
        raise UnusableAnswerError("answer-unreadable") from None
    key = named if isinstance(named, str) else None
    running = bytes(envelope.get("is_running", b"")) == b"false"
    done = running or bytes(envelope.get("state", b"")) in {b'"SUCCEEDED"', b'"CLOSED"'}
    response = envelope.get("response") if done else None
    return AsyncAnswer(envelope, None if response is None else bytes(response), key)
