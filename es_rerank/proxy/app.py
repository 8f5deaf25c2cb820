"""The proxy as an ASGI application: searches to search, our pages to admin, all else to relay."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from es_rerank import telemetry, tracing
from es_rerank.config import Settings
from es_rerank.errors import ConfigError, EsRerankError
from es_rerank.proxy.access import AccessLog, Record
from es_rerank.proxy.admin.door import OPEN_PAGES
from es_rerank.proxy.admin.pages import PREFIX, AdminPages
from es_rerank.proxy.answer import Receive, Scope, Send, send_error
from es_rerank.proxy.nodes import NODES_PATH, answer_nodes
from es_rerank.proxy.relay import relay
from es_rerank.proxy.search.async_search import AsyncHandler
from es_rerank.proxy.search.fields import FieldCatalog
from es_rerank.proxy.search.handler import SearchHandler
from es_rerank.proxy.search.msearch import MsearchHandler
from es_rerank.proxy.search.pipelines import PipelineCatalog
from es_rerank.proxy.search.plan import Planner
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.template import TemplateHandler
from es_rerank.proxy.shortcut import Shortcut
from es_rerank.proxy.upstream import Upstream

# `/_search` and `/{index}/_search`, as the raw path has them. An index name cannot begin with `_`,
# but for `_all`; date math in it is percent-encoded and holds no bare slash.
INDEX = rb"^/(?:((?:_all|[^_/][^/]*))/)?"
SEARCH_PATH = re.compile(INDEX + rb"_search/?$")
MSEARCH_PATH = re.compile(INDEX + rb"_msearch/?$")
TEMPLATE_PATH = re.compile(INDEX + rb"(_search|_msearch)/template/?$")
ASYNC_PATH = re.compile(INDEX + rb"(_async_search|_plugins/_asynchronous_search)/?$")
ELSEWHERE = (
    "the admin routes have an address of their own ([admin] port), where nothing else is but "
    "searches; live and ready are on both"
)
# Decoded paths that something other than the relay answers, or may: what fits none goes the short
# way. `_route` has the last word on these.
NOT_RELAYED = re.compile(
    rb"_m?search(?:/template)?/?$|_(?:async|asynchronous)_search/?$|^/_nodes(?:/|$)|^"
    + PREFIX.encode()
)
log = telemetry.get_logger()


class ProxyApp:
    """One proxy in front of one cluster."""

    def __init__(self, settings: Settings, scorer: Path | None = None) -> None:
        self.settings = settings
        self.upstream = Upstream(settings.upstream)
        self._rewrites_nodes = settings.upstream.rewrite_nodes
        self.pipelines = PipelineCatalog(
            self.upstream, settings.pipelines.index, settings.pipelines.poll_s
        )
        self._traced = tracing.is_wanted(settings.telemetry.tracing)
        self.shortcut = Shortcut(self.upstream, self.is_relayed)
        # The port of the admin routes' own address, once its socket is known.
        self.admin_port: int | None = None
        self._catalog = FieldCatalog(self.upstream)
        self._reloading = asyncio.Lock()
        self._go_by(settings, make_ranker(settings, scorer))

    def know_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Learn which address is the admin routes' own: the second, where there are two."""
        self.admin_port = sockets[1].getsockname()[1] if len(sockets) > 1 else None

    def is_relayed(self, path: bytes) -> bool:
        """Whether a raw path is the relay's for sure, and nobody wants to be told of the request.

        In doubt the answer is no, and `_route` finds out.
        """
        if self._watched or self.admin_port is not None or tracing.is_on():
            return False
        return NOT_RELAYED.search(unquote_to_bytes(path) if b"%" in path else path) is None

    def _go_by(self, settings: Settings, ranker: Ranker) -> None:
        """Answer what comes from now on by these settings. Raises ConfigError, changing nothing."""
        planner = Planner(settings, self._catalog, ranker, self.pipelines)
        search = SearchHandler(settings, self.upstream, planner, ranker)
        msearch = MsearchHandler(settings, self.upstream, planner, search.reranker, ranker)
        self._template = TemplateHandler(settings, self.upstream, search, msearch)
        self._async = AsyncHandler(settings, self.upstream, planner, search.reranker)
        self._admin = AdminPages(
            settings, self.upstream, self._catalog, ranker, planner, self.pipelines
        )
        self._search, self._msearch = search, msearch
        self._access = AccessLog(settings.telemetry)
        self._watched = settings.telemetry.access_log
        self.settings, self.ranker = settings, ranker

    async def reload(self, settings: Settings, scorer: Path | None = None) -> None:
        """Go by other settings without dropping a request; a new model takes over once loaded.

        What cannot be done is logged, and stays as it was.
        """
        async with self._reloading:
            old = self.ranker
            ranker = old
            if settings.model != self.settings.model or scorer != old.socket or not old.ready:
                ranker = make_ranker(settings, scorer)
                await self._load(ranker)
                if old.ready and not ranker.ready:
                    log.error("the model in use stays", model=old.model)
                    ranker.close()
                    ranker = old
                    settings = settings.model_copy(update={"model": self.settings.model})
            try:
                self._go_by(settings, ranker)
            except ConfigError as error:
                log.error("the configuration is wrong: the one in use stays", error=str(error))
                if ranker is not old:
                    ranker.close()
                return
            ranker.change(settings.rerank)
            if ranker is not old:
                # Searches under way still ask it, for as long as one may take.
                rest_s = settings.rerank.max_timeout_ms / 1000
                asyncio.get_running_loop().call_later(rest_s, old.close)
            log.info("the configuration was read again")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._access.follow(
                scope, send, lambda record, sender: self._route(record, receive, sender)
            )
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Open on startup, load the model meanwhile, close on shutdown.

        Until the model is warm, searches go back in the engine's order.
        """
        await receive()
        await self.upstream.open()
        loading = asyncio.create_task(self._load(self.ranker))
        polling = asyncio.create_task(self.pipelines.keep_fresh())
        spans = tracing.start() if self._traced else None
        await send({"type": "lifespan.startup.complete"})
        await receive()
        loading.cancel()
        polling.cancel()
        self.ranker.close()
        await self.upstream.close()
        if spans is not None:
            await tracing.stop(spans)
        await send({"type": "lifespan.shutdown.complete"})

    async def _load(self, ranker: Ranker) -> None:
        try:
            await ranker.load()
            telemetry.MODEL_READY.set(1)
            log.info("model ready", model=ranker.model)
        except EsRerankError as error:
            ranker.error = str(error)
            log.error("the model cannot be loaded", error=ranker.error)
        except Exception as error:
            ranker.error = f"the model cannot be loaded: {type(error).__name__}: {error}"
            log.error("the model cannot be loaded", error=ranker.error, exc_info=error)

    async def _route(self, record: Record, receive: Receive, send: Send) -> None:
        """Let the right one answer, and note in the record who it was and what came of it."""
        scope = record.scope
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        readable = scope["method"] in {"GET", "POST"}
        search = SEARCH_PATH.match(path) if readable else None
        several = MSEARCH_PATH.match(path) if readable else None
        begun = ASYNC_PATH.match(path) if scope["method"] == "POST" else None
        template = TEMPLATE_PATH.match(path) if readable else None
        if self._is_elsewhere(scope, search is not None):
            record.route = "admin"
            await send_error(send, 404, "no_such_page", ELSEWHERE)
        elif template is not None:
            record.route = "search" if template[2] == b"_search" else "msearch"
            index, many = template[1] or b"", record.route == "msearch"
            record.outcome = await self._template.answer(scope, receive, send, index, many)
        elif begun is not None:
            record.route = "search"
            named = begun[1] or b"" if begun[2] == b"_async_search" else None
            record.outcome = await self._async.answer(scope, receive, send, named)
        elif several is not None:
            record.route = "msearch"
            index = several[1] or b""
            record.outcome = await self._msearch.answer(scope, receive, send, index)
        elif search is not None:
            record.route = "search"
            index = search[1] or b""
            record.outcome = await self._search.answer(scope, receive, send, index)
        elif scope["path"].startswith(PREFIX):
            record.route = "admin"
            record.outcome = await self._admin.answer(scope, receive, send)
        elif self._rewrites_nodes and scope["method"] == "GET" and NODES_PATH.match(path):
            address = self.settings.proxy.public_address
            record.outcome = await answer_nodes(scope, send, self.upstream, address)
        else:
            status = await relay(scope, receive, send, self.upstream)
            record.outcome = "ok" if status < 500 else "error"

    def _is_elsewhere(self, scope: Scope, is_search: bool) -> bool:
        """Whether the request came to the address that does not serve it."""
        if self.admin_port is None:
            return False
        ours = scope["path"].startswith(PREFIX)
        if scope["server"] is not None and scope["server"][1] == self.admin_port:
            return not (ours or is_search)
        return ours and scope["path"].removeprefix(PREFIX) not in OPEN_PAGES


def make_ranker(settings: Settings, scorer: Path | None) -> Ranker:
    """The ranker that the settings ask for; scorer: the socket of the model's own process."""
    return Ranker(settings.model, settings.rerank, settings.plugins, scorer, settings.score_cache)
