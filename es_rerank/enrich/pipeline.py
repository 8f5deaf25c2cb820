"""Run documents through enrichers into a sink, one batch written while the next is enriched."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from es_rerank.cluster.document import Document
from es_rerank.cluster.sink import Failure

BATCH_SIZE = 512  # enough that sorting by length leaves almost no padding

Write = Callable[[Iterable[Document]], Iterable[Failure | None]]


class Enricher(Protocol):
    """One step: from documents to what is to be added under `es_rerank`, one patch for each."""

    @property
    def name(self) -> str:
        """Name the step in messages and metrics."""

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Return a patch for each document, in order; `document.patch` holds earlier steps' work.

        A document without what the step needs gets an empty patch: no document may stop a run.
        """


@dataclass(frozen=True)
class Outcome:
    """How many documents were read, written and refused."""

    read: int = 0
    written: int = 0
    failed: int = 0


def enrich_documents(
    documents: Sequence[Document], enrichers: Sequence[Enricher]
) -> list[Document]:
    """Apply each enricher in turn and return the documents with their patches, in order."""
    enriched = list(documents)
    for enricher in enrichers:
        patches = enricher.enrich(enriched)
        enriched = [
            dataclasses.replace(document, patch={**document.patch, **patch})
            for document, patch in zip(enriched, patches, strict=True)
        ]
    return enriched


def run_pipeline(
    documents: Iterable[Document],
    enrichers: Sequence[Enricher],
    write: Write,
    *,
    batch_size: int = BATCH_SIZE,
    on_progress: Callable[[Outcome], None] = lambda _: None,
    on_failure: Callable[[Failure], None] = lambda _: None,
) -> Outcome:
    """Enrich and write all documents, a batch at a time; return the counts.

    One batch is written by a second thread while the next is read and enriched; callbacks are
    called from this one. An error of any side ends the run and is raised here, after the write in
    progress has come to its end.
    """
    outcome = Outcome()
    pending: Future[tuple[int, list[Failure]]] | None = None

    def settle() -> None:
        nonlocal outcome
        if pending is None:
            return
        written, failures = pending.result()
        outcome = Outcome(
            outcome.read + written + len(failures),
            outcome.written + written,
            outcome.failed + len(failures),
        )
        for failure in failures:
            on_failure(failure)
        on_progress(outcome)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sink") as writer:
        for batch in cut_batches(documents, batch_size):
            enriched = enrich_documents(batch, enrichers)
            settle()
            pending = writer.submit(_write_batch, write, enriched)
        settle()
    return outcome


def cut_batches(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Cut a stream into lists of `size`; the last may be shorter."""
    stream = iter(documents)
    while batch := list(itertools.islice(stream, size)):
        yield batch


def _write_batch(write: Write, batch: list[Document]) -> tuple[int, list[Failure]]:
    failures, written = [], 0
    for failure in write(batch):
        if failure is None:
            written += 1
        else:
            failures.append(failure)
    return written, failures
