"""Which dialects a search may be written in."""

from __future__ import annotations

from collections.abc import Collection

from es_rerank.proxy.search.dialects.elasticsearch import read_elasticsearch
from es_rerank.proxy.search.dialects.opensearch import read_opensearch
from es_rerank.proxy.search.query_text import has_vector_query
from es_rerank.proxy.search.request import SearchRequest


def read_dialects(request: SearchRequest, dialects: Collection[str]) -> SearchRequest:
    """The search in our own words, where it is written in one of the dialects that are on.

    A search with vectors stays the engine's, which can then rerank it itself. Raises RequestError
    for what the engine would refuse in its own.
    """
    if has_vector_query(request.value("query")) or "knn" in request.body:
        return request
    if "opensearch" in dialects:
        request = read_opensearch(request)
    if "elasticsearch" in dialects:
        request = read_elasticsearch(request)
    return request
