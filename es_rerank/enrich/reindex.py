"""Enrich one index into the next version of another: plan it, try it, carry it out."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from es_rerank import __version__
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.document import Document, read_document, text_template
from es_rerank.cluster.fields import IndexFields, find_fields, has_field
from es_rerank.cluster.sink import Failure, write_documents
from es_rerank.cluster.source import SourceIndex, count_documents, open_source, read_documents
from es_rerank.cluster.templates import (
    check_alias,
    create_index,
    destination_body,
    finish_index,
    next_version,
    swap_alias,
)
from es_rerank.enrich.pipeline import BATCH_SIZE, Enricher, Outcome, enrich_documents, run_pipeline
from es_rerank.enrich.summary import SummaryEnricher
from es_rerank.enrich.vector import Encoder, VectorEnricher
from es_rerank.errors import ConfigError, EsRerankError

SAMPLES = 3


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    source: SourceIndex
    alias: str
    before: tuple[str, ...]  # the indices that the alias stands for now
    next_index: str
    fields: IndexFields
    total: int  # documents in the source now
    limit: int | None

    @property
    def expected(self) -> int:
        """How many documents will be read."""
        return self.total if self.limit is None else min(self.total, self.limit)

    @property
    def is_cut(self) -> bool:
        """Whether `limit` leaves documents out."""
        return self.expected < self.total


@dataclass(frozen=True)
class Result:
    """What a run did."""

    index: str
    outcome: Outcome
    alias_moved: bool
    why_not: str | None  # why the alias was left where it was
    duration_s: float


def make_plan(
    client: SearchClient,
    source_name: str,
    alias: str,
    *,
    text_fields: Sequence[str] = (),
    attribute_fields: Sequence[str] = (),
    price_field: str | None = None,
    limit: int | None = None,
) -> Plan:
    """Look at both sides and find the fields; nothing is written.

    Raises ConfigError when the source or the alias will not do, when a field that was named is
    not in the mapping, or when no text field is found.
    """
    before = check_alias(client, alias)
    source = open_source(client, source_name)
    found = find_fields(source.mappings)
    for path in (*text_fields, *attribute_fields, *filter(None, [price_field])):
        if not has_field(source.mappings, path):
            known = ", ".join((*found.text, *found.attributes)) or "none that we know"
            raise ConfigError(
                f"{source.index} has no field {path!r} in its mapping. Found by name: {known}."
            )
    fields = dataclasses.replace(
        found,
        text=tuple(text_fields) or found.text,
        attributes=tuple(attribute_fields) or found.attributes,
        price=price_field or found.price,
    )
    if not fields.text:
        raise ConfigError(
            f"No text field was found in the mapping of {source.index}. Name one or more, the "
            "title first: --text-field title --text-field description"
        )
    return Plan(
        source,
        alias,
        tuple(before),
        next_version(client, alias),
        fields,
        count_documents(client, source.name),
        limit,
    )


def build_enrichers(
    encoder: Encoder, plan: Plan, others: Sequence[Enricher] = ()
) -> list[Enricher]:
    """Build the steps of a run: vectors first, which the summary goes by, then the others."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        VectorEnricher(encoder, plan.fields.text, now),
        SummaryEnricher(encoder, plan.fields.text),
        *others,
    ]


def sample_documents(
    client: SearchClient, plan: Plan, enrichers: Sequence[Enricher]
) -> list[Document]:
    """Enrich a few documents of the source without writing them."""
    body = {"size": SAMPLES, "sort": ["_doc"]}
    hits = client.search(plan.source.name, body).hits
    return enrich_documents([read_document(hit) for hit in hits], enrichers)


def build_meta(plan: Plan, encoder: Encoder) -> dict[str, Any]:
    """Write down in the mapping what the proxy has to know about the enriched index."""
    return {
        "text_fields": list(plan.fields.text),
        "attribute_fields": list(plan.fields.attributes),
        "price_field": plan.fields.price,
        "model": encoder.name,
        "dimensions": encoder.dimensions,
        "template": text_template(plan.fields.text),
        "source": plan.source.index,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }


def carry_out(
    client: SearchClient,
    plan: Plan,
    encoder: Encoder,
    *,
    others: Sequence[Enricher] = (),
    batch_size: int = BATCH_SIZE,
    accept_failures: bool = False,
    on_created: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[Outcome], None] = lambda _: None,
    on_failure: Callable[[Failure], None] = lambda _: None,
) -> Result:
    """Create the next version, fill it, and move the alias once everything is in it.

    The alias stays where it is when documents failed, unless they are accepted, and when `limit`
    cut the source off. others: enrichers that run after our own. Raises EsRerankError when the
    index does not hold what was written to it.
    """
    started = time.monotonic()
    body = destination_body(client.kind, plan.source, encoder.dimensions, build_meta(plan, encoder))
    index = create_index(client, plan.alias, body)
    on_created(index)
    # Closed here, whatever happens, so that the point in time does not outlive the run.
    with closing(read_documents(client, plan.source, page_size=batch_size)) as documents:
        outcome = run_pipeline(
            itertools.islice(documents, plan.limit),
            build_enrichers(encoder, plan, others),
            partial(write_documents, client, index),
            batch_size=batch_size,
            on_progress=on_progress,
            on_failure=on_failure,
        )
    finish_index(client, index, plan.source)
    held = count_documents(client, index)
    if held != outcome.written:
        raise EsRerankError(
            f"{index} holds {held:,} documents, but {outcome.written:,} were written to it. "
            "Does something else write there, or does one _id stand under two routings? "
            f"{plan.alias} was left as it is."
        )
    why_not = None
    if outcome.failed and not accept_failures:
        why_not = f"{outcome.failed:,} documents failed"
    elif plan.is_cut:
        why_not = f"--limit {plan.limit} left documents out"
    if why_not is None:
        swap_alias(client, plan.alias, index)
    return Result(index, outcome, why_not is None, why_not, time.monotonic() - started)
