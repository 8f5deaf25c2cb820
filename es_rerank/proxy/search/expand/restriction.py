"""The part of a query that restricts and does not search: what every further hit must satisfy too.

A query is read as words to search for, and restrictions around them. The words are the full-text
clauses that bear the shopper's own text over a text field of the index, in a place that scores.
Everything else is a restriction and is kept whole: filters, `must_not`, term-level clauses, clauses
with other words, and every kind of clause that is not known here. So what is not understood can
only keep hits out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from es_rerank.proxy.search.query_text import FULL_TEXT, MAX_DEPTH, MULTI_FIELD, QUERY_STRING

Query = Any
"""A query as decoded by `decode_exact`; None stands for no restriction at all."""

# Lucene's syntax beyond words: with any of it, a query string may restrict as well as search.
SYNTAX = re.compile(r"[+\-!(){}\[\]^\"~*?:\\/|&<>=]|\b(?:AND|OR|NOT|TO)\b")
BOOL_KEYS = frozenset(
    {"must", "filter", "should", "must_not", "minimum_should_match", "boost", "_name"}
    | {"adjust_pure_negative"}
)


@dataclass(frozen=True)
class Words:
    """The shopper's words, and the text fields they may be looked for in."""

    text: str
    fields: tuple[str, ...]

    def match(self, text: Any) -> bool:
        """Whether a clause's text is these words, whatever their case and spaces."""
        return isinstance(text, str) and fold(text) == fold(self.text)

    def cover(self, fields: Iterable[Any]) -> bool:
        """Whether one of a clause's fields, or of their sub-fields, is a text field."""
        plain = [str(field).split("^")[0] for field in fields]
        return any(
            "*" in field or field == text or field.startswith(f"{text}.")
            for field in plain
            for text in self.fields
        )


def fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def decode_exact(raw: bytes | msgspec.Raw) -> Any:
    """Decode JSON with each number as the bytes it came in, and so to be written again."""

    def keep(number: str) -> msgspec.Raw:
        return msgspec.Raw(number.encode())

    return json.loads(bytes(raw), parse_int=keep, parse_float=keep)


def find_restriction(query: Query, words: Words) -> tuple[Query, bool]:
    """What a hit must satisfy besides bearing the words.

    Returns (a query for a filter, None where everything is allowed; whether the words were found).
    Where they were not, the restriction is the whole query.
    """
    reader = _Reader(words)
    return reader.restrict(query, 0), reader.found


def is_words_clause(kind: str, clause: Any, words: Words) -> bool:
    """Whether a clause searches a text field for the shopper's words."""
    if not isinstance(clause, dict):
        return False
    if kind in FULL_TEXT and len(clause) == 1:
        ((field, value),) = clause.items()
        text = value.get("query") if isinstance(value, dict) else value
        return words.match(text) and words.cover([field])
    if kind in MULTI_FIELD | QUERY_STRING:
        text = clause.get("query")
        if kind in QUERY_STRING and not is_plain(text):
            return False
        named = clause.get("fields", clause.get("default_field", "*"))
        return words.match(text) and words.cover(named if isinstance(named, list) else [named])
    return False


def is_plain(text: Any) -> bool:
    """Whether a query string holds words alone, no syntax."""
    return isinstance(text, str) and SYNTAX.search(text) is None


class _Reader:
    def __init__(self, words: Words) -> None:
        self._words = words
        self.found = False

    def restrict(self, query: Query, depth: int) -> Query:
        if not isinstance(query, dict) or len(query) != 1 or depth > MAX_DEPTH:
            return query
        ((kind, clause),) = query.items()
        if is_words_clause(kind, clause, self._words):
            self.found = True
            return None
        if not isinstance(clause, dict):
            return query
        if kind == "match_all":
            return None
        if kind == "bool":
            return self._restrict_bool(query, clause, depth)
        if kind == "dis_max":
            return self._any_of(query, as_list(clause.get("queries")), depth)
        if kind in {"function_score", "script_score"} and "min_score" not in clause:
            return self.restrict(clause.get("query", {"match_all": {}}), depth + 1)
        if kind == "boosting":
            return self.restrict(clause.get("positive"), depth + 1)
        if kind == "nested" and "query" in clause:
            inner = self.restrict(clause["query"], depth + 1)
            kept = {key: clause[key] for key in ("path", "ignore_unmapped") if key in clause}
            return None if inner is None else {"nested": {**kept, "query": inner}}
        return query

    def _restrict_bool(self, query: Query, clause: dict[str, Any], depth: int) -> Query:
        if clause.keys() - BOOL_KEYS:
            return query
        musts = as_list(clause.get("must"))
        filters = as_list(clause.get("filter"))
        shoulds = as_list(clause.get("should"))
        required = [self.restrict(item, depth + 1) for item in musts] + filters
        least = clause.get("minimum_should_match")
        if least is not None:
            least = str(bytes(least), "ascii") if isinstance(least, msgspec.Raw) else str(least)
        if shoulds and least in {None, "0", "1"}:
            some = self._any_of({"bool": {"should": shoulds}}, shoulds, depth)
            if least == "1" or not (musts or filters):
                required.append(some)
        elif shoulds:
            parts = [self.restrict(item, depth + 1) for item in shoulds]
            if any(part is not None for part in parts):
                # How many must hold cannot be said without the words: all of it restricts.
                required.append({"bool": {"should": shoulds, "minimum_should_match": least}})
        kept = [item for item in required if item is not None]
        banned = as_list(clause.get("must_not"))
        if not kept and not banned:
            return None
        if len(kept) == 1 and not banned:
            return kept[0]
        kinds = {"filter": kept, "must_not": banned}
        return {"bool": {kind: items for kind, items in kinds.items() if items}}

    def _any_of(self, query: Query, choices: list[Query], depth: int) -> Query:
        """At least one of several clauses must hold."""
        parts = [self.restrict(item, depth + 1) for item in choices]
        if not parts:
            return query
        return None if None in parts else {"bool": {"should": parts, "minimum_should_match": 1}}


def as_list(value: Any) -> list[Any]:
    """A clause's list of clauses, which may be one without brackets."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
