"""A query in other words: the same clauses, filters and shape, another text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import msgspec

from es_rerank.proxy.search.expand.restriction import decode_exact, is_plain
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.query_text import FULL_TEXT, MAX_DEPTH, MULTI_FIELD, QUERY_STRING
from es_rerank.proxy.search.request import plain

WORD = re.compile(r"\w+")
INNER = {
    "bool": ("must", "should"),
    "dis_max": ("queries",),
    "function_score": ("query",),
    "script_score": ("query",),
    "nested": ("query",),
    "boosting": ("positive",),
}
Change = Callable[[str], str]


def reword(text: str, others: Mapping[str, str]) -> str:
    """The text with some words replaced, by the word in lower case."""
    return WORD.sub(lambda found: others.get(found[0].casefold(), found[0]), text)


def reword_plan(plan: Plan, others: Mapping[str, str]) -> Plan:
    """The plan for the same search with its words replaced, in the clauses where they stand."""

    def change(text: str) -> str:
        return reword(text, others)

    request = plan.request
    q = request.parameter("q")
    if q is not None and is_plain(q):
        changed = quote_plus(change(q)).encode()
        pairs = [(k, changed if plain(k) == "q" else v) for k, v in request.parameters]
        request = replace(request, parameters=tuple(pairs), edited=True)
    elif q is None and "query" in request.body:
        query = change_texts(decode_exact(request.body["query"]), change)
        raw = msgspec.Raw(msgspec.json.encode(query))
        request = replace(request, body={**request.body, "query": raw}, edited=True)
    return replace(plan, request=request, query=None if plan.query is None else change(plan.query))


def change_texts(query: Any, change: Change, depth: int = 0) -> Any:
    """A query with `change` made to the text of each full-text clause that scores.

    Filters, `must_not`, and query strings with syntax in them stay as they are.
    """
    if not isinstance(query, dict) or depth > MAX_DEPTH:
        return query
    return {kind: change_clause(kind, clause, change, depth) for kind, clause in query.items()}


def change_clause(kind: str, clause: Any, change: Change, depth: int) -> Any:
    """One clause's body with its text changed, or those of the clauses in it."""
    if not isinstance(clause, dict):
        return clause
    if kind in FULL_TEXT:
        return {field: change_value(value, change) for field, value in clause.items()}
    if kind in MULTI_FIELD or (kind in QUERY_STRING and is_plain(clause.get("query"))):
        return change_value(clause, change)
    changed = dict(clause)
    for name in INNER.get(kind, ()):
        inner = clause.get(name)
        if isinstance(inner, list):
            changed[name] = [change_texts(item, change, depth + 1) for item in inner]
        elif inner is not None:
            changed[name] = change_texts(inner, change, depth + 1)
    return changed


def change_value(value: Any, change: Change) -> Any:
    """A text, or an object with one under `query`, changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict) and isinstance(value.get("query"), str):
        return {**value, "query": change(value["query"])}
    return value
