"""Vector searches: the numbers that bound what they find, raised together with `size`.

Nearest-neighbour clauses and the fusions of several lists find a number of hits that they are told,
or that follows from `size`. To ask for a whole rank window, `k`, `num_candidates`,
`rank_window_size` and `pagination_depth` must be raised too. All pages of a list are asked for with
the same numbers, those past the window as well: other numbers make another list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from es_rerank.proxy.search.query_text import has_vector_query
from es_rerank.proxy.search.request import SearchRequest

VECTOR_KEYS = ("knn", "retriever", "rank", "sub_searches")
MOST_CANDIDATES = 10_000
DEFAULT_RANK_WINDOW = 10
FUSIONS = ("rrf", "linear")
# Where a compound query holds those of its clauses that score.
SCORING = {
    "bool": ("must", "should"),
    "dis_max": ("queries",),
    "hybrid": ("queries",),
    "function_score": ("query",),
    "script_score": ("query",),
    "nested": ("query",),
    "boosting": ("positive",),
}


class VectorError(Exception):
    """The search cannot be raised to find a whole window."""


@dataclass(frozen=True)
class Raised:
    """A vector search that finds the whole window. reach: where its list ends at the latest."""

    request: SearchRequest
    reach: int | None


def find_vectors(request: SearchRequest) -> str | None:
    """The part of a search whose hits may depend on `size`, as a reason; None without one."""
    for name in VECTOR_KEYS:
        if name in request.body:
            return name
    return "vector-query" if has_vector_query(request.value("query")) else None


def raise_vectors(request: SearchRequest, window: int) -> Raised:
    """Raise every number that bounds what a search finds to the window at least.

    Raises VectorError for what is not known here, and for vector clauses that filter or exclude:
    raised, they would change which hits there are.
    """
    lifts: dict[str, Callable[[Any, int], Any]] = {
        "knn": lift_sections,
        "query": lift_query,
        "retriever": lift_retriever,
        "rank": lift_rank,
        "sub_searches": lift_searches,
    }
    body = dict(request.body)
    try:
        lifted = {
            name: lift(request.value(name), window) for name, lift in lifts.items() if name in body
        }
        body |= {
            name: msgspec.Raw(msgspec.json.encode(value))
            for name, value in lifted.items()
            if value != request.value(name)
        }
    except (TypeError, AttributeError, ValueError, OverflowError):
        raise VectorError from None
    raised = replace(request, body=body, edited=True)
    return Raised(raised, min(find_ends(lifted, window), default=None))


def find_ends(lifted: Mapping[str, Any], window: int) -> Iterator[int]:
    """Where a fused list ends."""
    for outer in (lifted.get("retriever"), lifted.get("rank")):
        for kind in FUSIONS:
            if isinstance(outer, dict) and kind in outer:
                yield outer[kind]["rank_window_size"]
    query = lifted.get("query")
    hybrid = query.get("hybrid") if isinstance(query, dict) else None
    if hybrid is not None and "pagination_depth" not in hybrid:
        yield window  # a larger `size` would be another depth, and another list


def lift_sections(knn: Any, window: int) -> Any:
    """Elasticsearch's top-level `knn`, one or several."""
    if isinstance(knn, list):
        return [lift_section(section, window) for section in knn]
    return lift_section(knn, window)


def lift_section(section: Mapping[str, Any], window: int) -> dict[str, Any]:
    """One nearest-neighbour search of Elasticsearch; `k` is `size` where it is not given."""
    refuse_vectors(section.get("filter"))
    k = max(read_number(section, "k", 0), window)
    enough = min(k + (k + 1) // 2, MOST_CANDIDATES)
    candidates = max(read_number(section, "num_candidates", 0), enough)
    return {**section, "k": k, "num_candidates": candidates}


def lift_query(query: Any, window: int) -> Any:
    """A query's scoring clauses."""
    if isinstance(query, list):
        return [lift_query(item, window) for item in query]
    if not isinstance(query, dict):
        return query
    return {kind: lift_clause(kind, clause, window) for kind, clause in query.items()}


def lift_clause(kind: str, clause: Any, window: int) -> Any:
    """One clause of a query."""
    if kind == "knn" and isinstance(clause.get("field"), str):
        return lift_section(clause, window)
    if kind in {"knn", "neural"}:
        return {
            field: lift_field(wish, window) if isinstance(wish, dict) else wish
            for field, wish in clause.items()
        }
    if kind in {"neural_sparse", "sparse_vector"}:  # these find whatever matches
        return clause
    if kind not in SCORING:
        refuse_vectors({kind: clause})
        return clause
    lifted = {}
    for name, part in clause.items():
        if name not in SCORING[kind]:
            refuse_vectors(part)
        lifted[name] = lift_query(part, window) if name in SCORING[kind] else part
    if kind == "hybrid" and "pagination_depth" in lifted:
        lifted["pagination_depth"] = max(read_number(lifted, "pagination_depth", 0), window)
    return lifted


def lift_field(wish: Mapping[str, Any], window: int) -> dict[str, Any]:
    """What OpenSearch's `knn` and `neural` want of a field; without `k` the distance bounds it."""
    refuse_vectors(wish.get("filter"))
    return {**wish, "k": max(read_number(wish, "k", 0), window)} if "k" in wish else {**wish}


def lift_retriever(retriever: Mapping[str, Any], window: int) -> dict[str, Any]:
    """Elasticsearch's retrievers; those that rank by other means are left to it."""
    ((kind, wish),) = retriever.items()
    if kind == "knn":
        return {kind: lift_section(wish, window)}
    if kind == "standard":
        refuse_vectors(wish.get("filter"))
        if not wish.keys().isdisjoint({"sort", "search_after"}):
            raise VectorError
        query = {"query": lift_query(wish["query"], window)} if "query" in wish else {}
        return {kind: {**wish, **query}}
    if kind not in FUSIONS:
        raise VectorError
    refuse_vectors(wish.get("filter"))
    inner = [lift_inner(item, window) for item in wish.get("retrievers", ())]
    joined = {"retrievers": inner} if inner else {}
    return {kind: {**raise_rank_window(wish, window), **joined}}


def lift_inner(item: Mapping[str, Any], window: int) -> dict[str, Any]:
    """One of several retrievers, with its weight or without."""
    if "retriever" in item:
        return {**item, "retriever": lift_retriever(item["retriever"], window)}
    return lift_retriever(item, window)


def lift_rank(rank: Mapping[str, Any], window: int) -> dict[str, Any]:
    """The top-level `rank` of Elasticsearch 8."""
    if rank.keys() != {"rrf"}:
        raise VectorError
    return {"rrf": raise_rank_window(rank["rrf"], window)}


def lift_searches(searches: list[Mapping[str, Any]], window: int) -> list[dict[str, Any]]:
    """The top-level `sub_searches` of Elasticsearch 8."""
    return [{**one, "query": lift_query(one.get("query"), window)} for one in searches]


def raise_rank_window(wish: Mapping[str, Any], window: int) -> dict[str, Any]:
    """A fusion that looks at the whole window of each of its lists."""
    own = read_number(wish, "rank_window_size", DEFAULT_RANK_WINDOW)
    return {**wish, "rank_window_size": max(own, window)}


def read_number(wish: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number. Raises VectorError where it is none."""
    value = wish.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise VectorError
    return value


def refuse_vectors(query: Any) -> None:
    """Raise VectorError where a query holds a vector clause."""
    if has_vector_query(query):
        raise VectorError
