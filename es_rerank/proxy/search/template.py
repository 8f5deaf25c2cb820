"""`_search/template` and `_msearch/template`: rendered by the cluster, then run as searches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from es_rerank.config import Settings
from es_rerank.errors import RequestError
from es_rerank.proxy.answer import Header, Receive, Scope, Send, find_header, send_error
from es_rerank.proxy.relay import (
    join_chunks,
    pass_through,
    read_body,
    request_target,
    while_connected,
)
from es_rerank.proxy.search.coding import BodyError, decompress
from es_rerank.proxy.search.dialects.dialect import read_dialects
from es_rerank.proxy.search.dialects.reading import join_blocks
from es_rerank.proxy.search.handler import SearchHandler, Sent, skipped, without_length
from es_rerank.proxy.search.msearch import MsearchHandler, read_parameters
from es_rerank.proxy.search.ndjson import Item, read_items
from es_rerank.proxy.search.request import (
    RAW_OBJECT,
    UNREADABLE,
    SearchRequest,
    read_request,
    write_request,
)
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

RENDER = b"/_render/template"
KEYS = frozenset({"id", "source", "params", "explain", "profile", "ext"})
SWITCHES = ("explain", "profile")
"""What a template's request decides, whatever its source says."""
SHARED = frozenset(
    {"typed_keys", "rest_total_hits_as_int", "routing", "preference", "search_type"}
    | {"ignore_unavailable", "allow_no_indices", "expand_wildcards", "ignore_throttled"}
    | {"ccs_minimize_roundtrips", "pretty", "human", "error_trace", "filter_path", "format"}
    | {"max_concurrent_searches", "max_concurrent_shard_requests", "pre_filter_shard_size"}
)
"""URL parameters that mean the same to a template as to a search; others count for one alone."""
AT_A_TIME = 8
"""Templates of one request that are rendered at a time."""


class NotRenderedError(Exception):
    """The cluster shall run the template itself."""


@dataclass(frozen=True)
class Template:
    """A template's request. ext: ours and others' beside the template, which knows none."""

    keys: dict[str, msgspec.Raw]
    ext: dict[str, msgspec.Raw]

    @property
    def plain(self) -> bytes:
        """The request as the cluster takes it."""
        return msgspec.json.encode(self.keys)


