"""What the demonstration measures: each query's top 10, straight and through the proxy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import urllib3

from es_rerank.datasets.icecat import embedding_text
from es_rerank.demo.shops import Shop
from es_rerank.demo.stack import Stack
from es_rerank.errors import ClusterError
from es_rerank.evaluation.measures import distinct, ild, ndcg
from es_rerank.models.embedder import Embedder

TOP = 10
REPEATS = 7
SOURCE = ["title", "description", "brand"]
PATIENT = {"ext": {"es_rerank": {"timeout_ms": 60_000}}}


@dataclass(frozen=True)
class Hit:
    """One product of a list."""

    id: str
    title: str
    brand: str
    price: float | None


@dataclass(frozen=True)
class Side:
    """One list of ten and its measures."""

    hits: tuple[Hit, ...]
    ndcg10: float
    ild10: float
    brands10: int


@dataclass(frozen=True)
class Showing:
    """One query, before and after."""

    query: str
    before: Side
    after: Side
    added_ms: float


def show_queries(shop: Shop, stack: Stack, proxy: str, embedder: Embedder) -> list[Showing]:
    """Run every query straight on the plain index and through the proxy on the enriched one.

    added_ms is the difference of the medians over several runs of each, seen by the client and
    taken in turn. The proxy is asked once before, with time to read all texts, so that what is
    shown does not depend on how fast the machine is. Raises ClusterError when either does not
    answer.
    """
    pool = urllib3.PoolManager()
    showings = []
    first = next(iter(shop.queries.values()))
    # Opens connections and reads the mapping; in time, since the order of this list is kept.
    search(pool, f"{proxy}/{stack.enriched}", shop, first, PATIENT)
    for key, text in shop.queries.items():
        before_ms, after_ms = [], []
        search(pool, f"{proxy}/{stack.enriched}", shop, text, PATIENT)
        for _ in range(REPEATS):
            before, ms = search(pool, f"{stack.url}/{stack.plain}", shop, text)
            before_ms.append(ms)
            after, ms = search(pool, f"{proxy}/{stack.enriched}", shop, text)
            after_ms.append(ms)
        added = statistics.median(after_ms) - statistics.median(before_ms)
        grades = shop.grades.get(key, {})
        showings.append(
            Showing(
                text,
                measure(before, shop, grades, embedder),
                measure(after, shop, grades, embedder),
                round(added, 2),
            )
        )
    return showings


def search(
    pool: urllib3.PoolManager,
    index_url: str,
    shop: Shop,
    text: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[list[dict[str, Any]], float]:
    """The top ten hits, and the milliseconds they took. more: members of the request."""
    body = {"query": shop.query(text), "size": TOP, "_source": [*SOURCE, shop.price], **more}
    started = time.perf_counter()
    try:
        answer = pool.request("POST", f"{index_url}/_search", json=body, retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise ClusterError(f"{index_url} did not answer: {error}") from error
    elapsed = 1000 * (time.perf_counter() - started)
    if answer.status != 200:
        raise ClusterError(f"{index_url} answered {answer.status}: {answer.data[:300]!r}")
    hits: list[dict[str, Any]] = answer.json()["hits"]["hits"]
    return hits, elapsed


def measure(
    hits: Sequence[Mapping[str, Any]], shop: Shop, grades: Mapping[str, int], embedder: Embedder
) -> Side:
    """Measure one list: nDCG@10, ILD@10 over MiniLM vectors of title and description, brands."""
    sources = [hit["_source"] for hit in hits]
    vectors = embedder.encode([embedding_text(source) for source in sources])
    shown = tuple(
        Hit(hit["_id"], source.get("title", ""), source.get("brand", ""), source.get(shop.price))
        for hit, source in zip(hits, sources, strict=True)
    )
    return Side(
        shown,
        round(ndcg([hit.id for hit in shown], grades, TOP), 4),
        round(ild(vectors, TOP), 4) if len(shown) > 1 else 0.0,
        distinct([hit.brand or None for hit in shown], TOP),
    )


def average(showings: Sequence[Showing]) -> dict[str, Any]:
    """The means over the queries, before and after."""

    def means(sides: Sequence[Side]) -> dict[str, float]:
        return {
            name: round(statistics.fmean(getattr(side, name) for side in sides), 4)
            for name in ("ndcg10", "ild10", "brands10")
        }

    return {
        "before": means([showing.before for showing in showings]),
        "after": means([showing.after for showing in showings]),
        "added_ms": round(statistics.fmean(showing.added_ms for showing in showings), 2),
    }


def as_json(showings: Sequence[Showing]) -> dict[str, Any]:
    """What `es-rerank demo --json` prints."""
    return {"queries": [asdict(showing) for showing in showings], "means": average(showings)}
