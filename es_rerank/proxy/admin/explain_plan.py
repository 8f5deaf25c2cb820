"""What would be done with a search, and why; nothing is searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from es_rerank.config import IndexSettings, Settings
from es_rerank.proxy.answer import Header
from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.fields import find_index_settings
from es_rerank.proxy.search.options import given_keys, read_block, resolve_options
from es_rerank.proxy.search.pipelines import (
    Choice,
    NoPipelineError,
    PipelineCatalog,
    join_pipeline,
)
from es_rerank.proxy.search.plan import LeftAlone, Plan, Planner
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import (
    SearchRequest,
    plain,
    read_request,
    write_request,
)

NOWHERE = "nowhere"
DEFAULT = "default"
# A setting's names in `ext.es_rerank` and pipelines, in [indices.NAME], and in [rerank].
NAMES = {
    "enabled": ("enabled", "enabled", "enabled"),
    "rank_window_size": ("rank_window_size", "rank_window_size", "rank_window_size"),
    "timeout_ms": ("timeout_ms", None, "timeout_ms"),
    "weights": ("weights", None, "relevance_weight"),
    "min_score": ("min_score", None, None),
    "diversity": ("diversity", "diversity", "diversify"),
    "diversify": ("diversify", None, "diversify"),
    "adaptive": ("adaptive", None, "diversify"),
    "similarity": ("similarity", None, "diversify"),
    "crowding": ("crowding", None, None),
    "expand": ("expand", "expand", "expand"),
    "text": ("fields", "text_fields", "text_fields"),
    "attributes": (None, "attribute_fields", "attribute_fields"),
    "price": (None, "price_field", "price_field"),
}


@dataclass(frozen=True)
class Sources:
    """The places that may set something, the first that does wins."""

    request: Mapping[str, Any]
    pipeline: Choice
    section_name: str | None
    section: IndexSettings | None
    rerank: Mapping[str, Any]

    def find(self, setting: str) -> str:
        """Where a setting's value comes from; DEFAULT where no place sets it."""
        in_request, in_section, in_rerank = NAMES[setting]
        if in_request in self.request:
            return "request"
        if in_request in given_keys(self.pipeline.body):
            return f"pipeline {self.pipeline.name}"
        if in_section and getattr(self.section, in_section, None) not in {None, ()}:
            return f'[indices."{self.section_name}"]'
        if in_rerank and self.rerank[in_rerank] not in (None, ()):
            return "[rerank.diversify]" if in_rerank == "diversify" else "[rerank]"
        return DEFAULT


