"""The proxy as an ASGI application: searches to search, our pages to admin, all else to relay."""

from __future__ import annotations

import asyncio
import re
import time

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.errors import EsRerankError
from es_rerank.proxy.admin.pages import PREFIX, AdminPages
from es_rerank.proxy.answer import Receive, Scope, Send
from es_rerank.proxy.nodes import NODES_PATH, answer_nodes
from es_rerank.proxy.relay import relay
from es_rerank.proxy.search.async_search import AsyncHandler
from es_rerank.proxy.search.fields import FieldCatalog
from es_rerank.proxy.search.handler import SearchHandler
from es_rerank.proxy.search.msearch import MsearchHandler
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.template import TemplateHandler
from es_rerank.proxy.upstream import Upstream
from es_rerank.proxy.wire.call import ClientGoneError

# `/_search` and `/{index}/_search`, as the raw path has them. An index name cannot begin with `_`,
# but for `_all`; date math in it is percent-encoded and holds no bare slash.
INDEX = rb"^/(?:((?:_all|[^_/][^/]*))/)?"
SEARCH_PATH = re.compile(INDEX + rb"_search/?$")
MSEARCH_PATH = re.compile(INDEX + rb"_msearch/?$")
TEMPLATE_PATH = re.compile(INDEX + rb"(_search|_msearch)/template/?$")
ASYNC_PATH = re.compile(INDEX + rb"(_async_search|_plugins/_asynchronous_search)/?$")
log = telemetry.get_logger()


class ProxyApp:
    """One proxy in front of one cluster."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.upstream = Upstream(settings.upstream)
        self._rewrites_nodes = settings.upstream.rewrite_nodes
        self.ranker = Ranker(settings.model, settings.rerank.max_waiting, settings.plugins)
        catalog = FieldCatalog(self.upstream)
        self._search = SearchHandler(settings, self.upstream, catalog, self.ranker)
        self._msearch = MsearchHandler(
            settings, self.upstream, self._search.planner, self._search.reranker, self.ranker
        )
        self._template = TemplateHandler(settings, self.upstream, self._search, self._msearch)
        self._async = AsyncHandler(
            settings, self.upstream, self._search.planner, self._search.reranker
        )
        self._admin = AdminPages(settings, self.upstream, catalog, self.ranker)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Open on startup, load the model meanwhile, close on shutdown.

        Until the model is warm, searches go back in the engine's order.
        """
        await receive()
        await self.upstream.open()
        loading = asyncio.create_task(self._load())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        loading.cancel()
        self.ranker.close()
        await self.upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _load(self) -> None:
        try:
            await self.ranker.load()
            log.info("model ready", model=self.ranker.model)
        except EsRerankError as error:
            self.ranker.error = str(error)
            log.error(
                "the model cannot be loaded: searches keep the engine's order", error=str(error)
            )
        except Exception as error:
            self.ranker.error = f"the model cannot be loaded: {type(error).__name__}: {error}"
            log.error("searches keep the engine's order", error=self.ranker.error, exc_info=error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        route, outcome = "relay", "error"
        telemetry.INFLIGHT.inc()
        try:
            path: bytes = scope.get("raw_path") or scope["path"].encode()
            search = SEARCH_PATH.match(path) if scope["method"] in {"GET", "POST"} else None
            several = MSEARCH_PATH.match(path) if scope["method"] in {"GET", "POST"} else None
            begun = ASYNC_PATH.match(path) if scope["method"] == "POST" else None
            template = TEMPLATE_PATH.match(path) if scope["method"] in {"GET", "POST"} else None
            if template is not None:
                route = "search" if template[2] == b"_search" else "msearch"
                several_of_them = route == "msearch"
                outcome = await self._template.answer(
                    scope, receive, send, template[1] or b"", several_of_them
                )
            elif begun is not None:
                route = "search"
                named = begun[1] or b"" if begun[2] == b"_async_search" else None
                outcome = await self._async.answer(scope, receive, send, named)
            elif several is not None:
                route = "msearch"
                outcome = await self._msearch.answer(scope, receive, send, several[1] or b"")
            elif search is not None:
                route = "search"
                outcome = await self._search.answer(scope, receive, send, search[1] or b"")
            elif scope["path"].startswith(PREFIX):
                route = "admin"
                outcome = await self._admin.answer(scope, send)
            elif self._rewrites_nodes and scope["method"] == "GET" and NODES_PATH.match(path):
                address = self.settings.proxy.public_address
                outcome = await answer_nodes(scope, send, self.upstream, address)
            else:
                status = await relay(scope, receive, send, self.upstream)
                outcome = "ok" if status < 500 else "error"
        except ClientGoneError:
            outcome = "client-gone"
        finally:
            telemetry.INFLIGHT.dec()
            telemetry.REQUESTS.labels(route, outcome).inc()
            telemetry.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)
