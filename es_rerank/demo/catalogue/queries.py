"""Queries and what they ask for, in the terms of the generator's ground truth.

A condition is a mapping from a name to the values that satisfy it. Names: `type`, `department`,
`brand`, `colour`, `use`, `bulk` (at least so many prices for quantities), and any attribute or
field of the document (`size`, `condition`), also with `<=` or `>=`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_rerank.demo.catalogue.vocabulary import Vocabulary

Condition = Mapping[str, Any]


@dataclass(frozen=True)
class Intent:
    """One need behind a query: `want` must hold, `nice` is the difference between 3 and 2."""

    id: str
    description: str
    want: Condition
    nice: Condition
    related: tuple[Condition, ...]
    hard: tuple[Condition, ...]


@dataclass(frozen=True)
class QuerySpec:
    id: str
    text: str
    kinds: tuple[str, ...]
    language: str
    intents: tuple[Intent, ...]
    logged_only: bool = False

    def document(self) -> dict[str, Any]:
        """The query as it is shipped."""
        return {
            "id": self.id,
            "query": self.text,
            "kinds": list(self.kinds),
            "language": self.language,
            "intents": [{"id": i.id, "description": i.description} for i in self.intents],
        }


def make_queries(vocabulary: Vocabulary) -> list[QuerySpec]:
    """The judged queries of `tables/queries/`, in order: q01, q02, ..."""
    return [
        _query(f"q{number:02d}", row, vocabulary)
        for number, row in enumerate(vocabulary.queries, start=1)
    ]


def make_logged_queries(vocabulary: Vocabulary) -> list[QuerySpec]:
    """More queries that only the behaviour logs contain: each type, by names, brands and uses."""
    specs: list[QuerySpec] = []
    judged = {row["text"].lower() for row in vocabulary.queries}
    for kind in vocabulary.types.values():
        for language in ("en", "zh") if kind.zh else ("en",):
            wording = kind.wording(language)
            for text in dict.fromkeys(n.lower() for n in (wording.label, *wording.nouns[1:3])):
                if text in judged:
                    continue
                row = {"text": text, "kinds": ["head"], "want": {"type": kind.key}}
                row["language"] = language
                specs.append(_query(f"log{len(specs) + 1:03d}", row, vocabulary, logged_only=True))
    return specs


def _query(
    query_id: str, row: Mapping[str, Any], vocabulary: Vocabulary, *, logged_only: bool = False
) -> QuerySpec:
    rows: Sequence[Mapping[str, Any]] = (
        row.get("intents")
        or _facet(row, vocabulary)
        or [{"id": "main", "description": row.get("description", row["text"])}]
    )
    intents = []
    for intent in rows:
        base = {**row.get("want", {}), **intent.get("want", {})}
        _check(base, query_id, vocabulary)
        whole = intent.get("whole", base)
        related, hard = _around(whole, vocabulary) if whole else ((), ())
        intents.append(
            Intent(
                id=intent["id"],
                description=intent["description"],
                want=base,
                nice={**row.get("nice", {}), **intent.get("nice", {})},
                related=(*related, *row.get("related", ()), *intent.get("related", ())),
                hard=(*hard, *row.get("hard", ()), *intent.get("hard", ())),
            )
        )
    return QuerySpec(
        id=query_id,
        text=row["text"],
        kinds=tuple(row["kinds"]),
        language=row.get("language", "en"),
        intents=tuple(intents),
        logged_only=logged_only,
    )


def _facet(row: Mapping[str, Any], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Intents of a query that leaves a facet open: one per use (or value of an attribute).

    Together they cover the query's want; only the first one judges substitutes and look-alikes.
    """
    facet = row.get("facet")
    if not facet:
        return []
    kinds = [vocabulary.types[key] for key in as_list(row["want"]["type"])]
    open_: list[tuple[str, str, Any]] = []
    values: list[Any]
    if facet == "use":
        values = list(dict.fromkeys(use for kind in kinds for use in kind.gives))
        open_ = [("any", f"{row['text']}: no special use", [])]
    else:
        values = list(dict.fromkeys(v for kind in kinds for v in as_list(kind.attributes[facet])))
    rows = [
        (str(value).replace(" ", "_"), f"{row['text']}: {facet} {value}".replace("_", " "), value)
        for value in values
    ]
    return [
        {
            "id": name,
            "description": description,
            "want": {facet: value},
            "whole": row["want"] if place == 0 else {},
        }
        for place, (name, description, value) in enumerate([*open_, *rows])
    ]


def _around(
    want: Condition, vocabulary: Vocabulary
) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
    """What the type tables say: the same type without the rest, substitutes, look-alikes."""
    wanted = as_list(want.get("type", []))
    if not wanted:
        return (), ()
    kinds = [vocabulary.types[key] for key in wanted]
    rest = {name: value for name, value in want.items() if name != "type"}
    related: list[Condition] = []
    if rest:
        related.append({"type": wanted})
    neighbours = sorted({other for kind in kinds for other in kind.related} - set(wanted))
    if neighbours:
        known = {n: v for n, v in rest.items() if n in ("use", "colour", "brand")}
        related.append({"type": neighbours, **known})
    others = {other for kind in kinds for other in kind.confusable} - set(wanted)
    fitting = {k.key for k in vocabulary.types.values() if k.fits in wanted} - set(wanted)
    hard = sorted((others | fitting) - set(neighbours))
    return tuple(related), ({"type": hard},) if hard else ()


def _check(want: Condition, query_id: str, vocabulary: Vocabulary) -> None:
    for key in as_list(want.get("type", [])):
        if key not in vocabulary.types:
            raise ValueError(f"{query_id} asks for the unknown product type {key}")
    known = {use for kind in vocabulary.types.values() for use in kind.gives}
    for use in as_list(want.get("use", [])):
        if use not in known:
            raise ValueError(f"{query_id} asks for the unknown use {use}")
    brands = {brand.name for brand in vocabulary.brands}
    for brand in as_list(want.get("brand", [])):
        if brand not in brands:
            raise ValueError(f"{query_id} asks for the unknown brand {brand}")


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