class PlanExplainer:
    """Explains the planner's plans."""

    def __init__(
        self, settings: Settings, planner: Planner, pipelines: PipelineCatalog, ranker: Ranker
    ) -> None:
        self._settings = settings
        self._planner = planner
        self._pipelines = pipelines
        self._ranker = ranker

    async def explain(
        self, query: bytes, headers: Iterable[Header], body: bytes, as_proxy: bool
    ) -> dict[str, Any]:
        """Explain the search that `body` is, with the URL's parameters in `query`.

        `index` among them names what would be searched. as_proxy: whether the mapping may be read
        with the proxy's own credentials. Raises RequestError when the request's own block is wrong.
        """
        index, parameters = split_index(query)
        path = (b"/" + index if index else b"") + b"/_search"
        method, max_bytes = "POST" if body else "GET", self._settings.proxy.max_search_bytes
        shown = {"index": unquote(index.decode("latin-1")) or "_all"}
        try:
            request = read_request(method, path, parameters, headers, body, max_bytes)
        except BodyError as error:
            return {"outcome": "skipped", "reason": str(error), **shown}
        plan = await self._planner.plan(request, index, may_expand=True, as_proxy=as_proxy)
        said = {**self._say_outcome(plan), **shown, **self._say_settings(request, index, plan)}
        sent = plan.widened() if isinstance(plan, Plan) else request
        return {**said, "cluster_request": say_request(sent)}

    def _say_outcome(self, plan: Plan | LeftAlone) -> dict[str, Any]:
        """The header's words, as far as they are known before the cluster answers."""
        if isinstance(plan, LeftAlone):
            outcome, reason = "fallback" if plan.failed else "skipped", plan.reason
            clamped = plan.clamped
        else:
            ready, clamped = self._ranker.ready, plan.options.clamped
            outcome = "applied" if ready else "fallback"
            reason = "model-not-ready" if not ready else "" if plan.query else "no-query-text"
        return {"outcome": outcome, "reason": reason or None, "clamped": list(clamped)}

    def _say_settings(
        self, request: SearchRequest, index: bytes, plan: Plan | LeftAlone
    ) -> dict[str, Any]:
        """Each setting with where it comes from, then what is particular to this search."""
        rerank = self._settings.rerank
        section = find_index_settings(index, self._settings.indices)
        block = None if request.block is None else read_block(request.block)
        try:
            choice = self._pipelines.choose(block, section, rerank)
        except NoPipelineError as error:
            return {"pipeline": {"name": str(error), "missing": True}}
        options = resolve_options(join_pipeline(block, choice), rerank, section)
        names = [name for name, known in self._settings.indices.items() if known is section]
        sources = Sources(
            request=given_keys(block),
            pipeline=choice,
            section_name=names[0] if names else None,
            section=section,
            rerank=dict(rerank),
        )
        ranking = options.ranking
        values = {
            "enabled": options.enabled,
            "rank_window_size": options.window,
            "timeout_ms": round(1000 * options.timeout_s),
            "weights": asdict(ranking.weights),
            "min_score": ranking.min_score,
            "diversity": ranking.diversity,
            "diversify": ranking.method,
            "adaptive": ranking.adaptive,
            "similarity": asdict(ranking.kernel),
            "crowding": [asdict(cap) for cap in ranking.crowding],
            "expand": list(options.expand),
        }
        settings = {key: say(value, sources.find(key)) for key, value in values.items()}
        if not rerank.enabled:
            settings["enabled"] = say(False, "[rerank]")
        named = {"name": choice.name, "from": choice.origin, "version": choice.body.version}
        said = {"pipeline": named if choice.name else None, "settings": settings}
        return said if isinstance(plan, LeftAlone) else {**said, **self._say_plan(plan, sources)}

    def _say_plan(self, plan: Plan, sources: Sources) -> dict[str, Any]:
        """This search's page, window, words, fields and vectors."""
        fields, embedder = plan.fields, self._ranker.embedder
        words_from = "query" if plan.request.parameter("q") is None else "q"
        if plan.options.query_text:
            words_from = "request"
        wanted = plan.page.start + plan.page.size
        return {
            "page": {"from": plan.page.start, "size": plan.page.size},
            "window": {
                "size": plan.window,
                "hits_asked_for": max(plan.window, wanted),
                "cut_by_rescore": plan.window < plan.options.window,
            },
            "query_text": say(plan.query, words_from if plan.query else NOWHERE),
            "fields": {
                "text": say_field(plan, "text", fields.text, sources),
                "attributes": say_field(plan, "attributes", fields.attributes, sources),
                "price": say_field(plan, "price", fields.price, sources),
            },
            "vectors": {
                "stored_in": fields.code,
                "of_model": fields.model,
                "recipe": fields.recipe,
                "embedder": None if embedder is None else embedder.encoder.name,
                "used": say_vectors(plan, embedder is not None),
            },
            "asked_on_top": asdict(plan.additions),
        }


def split_index(query: bytes) -> tuple[bytes, bytes]:
    """The raw index expression that `index=` gives, and the other parameters."""
    pairs = [pair for pair in query.split(b"&") if pair]
    names = [plain(pair.partition(b"=")[0]) for pair in pairs]
    index = b""
    for pair, name in zip(pairs, names, strict=True):
        if name == "index":
            index = pair.partition(b"=")[2].replace(b"+", b"%20").replace(b"/", b"%2F")
    others = [pair for pair, name in zip(pairs, names, strict=True) if name != "index"]
    return index, b"&".join(others)


def say(value: Any, origin: str) -> dict[str, Any]:
    return {"value": value, "from": origin}


def say_field(plan: Plan, role: str, value: Any, sources: Sources) -> dict[str, Any]:
    """A role's fields with where they come from."""
    origin = sources.find(role)
    if origin != DEFAULT:
        return say(value, origin)
    if not value:
        return say(value, NOWHERE)
    if not getattr(plan.mapping, role):
        return say(value, "query")
    return say(value, "mapping _meta" if role in plan.mapping.named else "mapping names")


def say_vectors(plan: Plan, embeds: bool) -> str:
    """Which vectors count, in words."""
    if plan.fields.code is not None:
        others = "documents without are embedded here" if embeds else "no embedder for the others"
        return f"the stored ones; {others}"
    if not embeds:
        return "none: this model has no embedder"
    if plan.mapping.code is not None:
        return "texts are embedded here: the stored vectors are of another model"
    return "texts are embedded here: the index has no stored vectors"


def say_request(request: SearchRequest) -> dict[str, Any]:
    """What the cluster would be asked."""
    target, _, body = write_request(request)
    return {
        "method": request.method,
        "target": target.decode("latin-1"),
        "body": msgspec.json.decode(body) if body else None,
    }
