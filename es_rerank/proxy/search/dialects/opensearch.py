"""OpenSearch's `ext.rerank` (2.12) and `ext.mmr` (3.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from es_rerank.errors import RequestError
from es_rerank.proxy.search.dialects.reading import Reading, join_blocks
from es_rerank.proxy.search.request import RAW_OBJECT, SearchRequest

BLOCKS = ("rerank", "mmr")
LONGEST_PATH = 1000
STEP = re.compile(r"(?<!\\)\.")


def read_opensearch(request: SearchRequest) -> SearchRequest:
    """Take `ext.rerank` and `ext.mmr` out of a search, and ask for the same in our words.

    A search that names its own search pipeline is the engine's, unless its `ext.es_rerank` says
    `enabled`. Raises RequestError.
    """
    ext = RAW_OBJECT.decode(request.body["ext"]) if "ext" in request.body else {}
    if not any(name in ext for name in BLOCKS):
        return request
    told = isinstance(request.block, dict) and request.block.get("enabled") is True
    named = request.parameter("search_pipeline") or request.value("search_pipeline")
    if named is not None and not told:
        return request
    derived: dict[str, Any] = {}
    if "rerank" in ext:
        derived |= read_rerank(ext.pop("rerank"), request)
    if "mmr" in ext:
        derived |= read_mmr(ext.pop("mmr"))
    body = {name: raw for name, raw in request.body.items() if name != "ext"}
    if ext:
        body["ext"] = msgspec.Raw(msgspec.json.encode(ext))
    return replace(request, body=body, block=join_blocks(request.block, derived), edited=True)


def read_rerank(raw: msgspec.Raw, request: SearchRequest) -> dict[str, Any]:
    """`{"query_context": {"query_text" | "query_text_path"}}`."""
    block = Reading("rerank", raw)
    context = Reading("query_context", block.raw("query_context") or b"{}")
    block.end()
    text = context.text("query_text")
    path = context.text("query_text_path", longest=LONGEST_PATH)
    context.end()
    if (text is None) == (path is None):
        raise RequestError(
            "[rerank] [query_context] takes exactly one of [query_text] and [query_text_path]",
            "illegal_argument_exception",
        )
    return {"query_text": text if path is None else follow_path(path, request)}


def follow_path(path: str, request: SearchRequest) -> str:
    """The string at a path of the body, such as `query.match.title.query`."""
    first, *steps = (step.replace("\\.", ".") for step in STEP.split(path))
    value = request.value(first)
    for step in steps:
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(value, str):
        raise RequestError(
            f"[query_context] [query_text_path] must point to a string, and [{path}] does not",
            "illegal_argument_exception",
        )
    return value


def read_mmr(raw: msgspec.Raw) -> dict[str, Any]:
    """`{"diversity", "candidates", "explain", "vector_field_path", …}`.

    Its vectors are those of the proxy's own embedder: where the field lies and what it holds is
    read, and not needed.
    """
    block = Reading("mmr", raw)
    diversity = block.number("diversity", 0, 1)
    candidates, explain = block.count("candidates", least=0), block.flag("explain")
    for key in ("path", "data_type", "space_type"):
        block.text(f"vector_field_{key}")
    block.end("[{name}] query extension does not support [{key}]")
    derived: dict[str, Any] = {"diversity": 0.5 if diversity is None else diversity}
    if candidates:
        derived["rank_window_size"] = candidates
    if explain:
        derived["explain"] = True
    return derived
