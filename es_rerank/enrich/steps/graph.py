"""Tell each product what it is to others: variants, substitutes, what it is made for, and why.

The whole catalogue is surveyed first; a product's edges then come of what is known of all. They are
the step's source, too: where a neighbour has changed, the product's edges are others, and it is
written again, though its own text is what it was.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import orjson

from es_rerank.cluster.document import Document, read_source
from es_rerank.datasets.ubi import read_rows
from es_rerank.enrich.graph.facts import FactFields, read_facts
from es_rerank.enrich.graph.graph import Bought, Graph, settle
from es_rerank.enrich.graph.survey import Survey
from es_rerank.enrich.sources.source import Record
from es_rerank.errors import EsRerankError

EDITION = 1  # raised when the same catalogue gives something else
REMEMBERED = 8192  # patches, between the hash of one and its being written
TAKEN = frozenset({"purchase", "add_to_cart", "add-to-cart", "buy", "order"})
LEAST_TOGETHER = 2
LARGEST_BASKET = 50  # products of one session; more is no shopper


class GraphEnricher:
    """Add `graph`: type, brand, family, attributes and edges."""

    name = "graph"

    def __init__(self, fields: FactFields, *, most: int = 8, events: Path | None = None) -> None:
        """Make the enricher.

        most: edges for each predicate. events: a file of UBI events, for what is bought together.
        """
        self._fields = fields
        self._most = most
        self._events = events
        self._made: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self.graph: Graph | None = None

    def survey(self, records: Iterable[Record]) -> None:
        """Read the whole catalogue; what cannot be read fails where it is written."""
        survey = Survey()
        for record in records:
            try:
                document = read_source(record.id, record.route, record.raw)
            except ValueError:
                continue
            survey.add(read_facts(document.id, document.source, self._fields))
        bought = read_bought(self._events) if self._events else {}
        self._made.clear()
        self.graph = settle(survey, bought, most=self._most)

    def reads(self, document: Document) -> bytes:
        """What the result depends on: the result, since all products have a part in it."""
        return orjson.dumps(self._patch(document))

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Look each product's edges up."""
        return [{"graph": self._patch(document)} for document in documents]

    def _patch(self, document: Document) -> dict[str, Any]:
        held = self._made.get(document.id)
        if held is not None and held[0] is document.source:
            return held[1]
        if self.graph is None:
            raise EsRerankError("the graph was asked for before the catalogue was surveyed")
        with self._lock:  # shelves are filled when they are first asked for
            patch = self.graph.patch(read_facts(document.id, document.source, self._fields))
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            self._made[document.id] = document.source, patch
        return patch


def read_bought(path: Path) -> Bought:
    """What was taken in one session with each product, the most often first.

    path: UBI events, as JSON lines. Raises DataError.
    """
    baskets: dict[str, set[str]] = defaultdict(set)
    for basket, product in _taken(read_rows(path)):
        baskets[basket].add(product)
    counts: Counter[tuple[str, str]] = Counter()
    for products in baskets.values():
        if len(products) <= LARGEST_BASKET:
            counts.update(combinations(sorted(products), 2))
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (one, other), count in counts.items():
        if count >= LEAST_TOGETHER:
            found[one].append((other, count))
            found[other].append((one, count))
    return {
        product: sorted(others, key=lambda each: (-each[1], each[0]))
        for product, others in found.items()
    }


def _taken(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        if str(row.get("action_name", "")).casefold() not in TAKEN:
            continue
        told = row.get("event_attributes") or {}
        product = (told.get("object") or {}).get("object_id")
        basket = row.get("session_id") or told.get("session_id") or row.get("client_id")
        if product is not None and basket is not None:
            yield str(basket), str(product)
