"""Steps that go by the whole catalogue: the source is read for them first, and where it has changed
since, or a run goes on with earlier work, the documents they now say something else of are written
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from es_rerank.cluster.bulk import Pace
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.shards import look_up, refresh
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.graph.store import GraphStore
from es_rerank.enrich.run.flow import Carried, Carrier
from es_rerank.enrich.run.plan import Plan
from es_rerank.enrich.sources.source import Page, Record, Source
from es_rerank.enrich.steps.step import Step

if TYPE_CHECKING:  # a run without a graph does not wait for what making one takes
    from es_rerank.enrich.steps.graph import GraphEnricher

SAMPLED = 2000  # documents that a dry run surveys


def survey_source(plan: Plan) -> None:
    """Let each such step read the whole source."""
    for step in plan.steps:
        if step.survey is not None:
            step.survey(record for page in read_pages(plan.source) for record in page.records)


def survey_sample(plan: Plan) -> None:
    """Let each such step read the first documents, which is enough to show what it does."""
    for step in plan.steps:
        if step.survey is not None:
            step.survey(plan.source.sample(SAMPLED).records)


def renew(
    client: SearchClient, index: str, source: Source, enrichment: Enrichment, carrier: Carrier
) -> Iterator[Carried]:
    """Write again the documents that such a step says something else of than the index holds."""
    refresh(client, index)
    for page in read_pages(source):
        keys = [(record.id, record.route) for record in page.records]
        held = look_up(client, index, keys, "es_rerank.provenance") if keys else {}
        stale: list[Record] = [
            record
            for record, key in zip(page.records, keys, strict=True)
            if not enrichment.is_renewed(record, held.get(key))
        ]
        if stale:
            yield carrier.write(Page(stale))


def read_pages(source: Source) -> Iterator[Page]:
    """The whole source, page after page, as of its last look."""
    for chunk in source.chunks({}):
        yield from chunk.load()


def find_store(client: SearchClient, plan: Plan, index: str, pace: Pace) -> GraphStore | None:
    """The graph's index beside the one that is written; None where no graph is made."""
    if find_graph(plan) is None:
        return None
    title = plan.fields.text[0] if plan.fields.text else None
    return GraphStore(client, index, title, pace)


def find_graph(plan: Plan) -> GraphEnricher | None:
    """The step that makes the graph."""
    return graph_step(plan.steps)


def graph_step(steps: Sequence[Step]) -> GraphEnricher | None:
    """Of these steps the one that makes the graph."""
    for step in steps:
        if step.survey is not None and step.name == "graph":
            return cast("GraphEnricher", step.enricher)
    return None
