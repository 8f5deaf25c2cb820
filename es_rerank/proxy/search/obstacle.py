"""Why a search keeps the engine's own order: what its hits or their order follow from else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from es_rerank.proxy.answer import Header, find_header
from es_rerank.proxy.search.additions import can_store
from es_rerank.proxy.search.filter_path import FilterError, read_filter
from es_rerank.proxy.search.page import Page
from es_rerank.proxy.search.request import SearchRequest

RESULT_WINDOW = 10_000
# Parts of a body whose hits do not follow from `query` and `_score` alone.
FOREIGN_KEYS = ("search_after", "slice")
FOREIGN_PARAMETERS = ("scroll",)


def find_obstacle(request: SearchRequest, page: Page | None, window: int) -> str | None:
    """Why the engine's own order must stand, as a short reason; None when it may be reranked."""
    if page is None or page.start + page.size > RESULT_WINDOW or window < 1:
        return "result-window"
    if page.size == 0:
        return "size-0"
    if page.start >= window:
        return "beyond-window"
    for sort in (request.parameter("sort"), request.value("sort")):
        if sort is not None and not is_score_sort(sort):
            return "sort"
    for name in FOREIGN_PARAMETERS:
        if request.parameter(name) is not None:
            return name
    for name in FOREIGN_KEYS:
        if name in request.body:
            return name
    if "pit" in request.body and (request.parameter("sort") or "sort" in request.body):
        # Beside a point in time even a sort by score puts cursors into the hits.
        return "pit"
    if not can_store(request):
        return "stored_fields"
    try:
        read_filter(request)
    except FilterError:
        return "filter_path"
    if request.parameter("format") not in {None, "json"} or not accepts_json(request.headers):
        return "media-type"
    pipeline = request.parameter("search_pipeline") or request.body.get("search_pipeline")
    if pipeline is not None and "ext" in request.body:
        return "search_pipeline"
    return None


def is_score_sort(sort: Any) -> bool:
    """Whether a sort is by descending score alone, which is what no sort means as well."""
    if isinstance(sort, list):
        return len(sort) == 1 and is_score_sort(sort[0])
    if isinstance(sort, dict):
        order = sort.get("_score")
        wanted = order.get("order", "desc") if isinstance(order, dict) else order
        return len(sort) == 1 and wanted == "desc"
    return sort in {"_score", "_score:desc"}


def accepts_json(headers: Iterable[Header]) -> bool:
    accept = find_header(headers, b"accept").lower()
    return not accept or b"json" in accept or b"*/*" in accept or b"application/*" in accept
