"""Two phases for a search that highlights or runs scripts: rank the window first, then show a page.

Highlights and script fields are computed for every hit that is fetched. Where W is much larger than
a page, the window is fetched without them; then the page's own hits are fetched with all that the
client wants, by a `post_filter` on their ids. That leaves the query as it is, and so scores,
highlights, named queries and inner hits come out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.request import SearchRequest, plain
from es_rerank.proxy.search.splice import RawHit, SearchAnswer
from es_rerank.proxy.search.vectors import find_vectors

DEAR = frozenset({"highlight", "script_fields"})
WORTH_IT = 3
"""How many times the page the window must be for a second search to pay."""
# What a `post_filter` would change, or what does not show whose hit it is.
UNSURE = frozenset(
    {"collapse", "rescore", "knn", "retriever", "rank", "sub_searches", "terminate_after"}
    | {"stored_fields", "profile"}
)
FOR_ALL = frozenset({"aggs", "aggregations", "suggest", "from", "size", "track_total_hits", "ext"})
NO_PARAMETERS = frozenset({"from", "size", "track_total_hits"})
SPARE = 4
"""One id may stand in several indices, and several times in one with routing."""


def split(plan: Plan) -> Plan | None:
    """The plan whose window is fetched without what is dear; None where one search must do."""
    request = plan.request
    unsure = request.body.keys() & UNSURE or any(
        request.parameter(name) is not None
        for name in ("filter_path", "terminate_after", "stored_fields")
    )
    if (
        unsure
        or plan.options.expand
        or find_vectors(request) is not None
        or not request.body.keys() & DEAR
        or plan.window < WORTH_IT * plan.page.size
    ):
        return None
    body = {name: raw for name, raw in request.body.items() if name not in DEAR}
    return replace(plan, request=replace(request, body=body))


def page_search(plan: Plan, hits: Sequence[RawHit]) -> SearchRequest:
    """The search for the page's own hits, with all that the client wants of them."""
    request = plan.request
    ids = [msgspec.json.decode(hit["_id"]) for hit in hits]
    only: dict[str, Any] = {"ids": {"values": ids}}
    body = {name: raw for name, raw in request.body.items() if name not in FOR_ALL}
    if "post_filter" in body:
        only = {"bool": {"filter": [body["post_filter"], only]}}
    body["post_filter"] = msgspec.Raw(msgspec.json.encode(only))
    body["size"] = msgspec.Raw(str(SPARE * len(ids)).encode())
    body["track_total_hits"] = msgspec.Raw(b"false")
    parameters = tuple((k, v) for k, v in request.parameters if plain(k) not in NO_PARAMETERS)
    return replace(request, body=body, parameters=parameters, edited=True)


def show_hits(page: SearchAnswer, shown: SearchAnswer) -> list[bytes] | None:
    """The page's hits as the second search shows them; None where one of them is missing.

    Each bears the score of its place, and the explanation that says why it stands there.
    """
    by_identity = {identity(hit): hit for hit in shown.hits}
    written = []
    for hit in page.hits:
        found = by_identity.get(identity(hit))
        if found is None:
            return None
        kept = {name: hit[name] for name in ("_score", "_explanation") if name in hit}
        written.append(msgspec.json.encode({**found, **kept}))
    return written


def identity(hit: RawHit) -> tuple[bytes, ...]:
    """What tells one hit from another."""
    return tuple(bytes(hit.get(name, b"")) for name in ("_index", "_id", "_routing"))