class TemplateHandler:
    """Answers searches by template."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        search: SearchHandler,
        msearch: MsearchHandler,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._one = search
        self._several = msearch

    async def answer(
        self, scope: Scope, receive: Receive, send: Send, index: bytes, several: bool
    ) -> str:
        """Answer one request. Returns the outcome, as for a search."""
        headers: list[Header] = scope["headers"]
        target, method = request_target(scope), scope["method"]
        body, rest = await read_body(receive, self._settings.proxy.max_search_bytes)
        if rest is not None:
            whole = join_chunks(body, rest)
            mark = skipped("body-too-large")
            await pass_through(send, self._upstream, method, target, headers, whole, mark)
            return "skipped"
        sent = Sent(method, target, headers, body)
        run = self._run_several if several else self._run_one
        return await while_connected(receive, send, lambda sender: run(sender, sent, index))

    async def _run_one(self, send: Send, sent: Sent, index: bytes) -> str:
        own = sent
        try:
            plainly = self._read(sent)
            template = read_template(plainly.body)
            if template.ext:
                headers = without_length(plainly.headers, (b"transfer-encoding",))
                own = Sent(sent.method, sent.target, headers, template.plain)
            rendered = await self._render(plainly, template)
            request = self._as_search(plainly, msgspec.json.encode(rendered))
        except (BodyError, NotRenderedError) as error:
            return await self._leave(send, own, str(error))
        try:
            request = read_dialects(request, self._settings.rerank.dialects)
        except RequestError as error:
            await send_error(send, 400, error.kind, str(error), self._upstream.product)
            return "error"
        if template.ext and isinstance(request.block, dict | None):
            beside = msgspec.json.decode(template.ext["es_rerank"])
            request = replace(request, block=join_blocks(beside, request.block or {}))
        if request.edited:  # the template's source holds what the cluster does not know
            own = Sent(sent.method, *write_request(request))
        # OpenSearch ends a template's answer with its status, Elasticsearch does not.
        filtered = request.parameter("filter_path") is not None
        added = {} if self._upstream.product or filtered else {"status": b"200"}
        return await self._one.run(send, own, request, index, added)

    async def _run_several(self, send: Send, sent: Sent, index: bytes) -> str:
        try:
            plainly = self._several.read(sent)
            items = read_items(plainly.body, index)
            bodies = await self._render_all(plainly, items)
        except (BodyError, NotRenderedError) as error:
            return await self._leave(send, sent, str(error))
        rendered = [replace(item, body=body) for item, body in zip(items, bodies, strict=True)]
        plainly = replace(plainly, target=without_template(plainly.target))
        return await self._several.run(send, sent, plainly, rendered)

    async def _leave(self, send: Send, sent: Sent, reason: str) -> str:
        await pass_through(
            send,
            self._upstream,
            sent.method,
            sent.target,
            sent.headers,
            sent.body or None,
            skipped(reason),
        )
        return "skipped"

    def _read(self, sent: Sent) -> Sent:
        """The request uncompressed. Raises BodyError and NotRenderedError."""
        if not SHARED.issuperset(read_parameters(sent)):
            raise NotRenderedError("template")
        if b"json" not in find_header(sent.headers, b"content-type").lower():
            raise BodyError("media-type")
        encoding = find_header(sent.headers, b"content-encoding").lower().strip()
        if not encoding or encoding == b"identity":
            return sent
        body = decompress(sent.body, encoding, self._settings.proxy.max_search_bytes)
        headers = without_length(sent.headers, (b"content-encoding",))
        return Sent(sent.method, sent.target, headers, body)

    async def _render_all(self, sent: Sent, items: Sequence[Item]) -> list[bytes]:
        """Render several. Raises BodyError and NotRenderedError where one cannot be."""
        if len(items) > self._settings.rerank.max_batch:
            raise NotRenderedError("template")
        gate = asyncio.Semaphore(AT_A_TIME)

        async def render(item: Item) -> bytes:
            async with gate:
                template = read_template(item.body)
                return join_ext(await self._render(sent, template), template.ext)

        rendering = [asyncio.ensure_future(render(item)) for item in items]
        try:
            return await asyncio.gather(*rendering)
        finally:
            for one in rendering:  # once one has failed, the others are for nothing
                one.cancel()

    async def _render(self, sent: Sent, template: Template) -> dict[str, msgspec.Raw]:
        """The template's source, rendered by the cluster with the caller's own rights."""
        dropped = (b"content-encoding", b"transfer-encoding", b"accept-encoding", b"content-type")
        kind = find_header(sent.headers, b"content-type").replace(b"x-ndjson", b"json")
        headers = [*without_length(sent.headers, dropped), (b"content-type", kind)]
        limit = self._settings.proxy.max_search_bytes
        try:
            answer = await self._upstream.ask("POST", RENDER, headers, template.plain, limit)
            if answer.status != 200:
                raise NotRenderedError("template")
            body = RAW_OBJECT.decode(RAW_OBJECT.decode(answer.body)["template_output"])
        except (AnswerTooLargeError, UpstreamError, KeyError, *UNREADABLE):
            raise NotRenderedError("template") from None
        for name in SWITCHES:
            if name in template.keys:
                body[name] = template.keys[name]
            else:
                body.pop(name, None)
        return body

    def _as_search(self, sent: Sent, rendered: bytes) -> SearchRequest:
        """The rendered template as the search that it stands for. Raises BodyError."""
        path, _, query = without_template(sent.target).partition(b"?")
        limit = self._settings.proxy.max_search_bytes
        return read_request(sent.method, path, query, sent.headers, rendered, limit)


def read_template(body: bytes) -> Template:
    """Read a template's request, and take our block from beside it.

    Raises NotRenderedError for what the cluster must judge.
    """
    try:
        msgspec.json.decode(body)
        keys = RAW_OBJECT.decode(body)
        ext = RAW_OBJECT.decode(keys.pop("ext", b"{}"))
    except UNREADABLE:
        raise NotRenderedError("body") from None
    if not KEYS.issuperset(keys) or not set(ext) <= {"es_rerank"}:
        raise NotRenderedError("template")
    return Template(keys, ext)


def join_ext(body: Mapping[str, msgspec.Raw], ext: Mapping[str, msgspec.Raw]) -> bytes:
    """A rendered source with what stood beside its template, which goes first."""
    if not ext:
        return msgspec.json.encode(body)
    inside = RAW_OBJECT.decode(body["ext"]) if "ext" in body else {}
    return msgspec.json.encode({**body, "ext": {**inside, **ext}})


def without_template(target: bytes) -> bytes:
    """The search that a template's path stands beside."""
    path, mark, query = target.partition(b"?")
    return path.rstrip(b"/").removesuffix(b"/template") + mark + query
