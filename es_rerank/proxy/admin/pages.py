"""The proxy's own pages, all under `/_es_rerank/`, a name that no index can have."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from urllib.parse import parse_qs, quote

from prometheus_client import CONTENT_TYPE_LATEST

from es_rerank import __version__, telemetry
from es_rerank.config import Settings
from es_rerank.errors import RequestError
from es_rerank.proxy.admin.door import (
    BROWSER_CHALLENGE,
    CHALLENGE,
    OPEN_PAGES,
    Door,
    Visitor,
)
from es_rerank.proxy.admin.explain_plan import PlanExplainer
from es_rerank.proxy.admin.pipelines import PipelinePages
from es_rerank.proxy.admin.readiness import Readiness
from es_rerank.proxy.admin.review import ReviewPage
from es_rerank.proxy.answer import (
    Message,
    Receive,
    Scope,
    Send,
    find_header,
    send_answer,
    send_error,
    send_json,
)
from es_rerank.proxy.relay import read_body
from es_rerank.proxy.search.fields import FieldCatalog
from es_rerank.proxy.search.pipelines import PipelineCatalog
from es_rerank.proxy.search.plan import Planner
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.upstream import Upstream

PREFIX = "/_es_rerank/"
METHODS = {
    "live": "GET",
    "ready": "GET",
    "metrics": "GET",
    "info": "GET",
    "compare": "GET",
    "explain-plan": "GET, POST",
    "pipeline": "GET, PUT, DELETE",
    "review": "GET, POST",
}
PAGE_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        b"img-src data: http: https:; connect-src 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class AdminPages:
    """live, ready, metrics, info, compare, explain-plan, pipeline and review."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        catalog: FieldCatalog,
        ranker: Ranker,
        planner: Planner,
        pipelines: PipelineCatalog,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._catalog = catalog
        self._ranker = ranker
        self._named = pipelines
        self._door = Door(settings.admin.token)
        self._readiness = Readiness(upstream, ranker)
        self._explainer = PlanExplainer(settings, planner, pipelines, ranker)
        self._pipelines = PipelinePages(upstream, pipelines)
        self._review = ReviewPage(upstream, settings.review.index)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Answer one request under the prefix. Returns the outcome."""
        page, _, rest = scope["path"].removeprefix(PREFIX).partition("/")
        if scope["method"] == "HEAD":
            send = without_body(send)
        known = [name for name in METHODS if name != "compare" or self._settings.proxy.compare]
        if page not in known or (rest and page != "pipeline"):
            reason = f"there is no {scope['path']}; try {', '.join(known)}"
            return await self._refuse(send, 404, "no_such_page", reason)
        visitor = self._door.admit(scope["headers"])
        if visitor is None and page not in OPEN_PAGES:
            return await self._ask_for_token(scope, send, page)
        method = scope["method"].replace("HEAD", "GET")
        if method not in METHODS[page].split(", "):
            reason = f"{PREFIX}{page} takes {METHODS[page]}"
            allow = [(b"allow", METHODS[page].encode())]
            return await self._refuse(send, 405, "method_not_allowed", reason, allow)
        if page == "live":
            await send_json(send, 200, {"live": True})
        elif page == "ready":
            state = await self._readiness.look()
            await send_json(send, 200 if state["ready"] else 503, state)
        elif page == "metrics":
            kind = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
            await send_answer(send, 200, telemetry.write_metrics(), kind)
        elif page == "compare":
            await send_answer(send, 200, read_compare_page(), PAGE_HEADERS)
        elif visitor is not None:
            return await self._answer_visitor(scope, receive, send, page, rest, visitor)
        return "ok"

    async def _answer_visitor(
        self, scope: Scope, receive: Receive, send: Send, page: str, rest: str, visitor: Visitor
    ) -> str:
        """Answer what depends on who asks."""
        if page == "pipeline":
            return await self._pipelines.answer(scope, receive, send, rest, visitor)
        if page == "review":
            return await self._review.answer(scope, receive, send, visitor)
        if page == "info":
            await self._answer_info(scope, send, visitor)
            return "ok"
        body, more = await read_body(receive, self._settings.proxy.max_search_bytes)
        if more is not None:
            return await self._refuse(send, 413, "content_too_long_exception", "body-too-large")
        query = scope["query_string"]
        try:
            said = await self._explainer.explain(query, visitor.headers, body, visitor.trusted)
        except RequestError as error:
            return await self._refuse(send, 400, "parsing_exception", str(error))
        await send_json(send, 200, said)
        return "ok"

    async def _answer_info(self, scope: Scope, send: Send, visitor: Visitor) -> None:
        """What runs here; with `?index=NAME`, also the fields found in that index."""
        info: dict[str, object] = {
            "name": "es-rerank",
            "version": __version__,
            "upstream": without_credentials(self._upstream.url),
            "model": {"kind": self._settings.model.kind, "name": self._ranker.model},
            "rank_window_size": self._settings.rerank.rank_window_size,
            "diversity": self._settings.rerank.diversify.diversity,
            "pipelines": {
                "known": {name: body.version for name, body in self._named.known.items()},
                "seconds_since_read": self._named.age_s,
                "error": self._named.error,
            },
        }
        index = parse_qs(scope["query_string"].decode("latin-1")).get("index")
        if index:
            name = quote(index[0], safe="*,").encode()
            fields = await self._catalog.find(name, visitor.headers, as_proxy=visitor.trusted)
            info["fields"] = {
                "text": fields.text,
                "attributes": fields.attributes,
                "price": fields.price,
                "code": fields.code,
                "model": fields.model,
                "recipe": fields.recipe,
                "named_by_meta": fields.named,
                "verdict": None if fields.verdict is None else asdict(fields.verdict),
            }
        await send_json(send, 200, info)

    async def _ask_for_token(self, scope: Scope, send: Send, page: str) -> str:
        """401; to a browser on the compare page with that page, which asks for the token."""
        wants_page = b"text/html" in find_header(scope["headers"], b"accept")
        if page == "compare" and wants_page:
            await send_answer(send, 401, read_compare_page(), [*PAGE_HEADERS, *CHALLENGE])
            return "error"
        reason = (
            f"{PREFIX}{page} wants the token of [admin] token: send it as `Authorization: Bearer "
            "TOKEN`, or as `X-Es-Rerank-Token: TOKEN` beside the cluster's own Authorization"
        )
        challenge = BROWSER_CHALLENGE if page == "review" else CHALLENGE
        return await self._refuse(send, 401, "security_exception", reason, challenge)

    async def _refuse(
        self,
        send: Send,
        status: int,
        kind: str,
        reason: str,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> str:
        await send_error(send, status, kind, reason, headers or ())
        return "error"


def without_body(send: Send) -> Send:
    """Answers to HEAD: the head of what GET would bring."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


def read_compare_page() -> bytes:
    return files("es_rerank.proxy.admin").joinpath("compare.html").read_bytes()


def without_credentials(url: str) -> str:
    """An address without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
