"""The bundled sample catalogue: products, queries, judgments and behaviour logs.

Written by `es_rerank.demo.catalogue`; see docs/sample-catalogue.md for every field.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from es_rerank.errors import DataError

DATA = Path(__file__).parent / "catalogue" / "data"

# By kind, not by result: the first query of queries.jsonl whose first kind it is.
DEMO_QUERIES: dict[str, str] = {
    "head": "q01",
    "natural": "q19",
    "ambiguous": "q39",
    "brand": "q51",
    "chinese": "q82",
}

_TEXT = {"type": "text", "analyzer": "standard"}
_KEYWORD = {"type": "keyword"}
_STORED = {"type": "keyword", "index": False, "doc_values": False}

# Index mapping for the plain index: works on Elasticsearch and OpenSearch without any plugin.
MAPPING: dict[str, Any] = {
    "dynamic": False,
    "dynamic_templates": [
        {
            "words": {
                "path_match": "attributes.*",
                "match_mapping_type": "string",
                "mapping": {"type": "keyword"},
            }
        },
        {
            "whole_numbers": {
                "path_match": "attributes.*",
                "match_mapping_type": "long",
                "mapping": {"type": "double"},
            }
        },
    ],
    "properties": {
        "id": _KEYWORD,
        "title": _TEXT,
        "description": _TEXT,
        "brand": _KEYWORD,
        "department": _KEYWORD,
        "type": _KEYWORD,
        "language": _KEYWORD,
        "price": {"type": "float"},
        "currency": _KEYWORD,
        "bulk_prices": {
            "properties": {"min_quantity": {"type": "integer"}, "price": {"type": "float"}}
        },
        "min_order": {"type": "integer"},
        "condition": _KEYWORD,
        "released": {"type": "date"},
        "stock": {"type": "integer"},
        "seller": _KEYWORD,
        "seller_trust": {"type": "float"},
        "seller_location": _KEYWORD,
        "family": _KEYWORD,
        "colour": _KEYWORD,
        "size": _KEYWORD,
        "attributes": {"type": "object", "dynamic": True},
        "compatibility": _KEYWORD,
        "rating": {"type": "float"},
        "review_count": {"type": "integer"},
        "image": _STORED,
        "reviews": {
            "properties": {"rating": {"type": "byte"}, "text": _TEXT, "date": {"type": "date"}}
        },
    },
}


@dataclass(frozen=True)
class Query:
    """A judged query; `intents` maps an intent's id to its description."""

    id: str
    text: str
    kinds: tuple[str, ...]
    language: str
    intents: dict[str, str]


def load_products(*, with_reviews: bool = True) -> list[dict[str, Any]]:
    """Every product as it is indexed; with `reviews: [{rating, text, date}]` if wanted."""
    products = list(_rows("products.jsonl.gz"))
    if with_reviews:
        reviews: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for review in load_reviews():
            reviews[review["product_id"]].append(
                {name: review[name] for name in ("rating", "text", "date")}
            )
        for product in products:
            product["reviews"] = reviews[product["id"]]
    return products


def load_reviews() -> list[dict[str, Any]]:
    """Every review, with the sentence templates and aspects behind it."""
    return list(_rows("reviews.jsonl.gz"))


def load_queries() -> list[Query]:
    """The judged queries, in order."""
    return [
        Query(
            row["id"],
            row["query"],
            tuple(row["kinds"]),
            row["language"],
            {intent["id"]: intent["description"] for intent in row["intents"]},
        )
        for row in _rows("queries.jsonl")
    ]


def load_qrels() -> dict[str, dict[str, int]]:
    """Query -> document -> grade (0..3)."""
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    for query, _, document, grade in _columns("qrels.txt"):
        qrels[query][document] = int(grade)
    return dict(qrels)


def load_intent_qrels() -> dict[str, dict[str, dict[str, int]]]:
    """Query -> intent -> document -> grade (0..3)."""
    qrels: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for query, intent, document, grade in _columns("intent_qrels.txt"):
        qrels[query][intent][document] = int(grade)
    return {query: dict(intents) for query, intents in qrels.items()}


def load_users() -> list[dict[str, Any]]:
    """The simulated users and their true tastes."""
    return list(_rows("users.jsonl"))


def load_ubi_queries() -> list[dict[str, Any]]:
    """Searches in the User Behavior Insights form, in order of time."""
    return list(_rows("ubi_queries.jsonl.gz"))


def load_ubi_events() -> list[dict[str, Any]]:
    """Clicks, carts and purchases in the User Behavior Insights form, in order of time."""
    return list(_rows("ubi_events.jsonl.gz"))


def load_propensities() -> dict[str, Any]:
    """The click model behind the logs: true examination probabilities by rank."""
    propensities: dict[str, Any] = json.loads(_read("propensities.json"))
    return propensities


def _read(name: str) -> str:
    path = DATA / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): reinstall es-rerank, or write the sample "
            "catalogue again with `python -m es_rerank.demo.catalogue`"
        ) from error
    return (gzip.decompress(content) if name.endswith(".gz") else content).decode()


def _rows(name: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _read(name).splitlines())


def _columns(name: str) -> Iterator[list[str]]:
    return (line.split() for line in _read(name).splitlines())
