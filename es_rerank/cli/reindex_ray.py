"""What `reindex --engine ray` sends to its workers: how each makes its connections and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from es_rerank.cli.reindex_steps import load_steps
from es_rerank.cluster.client import SearchClient, connect_node, connect_upstream
from es_rerank.cluster.fields import IndexFields
from es_rerank.cluster.source import SourceIndex
from es_rerank.config import Settings
from es_rerank.enrich.review import ReviewLog
from es_rerank.enrich.run.on_ray import RayFlow, find_ray, reach
from es_rerank.enrich.run.plan import Plan
from es_rerank.enrich.sources.index import IndexSource
from es_rerank.enrich.sources.source import Source
from es_rerank.enrich.steps.recipe import Recipe
from es_rerank.enrich.steps.step import Step


def make_flow(recipe: Recipe, plan: Plan, settings: Settings, address: str | None) -> RayFlow:
    """The flow of a run on Ray. Raises ConfigError where ray is not installed."""
    find_ray()
    if address is not None:
        reach(address)
    source = plan.source
    reopen = partial(_keep, source)
    if isinstance(source, IndexSource):
        reopen = partial(
            _reopen, settings, source.described, source.page_size, source.query, source.fields
        )
    return RayFlow(
        partial(connect_upstream, settings.upstream),
        reopen,
        partial(_load_steps, recipe, plan.fields, settings, plan.alias),
        address,
        gpus=1.0 if settings.model.device.startswith("cuda") else 0.0,
    )


def _load_steps(
    recipe: Recipe, fields: IndexFields, settings: Settings, alias: str, client: SearchClient
) -> list[Step]:
    """The steps, asking for people's decisions through the worker's own connection."""
    return load_steps(recipe, fields, settings, ReviewLog(client, settings.review.index, alias))


def _reopen(
    settings: Settings,
    described: SourceIndex,
    page_size: int,
    query: Mapping[str, Any] | None,
    fields: Sequence[str] | None,
    client: SearchClient,
) -> Source:
    """The index, read through a connection of the worker's own."""
    if settings.source.url is not None:
        client = connect_node(settings.source.url, settings.source)
    return IndexSource(client, described, page_size, query, fields)


def _keep(source: Source, _: SearchClient) -> Source:
    """A file travels with its chunks."""
    return source
