"""The proxy's own pages, all under `/_es_rerank/`, a name that no index can have."""

from __future__ import annotations

from importlib.resources import files
from urllib.parse import parse_qs, quote

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from es_rerank import __version__, telemetry
from es_rerank.config import Settings
from es_rerank.proxy.answer import Scope, Send, send_answer, send_error, send_json
from es_rerank.proxy.search.fields import FieldCatalog
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

PREFIX = "/_es_rerank/"
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
    """live, ready, metrics, info and compare."""

    def __init__(
        self, settings: Settings, upstream: Upstream, catalog: FieldCatalog, ranker: Ranker
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._catalog = catalog
        self._ranker = ranker

    async def answer(self, scope: Scope, send: Send) -> str:
        """Answer one request under the prefix. Returns the outcome."""
        page = scope["path"].removeprefix(PREFIX)
        if scope["method"] not in {"GET", "HEAD"}:
            await send_error(send, 405, "method_not_allowed", f"{PREFIX}{page} takes GET")
            return "error"
        head = scope["method"] == "HEAD"
        if page == "live":
            await send_json(send, 200, {"live": True})
        elif page == "ready":
            await self._answer_ready(send)
        elif page == "metrics":
            kind = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
            await send_answer(send, 200, generate_latest(telemetry.METRICS), kind, head)
        elif page == "info":
            await self._answer_info(scope, send)
        elif page == "compare" and self._settings.proxy.compare:
            html = files("es_rerank.proxy.admin").joinpath("compare.html").read_bytes()
            await send_answer(send, 200, html, PAGE_HEADERS, head)
        else:
            known = "live, ready, metrics, info, compare"
            await send_error(send, 404, "no_such_page", f"there is no {PREFIX}{page}; try {known}")
            return "error"
        return "ok"

    async def _answer_ready(self, send: Send) -> None:
        """Ready means: the model is warm and the cluster answers."""
        reachable = False
        try:
            credentials = self._upstream.own_credentials()
            answer = await self._upstream.ask("GET", b"/", credentials, None, 1_000_000)
            reachable = answer.status < 500
        except (UpstreamError, AnswerTooLargeError):
            pass
        ready = self._ranker.ready and reachable
        state: dict[str, object] = {
            "ready": ready,
            "model": self._ranker.ready,
            "upstream": reachable,
        }
        if self._ranker.error:
            state["error"] = self._ranker.error
        await send_json(send, 200 if ready else 503, state)

    async def _answer_info(self, scope: Scope, send: Send) -> None:
        """What runs here; with `?index=NAME`, also the fields found in that index."""
        info: dict[str, object] = {
            "name": "es-rerank",
            "version": __version__,
            "upstream": without_credentials(self._upstream.url),
            "model": {"kind": self._settings.model.kind, "name": self._ranker.model},
            "rank_window_size": self._settings.rerank.rank_window_size,
            "diversity": self._settings.rerank.diversify.diversity,
        }
        index = parse_qs(scope["query_string"].decode("latin-1")).get("index")
        if index:
            name = quote(index[0], safe="*,").encode()
            fields = await self._catalog.find(name, scope["headers"], as_proxy=False)
            info["fields"] = {
                "text": fields.text,
                "attributes": fields.attributes,
                "price": fields.price,
                "code": fields.code,
                "model": fields.model,
            }
        await send_json(send, 200, info)


def without_credentials(url: str) -> str:
    """An address without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
