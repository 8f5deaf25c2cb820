"""The two shops of the demonstration: the bundled sample catalogue, and Icecat."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from es_rerank.datasets import icecat
from es_rerank.demo import sample
from es_rerank.errors import ConfigError

QUERIES = 5
SAMPLE_FIELDS = ("title^3", "brand^2", "description")


@dataclass(frozen=True)
class Shop:
    """A catalogue with judged queries.

    name: what its enriched index is called. documents: by id, as they are indexed. queries: query
    id -> text, those that are shown. grades: query id -> document id -> grade from 0 to 3. fields:
    what the shop's own search looks into. note: what a reader of the measures must know.
    """

    name: str
    documents: Mapping[str, Mapping[str, Any]]
    mapping: Mapping[str, Any]
    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    fields: Sequence[str]
    price: str
    note: str = ""

    def query(self, text: str) -> dict[str, Any]:
        """The search that the shop already has: BM25 over its fields."""
        return {"multi_match": {"query": text, "type": "most_fields", "fields": list(self.fields)}}

    def digest(self) -> str:
        """A fingerprint of everything that is indexed."""
        content = orjson.dumps([self.documents, self.mapping])
        return hashlib.sha256(content).hexdigest()[:16]


def load_shop(dataset: str, data_dir: Path | None) -> Shop:
    """Load `sample` or `icecat`. Raises ConfigError or DataError."""
    if dataset == "sample":
        return load_sample()
    if data_dir is None:
        raise ConfigError(
            f"--dataset icecat needs its files: name their folder with --data-dir. {icecat.SOURCE}"
        )
    return load_icecat(data_dir)


def load_sample() -> Shop:
    """Our own catalogue, which comes with the package."""
    queries = {query.id: query.text for query in sample.load_queries()}
    return Shop(
        name="products",
        documents={product["id"]: product for product in sample.load_products()},
        mapping=sample.MAPPING,
        queries={key: queries[key] for key in sample.DEMO_QUERIES.values()},
        grades=sample.load_qrels(),
        fields=SAMPLE_FIELDS,
        price="price",
    )


def load_icecat(data_dir: Path) -> Shop:
    """Icecat's catalogue with its human ratings; the queries shown are spread over the alphabet."""
    ratings = icecat.load_ratings(data_dir)
    judged = [query for query, rated in sorted(ratings.items()) if any(rated.values())]
    shown = judged[:: max(len(judged) // QUERIES, 1)][:QUERIES]
    return Shop(
        name="icecat",
        documents={
            product["id"]: icecat.document(product) for product in icecat.load_products(data_dir)
        },
        mapping=icecat.mapping(),
        queries={query: query for query in shown},
        grades=ratings,
        fields=icecat.QUERY_FIELDS,
        price="price_usd",
        note="Products that nobody has rated count as 0, which favours the order the ratings were "
        "made from; docs/benchmarks.md has all queries and three ways to count.",
    )
