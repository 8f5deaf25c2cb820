"""What is to be done with a search, decided before the cluster is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from es_rerank.cluster.fields import IndexFields
from es_rerank.config import Settings
from es_rerank.plugins import load_plugin
from es_rerank.proxy.search.additions import Additions, choose_additions, widen
from es_rerank.proxy.search.fields import FieldCatalog, find_index_settings
from es_rerank.proxy.search.obstacle import RESULT_WINDOW, find_obstacle
from es_rerank.proxy.search.options import SearchOptions, read_block, resolve_options
from es_rerank.proxy.search.orders import list_key
from es_rerank.proxy.search.page import Page, clamp_window, read_page
from es_rerank.proxy.search.pipelines import (
    Choice,
    NoPipelineError,
    PipelineCatalog,
    join_pipeline,
)
from es_rerank.proxy.search.query_text import read_query_fields, read_query_text
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import SearchRequest
from es_rerank.proxy.search.vectors import VectorError, find_vectors, raise_vectors
from es_rerank.proxy.upstream import principal
from es_rerank.ranking.diversity.cap import Capper
from es_rerank.ranking.diversity.dpp import greedy_map
from es_rerank.ranking.diversity.mmr import order_by_mmr
from es_rerank.ranking.pipeline import Diversifier, RankingOptions, Signal


@dataclass(frozen=True)
class Plan:
    """A search that will be reranked.

    fields: what is read, from whatever place. mapping: what the mapping alone tells.
    """

    request: SearchRequest
    page: Page
    options: SearchOptions
    window: int
    fields: IndexFields
    query: str | None
    additions: Additions
    pipeline: Choice
    mapping: IndexFields
    list_key: bytes | None = None
    """What this list is known by while its order is kept; None where it is not."""
    unknown: tuple[str, ...] = ()
    """Fields that the options name and no mapping has."""
    reach: int | None = None
    """Where the list ends at the latest, as those of several lists fused do."""

    @property
    def collapsed(self) -> str | None:
        """The field by which hits are collapsed."""
        collapse = self.request.value("collapse")
        field = collapse.get("field") if isinstance(collapse, dict) else None
        return field if isinstance(field, str) else None

    @property
    def signal_fields(self) -> list[str]:
        """The fields that the signals read."""
        return list_signal_fields(self.options.ranking)

    def widened(self) -> SearchRequest:
        """The search for the whole window, or for more where the page ends past it."""
        wanted = max(self.window, self.page.start + self.page.size)
        if self.reach is not None:
            wanted = min(wanted, self.reach)
        return widen(self.request, wanted, self.additions)


@dataclass(frozen=True)
class LeftAlone:
    """A search that goes through in the engine's order, and why.

    request: what must be sent in place of the client's own, for its page to fit the others.
    failed: ranking was wanted, and cannot be done.
    """

    reason: str
    clamped: tuple[str, ...] = ()
    request: SearchRequest | None = None
    failed: bool = False


def list_signal_fields(ranking: RankingOptions) -> list[str]:
    """The fields that the signals read, each once."""
    return list(dict.fromkeys(path for signal, _ in ranking.signals for path in signal.fields))


def load_extensions(
    settings: Settings,
) -> tuple[tuple[tuple[Signal, float], ...], Mapping[str, Diversifier]]:
    """The plugins' signals with their weights, and the diversifiers by name: ours, and the plugin
    that the settings name.

    Raises ConfigError when a plugin is not there or cannot be made.
    """
    signals = tuple(
        (load_plugin("signal", name, settings.plugins), weight)
        for name, weight in settings.rerank.signals.items()
    )
    chosen = settings.rerank.diversify
    diversifiers: dict[str, Diversifier] = {
        "dpp": greedy_map,
        "mmr": order_by_mmr,
        "cap": Capper(chosen.cap_count, chosen.cap_per, chosen.cap_field),
    }
    if chosen.method not in diversifiers:
        plugin = load_plugin("diversifier", chosen.method, settings.plugins)
        diversifiers[chosen.method] = plugin
    return signals, diversifiers


class Planner:
    """Plans searches by the settings, the index's fields and the request's own block.

    Raises ConfigError when a plugin that the settings name is not there.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: FieldCatalog,
        ranker: Ranker,
        pipelines: PipelineCatalog,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._pipelines = pipelines
        self._ranker = ranker
        self._signals, self._diversifiers = load_extensions(settings)

    async def plan(
        self,
        request: SearchRequest,
        index: bytes,
        may_expand: bool = False,
        as_proxy: bool = True,
    ) -> Plan | LeftAlone:
        """Plan one search of a raw index expression (empty for all indices).

        may_expand: whether more candidates can be added. A page past the window is then no
        obstacle, since what was added to the window changes all that follows. as_proxy: as
        FieldCatalog.find has it. Raises RequestError when the request's own block is wrong.
        """
        block = None if request.block is None else read_block(request.block)
        # Those who may not borrow our credentials must learn nothing by them.
        may_ask = as_proxy or bool(principal(request.headers))
        if "pit" in request.body and not index and may_ask:
            index = await self._catalog.find_indices(request)
        index_settings = find_index_settings(index, self._settings.indices)
        try:
            pipeline = self._pipelines.choose(block, index_settings, self._settings.rerank)
        except NoPipelineError:
            return LeftAlone("no-pipeline", failed=True)
        block = join_pipeline(block, pipeline)
        options = resolve_options(block, self._settings.rerank, index_settings)
        diversifier = self._diversifiers[options.ranking.method]
        ranking = replace(options.ranking, signals=self._signals, diversifier=diversifier)
        options = replace(options, ranking=ranking)
        vectors = find_vectors(request)
        if not may_expand or vectors or "pit" in request.body:
            options = replace(options, expand=())
        page = read_page(request)
        window = clamp_window(request, options.window)
        reach = RESULT_WINDOW if options.expand and window else window
        reason = find_obstacle(request, page, reach) if options.enabled else "disabled"
        limit = None
        if vectors is not None and reason in {None, "beyond-window"}:
            try:
                if not options.vector_queries:
                    raise VectorError
                request, limit = (raised := raise_vectors(request, window)).request, raised.reach
            except VectorError:
                return LeftAlone(vectors, options.clamped)
            if reason is not None:
                return LeftAlone(reason, options.clamped, request)
        if reason is not None or page is None:
            return LeftAlone(reason or "result-window", options.clamped)
        if "pit" in request.body and not index:
            return LeftAlone("pit", options.clamped)
        found = await self._catalog.find(index, request.headers, as_proxy)
        wanted = (block and block.enabled) or (index_settings and index_settings.enabled)
        if not wanted and self._is_useless(found):
            return LeftAlone("verdict", options.clamped)
        fields = replace(
            found,
            text=options.text_fields or found.text or read_query_fields(request),
            attributes=options.attribute_fields or found.attributes,
            price=options.price_field or found.price,
            code=found.code if self._reads_codes(found) else None,
        )
        capped = tuple(cap.field for cap in options.ranking.crowding)
        named = () if block is None else (*(block.fields or ()), *capped)
        others = [*fields.attributes, *capped, *([fields.price] if fields.price else [])]
        others += list_signal_fields(ranking)
        return Plan(
            request=request,
            page=page,
            options=options,
            window=window,
            fields=fields,
            query=options.query_text or read_query_text(request),
            additions=choose_additions(request, fields.text, others, fields.code),
            pipeline=pipeline,
            mapping=found,
            list_key=None if options.explain else list_key(request, index, options),
            reach=limit,
            unknown=(
                await self._catalog.find_unknown(named, index, request.headers) if may_ask else ()
            ),
        )

    def _is_useless(self, found: IndexFields) -> bool:
        """Whether it was measured that this model's reranking does not help the index."""
        verdict = found.verdict
        return (
            self._settings.rerank.auto_off
            and verdict is not None
            and verdict.finding == "does-not-help"
            and verdict.model == self._ranker.model
        )

    def _reads_codes(self, found: IndexFields) -> bool:
        """Whether an index's codes compare: with our embedder's, or where none is here, alone.

        An index expression whose indices are of different models names none.
        """
        cache = self._ranker.embedder
        return found.model is not None and (cache is None or cache.encoder.name == found.model)
