"""One enricher as a run uses it: what it reads, what made it, what it leaves under `es_rerank`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from es_rerank.cluster.document import Document
from es_rerank.enrich.sources.source import Record
from es_rerank.errors import EsRerankError

PROVENANCE = "provenance"


class StopError(EsRerankError):
    """A step can do no more, its budget being used up, say. What is done is written, then the run
    ends.

    patches: of each document, None for those that it did not get to.
    """

    def __init__(self, message: str, patches: Sequence[dict[str, Any] | None]) -> None:
        super().__init__(message)
        self.patches = list(patches)


class Enricher(Protocol):
    """One step: from documents to what is to be added under `es_rerank`, one patch for each."""

    @property
    def name(self) -> str:
        """Name the step in messages and metrics."""

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Return a patch for each document, in order; `document.patch` holds earlier steps' work.

        A document without what the step needs gets an empty patch. A key with a dot is a member of
        an object: `text.label`. `provenance` holds what is to be said of where it comes from,
        beside what the run says itself. An exception is taken for the fault of a document, which
        is looked for; an EsRerankError ends the run.
        """


@dataclass(frozen=True)
class Step:
    """An enricher with what tells whether its work on a document is still good.

    recipe: a hash of all that its result depends on but the document. reads: of the document, what
    its result depends on. model: by name, where it has one. mapping: of the fields that it adds
    below `es_rerank`, as `properties` has them, where the index templates do not say. survey: reads
    the whole source before any document is enriched, where a step goes by more than the document.
    """

    enricher: Enricher
    recipe: str
    reads: Callable[[Document], bytes]
    model: str | None = None
    mapping: Mapping[str, Any] = field(default_factory=dict)
    survey: Callable[[Iterable[Record]], None] | None = None

    @property
    def name(self) -> str:
        """The enricher's name."""
        return self.enricher.name

    def hash(self, document: Document) -> str:
        """Hash what the step reads of a document to 16 hex digits."""
        return hash_source(self.reads(document))


def hash_source(read: bytes) -> str:
    """Hash what a step reads of a document to 16 hex digits."""
    return hashlib.sha256(read).hexdigest()[:16]


def hash_recipe(name: str, edition: int, options: Mapping[str, Any]) -> str:
    """Hash all that a step's result depends on. edition: raised when its code gives other results.

    Returns 16 hex digits.
    """
    told = orjson.dumps([name, edition, options], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(told).hexdigest()[:16]
