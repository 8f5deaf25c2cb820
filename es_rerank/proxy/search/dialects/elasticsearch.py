"""Elasticsearch's retrievers `text_similarity_reranker` (8.14) and `diversify` (9.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from es_rerank.errors import RequestError
from es_rerank.proxy.search.dialects.reading import Reading, join_blocks
from es_rerank.proxy.search.query_text import has_vector_query
from es_rerank.proxy.search.request import RAW_OBJECT, SearchRequest

RERANKERS = ("text_similarity_reranker", "diversify")
# With these the engine refuses a retriever.
EXCLUSIVE = ("query", "knn", "search_after", "terminate_after", "sort", "rescore", "min_score")
MAX_DEPTH = 10


class NotUnwrappedError(Exception):
    """A retriever that is no plain query, and so the engine's."""


def read_elasticsearch(request: SearchRequest) -> SearchRequest:
    """Unwrap rerankers around a `standard` retriever to its query, and ask for them in our words.

    What holds anything else is left as it is. Raises RequestError.
    """
    retriever = request.body.get("retriever")
    if retriever is None or any(name in request.body for name in EXCLUSIVE):
        return request
    if find_kind(retriever)[0] not in RERANKERS:
        return request
    derived: dict[str, Any] = {}
    filters: list[msgspec.Raw] = []
    try:
        standard = unwrap(retriever, derived, filters, 0)
        parts = read_standard(standard, filters)
    except NotUnwrappedError:
        return request
    body = {name: raw for name, raw in request.body.items() if name != "retriever"} | parts
    return replace(request, body=body, block=join_blocks(request.block, derived), edited=True)


def find_kind(retriever: msgspec.Raw) -> tuple[str, msgspec.Raw]:
    """A retriever's name and body; an empty name where it has none, or several."""
    try:
        kinds = RAW_OBJECT.decode(retriever)
    except msgspec.DecodeError:
        return "", retriever
    return next(iter(kinds.items())) if len(kinds) == 1 else ("", retriever)


def unwrap(
    retriever: msgspec.Raw, derived: dict[str, Any], filters: list[msgspec.Raw], depth: int
) -> msgspec.Raw:
    """The body of the `standard` retriever inside; what lies around it goes into `derived`.

    What an outer one asks for goes before what an inner one does, but for the larger window.
    """
    name, body = find_kind(retriever)
    if name == "standard":
        return body
    if name not in RERANKERS or depth > MAX_DEPTH:
        raise NotUnwrappedError
    block = Reading(name, body)
    inner = block.raw("retriever")
    if inner is None:
        raise RequestError(f"[{name}] Required [retriever]", "illegal_argument_exception")
    found = read_similarity(block) if name == RERANKERS[0] else read_diversify(block)
    window = block.count("rank_window_size")
    if window is not None:
        derived["rank_window_size"] = max(window, derived.get("rank_window_size", 0))
    filters += block.raw_list("filter")
    block.text("_name")
    block.end()
    for key, wish in found.items():
        derived.setdefault(key, wish)
    return unwrap(inner, derived, filters, depth + 1)


def read_similarity(block: Reading) -> dict[str, Any]:
    """`text_similarity_reranker`: the model is ours, whatever `inference_id` names."""
    text, field = block.text("inference_text", required=True), block.text("field", required=True)
    block.text("inference_id")
    score = block.number("min_score", 0, 1)
    block.flag("allow_rerank_failures")
    block.raw("chunk_rescorer")
    return {
        "query_text": text,
        "fields": [field],
        **({} if score is None else {"min_score": score}),
    }


def read_diversify(block: Reading) -> dict[str, Any]:
    """`diversify`: its `lambda` runs the other way. Its vectors are those of our embedder."""
    kind = block.text("type", required=True)
    if kind != "mmr":
        raise block.wrong("type", "must be [mmr]")
    block.text("field", required=True)
    share = block.number("lambda", 0, 1)
    if share is None:
        raise RequestError("[diversify] Required [lambda]", "illegal_argument_exception")
    block.count("size")
    block.count("top_n_chunks")
    block.raw("query_vector")
    block.raw("query_vector_builder")
    return {"diversity": round(1 - share, 12)}


def read_standard(body: msgspec.Raw, filters: list[msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The keys of a search that a `standard` retriever stands for, raw.

    Raises NotUnwrappedError where its hits are not by the `_score` of its words.
    """
    block = Reading("standard", body)
    if block.raw("sort") is not None or block.raw("search_after") is not None:
        raise NotUnwrappedError
    query = block.raw("query") or msgspec.Raw(b'{"match_all":{}}')
    if has_vector_query(msgspec.json.decode(query)):
        raise NotUnwrappedError
    every = [*filters, *block.raw_list("filter")]
    if every:
        joined = {"bool": {"must": [query], "filter": every}}
        query = msgspec.Raw(msgspec.json.encode(joined))
    names = ("min_score", "collapse", "terminate_after")
    parts = {"query": query, **{name: block.raw(name) for name in names}}
    block.text("_name")
    block.end()
    return {name: part for name, part in parts.items() if part is not None}
