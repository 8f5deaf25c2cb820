"""The second search: the query's nearest neighbours under the same restrictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from es_rerank.proxy.search.expand.restriction import (
    Words,
    decode_exact,
    find_restriction,
    is_plain,
)
from es_rerank.proxy.search.expand.search import NotExpandedError
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.request import SearchRequest, plain

# What shapes a hit, or where it is looked for; all else belongs to the client's own search.
KEPT_KEYS = frozenset(
    {"_source", "fields", "docvalue_fields", "script_fields", "version", "seq_no_primary_term"}
    | {"stored_fields", "explain", "timeout", "runtime_mappings", "derived", "size", "from"}
)
LEXICAL_PARAMETERS = frozenset(
    {"q", "df", "analyzer", "analyze_wildcard", "default_operator", "lenient"}
)
DROPPED_PARAMETERS = frozenset(
    {"from", "size", "sort", "track_total_hits", "track_scores", "rest_total_hits_as_int"}
    | {"terminate_after"}
    | {"stats", "suggest_field", "suggest_mode", "suggest_size", "suggest_text", "pretty", "human"}
)
# With these in the body, further hits could break what the client asked for.
OBSTACLES = ("collapse", "min_score", "search_pipeline")
MOST_CANDIDATES = 10_000


def find_filter(plan: Plan) -> list[Any]:
    """What neighbours must satisfy: the restrictions in the client's query, and its post filter.

    Raises NotExpandedError when the words cannot be told from the restrictions.
    """
    request = plan.request
    refuse_oddities(request, "knn-request")
    assert plan.query is not None, "looked for only where there are words"
    words = Words(plan.query, plan.fields.text)
    q = request.parameter("q")
    if q is not None:
        restriction = None
        found = is_plain(q) and words.match(q)
    else:
        raw = request.body.get("query")
        query = None if raw is None else decode_exact(raw)
        restriction, found = find_restriction(query, words)
    if not found:
        raise NotExpandedError("knn-filters")
    filters = [] if restriction is None else [restriction]
    if "post_filter" in request.body:
        filters.append(decode_exact(request.body["post_filter"]))
    return filters


def neighbour_search(
    plan: Plan, vector: Sequence[float], filters: Sequence[Any], elasticsearch: bool
) -> SearchRequest:
    """The search for the W nearest neighbours, each hit in the form that the client's own have.

    On Elasticsearch (8.4 and later) by the body's `knn`, on OpenSearch by a `knn` query, whose
    filter is applied while the graph is walked: W neighbours that satisfy it are found where there
    are so many.
    """
    wide = shape_hits(plan)
    body = dict(wide.body)
    count, field = plan.window, plan.fields.vector
    rounded = [round(float(value), 6) for value in vector]
    if elasticsearch:
        knn: dict[str, Any] = {"field": field, "query_vector": rounded, "k": count}
        knn["num_candidates"] = min(MOST_CANDIDATES, max(100, count * 3 // 2))
        if filters:
            knn["filter"] = list(filters)
        body["knn"] = msgspec.Raw(msgspec.json.encode(knn))
    else:
        clause: dict[str, Any] = {"vector": rounded, "k": count}
        if filters:
            clause["filter"] = {"bool": {"filter": list(filters)}}
        body["query"] = msgspec.Raw(msgspec.json.encode({"knn": {field: clause}}))
    return replace(wide, body=body)


def refuse_oddities(request: SearchRequest, reason: str) -> None:
    """Raise NotExpandedError with the reason where further hits could break what is asked for."""
    if any(name in request.body or request.parameter(name) for name in OBSTACLES):
        raise NotExpandedError(reason)


def shape_hits(plan: Plan, kept_parameters: frozenset[str] = frozenset()) -> SearchRequest:
    """The plan's search for W hits without its query: what shapes hits and says where they are."""
    wide = replace(plan, page=replace(plan.page, start=0, size=0)).widened()
    body = {key: raw for key, raw in wide.body.items() if key in KEPT_KEYS}
    body["track_total_hits"] = msgspec.Raw(b"false")
    dropped = (DROPPED_PARAMETERS | LEXICAL_PARAMETERS) - kept_parameters
    parameters = tuple(pair for pair in wide.parameters if plain(pair[0]) not in dropped)
    return replace(wide, body=body, parameters=parameters)
