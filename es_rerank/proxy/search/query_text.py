"""The shopper's words, found in an Elasticsearch or OpenSearch query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from es_rerank.proxy.search.request import SearchRequest

MAX_DEPTH = 20
FULL_TEXT = frozenset({"match", "match_phrase", "match_phrase_prefix", "match_bool_prefix"})
MULTI_FIELD = frozenset({"multi_match", "combined_fields"})
QUERY_STRING = frozenset({"query_string", "simple_query_string"})
FIELD_PREFIX = re.compile(r"[\w.*\\]+:(?=\S)")
VECTOR_QUERIES = frozenset(
    {"knn", "hybrid", "neural", "neural_sparse", "semantic", "sparse_vector"}
)
TERM_LEVEL = frozenset(
    {"term", "terms", "range", "prefix", "wildcard", "regexp", "fuzzy", "terms_set", "exists"}
)
RANGE = re.compile(r"(?:[\w.*\\]+:)?[\[{][^\]}]*\s+TO\s+[^\]}]*[\]}]|[\w.*\\]+:[<>]=?\S*")
NEGATED = re.compile(r"(?<![^\s(])(?:-|!|NOT\s+)(?:[\w.*\\]+:)?(?:\"[^\"]*\"|\([^)]*\)|[^\s()]+)")
OPERATORS = re.compile(
    r"\b(?:AND|OR|NOT|TO)\b|&&|\|\||[+\-!(){}\[\]^\"~*?:\\/|<>=]|(?<=[~^])[\d.]+"
)


def read_query_text(request: SearchRequest) -> str | None:
    """The shopper's words: `q=` wins over the body's queries, as in the engine."""
    q = request.parameter("q")
    if q is not None:
        return read_query_string(q) or None
    return find_query_text(join_queries(request))


def read_query_fields(request: SearchRequest) -> tuple[str, ...]:
    """The text fields that the queries themselves name, for where the mapping tells none."""
    return tuple(find_query_fields(join_queries(request)))


def join_queries(request: SearchRequest) -> Any:
    """All that is searched for as one query: `query`, and those of `retriever` and
    `sub_searches`."""
    query = request.value("query")
    queries = [*retriever_queries(request.value("retriever"), 0)]
    searches = request.value("sub_searches")
    for one in searches if isinstance(searches, list) else ():
        queries.append(one.get("query") if isinstance(one, dict) else None)
    return {"dis_max": {"queries": [query, *queries]}} if queries else query


def retriever_queries(retriever: Any, depth: int) -> Iterator[Any]:
    """Yield the queries of a tree of retrievers."""
    if not isinstance(retriever, dict) or depth > MAX_DEPTH:
        return
    for kind, wish in retriever.items():
        if isinstance(wish, dict) and kind == "standard":
            yield wish.get("query")
        elif isinstance(wish, dict):
            inner = wish.get("retrievers")
            for item in inner if isinstance(inner, list) else [wish.get("retriever")]:
                wrapped = item.get("retriever", item) if isinstance(item, dict) else None
                yield from retriever_queries(wrapped, depth + 1)


def find_query_text(query: Any) -> str | None:
    """The words of a query's scoring clauses, each said once; None when there are none.

    Looks into match, match_phrase(_prefix), match_bool_prefix, multi_match, combined_fields,
    query_string, simple_query_string, bool (must and should), dis_max, function_score,
    script_score, boosting, nested and neural. Filters and must_not do not count.
    """
    texts: list[str] = []
    for text in walk(query, 0):
        words = " ".join(text.split())
        if words and words.casefold() not in (known.casefold() for known in texts):
            texts.append(words)
    return " ".join(texts) or None


def find_query_fields(query: Any) -> list[str]:
    """The fields that a query's full-text clauses name, without boosts and patterns."""
    fields: list[str] = []
    for kind, clause in clauses(query, 0):
        if kind in FULL_TEXT and isinstance(clause, dict):
            fields.extend(clause)
        elif kind in MULTI_FIELD | QUERY_STRING and isinstance(clause, dict):
            named = clause.get("fields", clause.get("default_field"))
            listed = named if isinstance(named, list) else []
            fields.extend([named] if isinstance(named, str) else listed)
    plain = [str(field).split("^")[0] for field in fields]
    return list(dict.fromkeys(field for field in plain if field and "*" not in field))


def has_vector_query(query: Any, depth: int = 0) -> bool:
    """Whether a query, its filters too, holds a clause whose hits may depend on the `size` asked
    for, as those of nearest-neighbour search do. A query too deep to tell counts as one."""
    if isinstance(query, list):
        return any(has_vector_query(item, depth) for item in query)
    if not isinstance(query, dict):
        return False
    if depth > MAX_DEPTH:
        return True
    return any(
        (kind in VECTOR_QUERIES and isinstance(clause, dict))
        or (kind not in FULL_TEXT | TERM_LEVEL and has_vector_query(clause, depth + 1))
        for kind, clause in query.items()
    )


def read_query_string(text: str) -> str:
    """The words of Lucene's query syntax, without fields, ranges, operators, exclusions."""
    text = FIELD_PREFIX.sub(" ", NEGATED.sub(" ", RANGE.sub(" ", text)))
    return " ".join(OPERATORS.sub(" ", re.sub(r"[~^][\d.]+", " ", text)).split())


def walk(query: Any, depth: int) -> Iterator[str]:
    """Yield the text of each full-text clause, in order."""
    for kind, clause in clauses(query, depth):
        if not isinstance(clause, dict):
            continue
        if kind in FULL_TEXT:
            for value in clause.values():
                text = value.get("query") if isinstance(value, dict) else value
                if is_scalar(text):
                    yield str(text)
        elif kind in MULTI_FIELD and is_scalar(clause.get("query")):
            yield str(clause["query"])
        elif kind in QUERY_STRING and isinstance(clause.get("query"), str):
            yield read_query_string(clause["query"])
        elif kind == "neural":
            for value in clause.values():
                if isinstance(value, dict) and isinstance(value.get("query_text"), str):
                    yield value["query_text"]


def clauses(query: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield every clause that scores, as (kind, body), going into compound ones."""
    if not isinstance(query, dict) or depth > MAX_DEPTH:
        return
    for kind, clause in query.items():
        inner: list[Any] = []
        if isinstance(clause, dict):
            if kind == "bool":
                inner = [clause.get("must"), clause.get("should")]
            elif kind in {"dis_max", "hybrid"}:
                inner = [clause.get("queries")]
            elif kind in {"function_score", "script_score", "nested"}:
                inner = [clause.get("query")]
            elif kind == "boosting":
                inner = [clause.get("positive")]
        if inner:
            for part in inner:
                for item in part if isinstance(part, list) else [part]:
                    yield from clauses(item, depth + 1)
        else:
            yield kind, clause


def is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
