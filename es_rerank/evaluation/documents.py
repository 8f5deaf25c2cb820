"""What the documents in the rankings are: the values that variety counts, and their vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster import document
from es_rerank.cluster.fields import ATTRIBUTE_RANKS, IndexFields
from es_rerank.evaluation.runs import Endpoint, identify
from es_rerank.ranking.vectors import decode_codes, find_dimensions

PART = 500
"""Documents asked for at once."""
BRAND, SELLER = 0, 3
"""Roles of attribute fields, as ATTRIBUTE_ROLES counts them."""
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Documents:
    """values: document -> field -> value. vectors: document -> (d,) unit. titles: document -> what
    it is called. view: what the vectors are of, in words."""

    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    view: str = ""


def find_role(fields: Sequence[str], role: int) -> str | None:
    """The first field whose name says that it is the brand, the seller, …"""
    named = (path for path in fields if role_of(path) == role)
    return next(named, None)


def role_of(path: str) -> int | None:
    """Which role a field's name says it has."""
    rank = ATTRIBUTE_RANKS.get(path.rpartition(".")[2].lower())
    return None if rank is None else rank[0]


def find_unknown(
    endpoint: Endpoint, index: str, ids: Iterable[str], id_field: str | None
) -> list[str]:
    """Those of the documents that the index does not have, in order. Raises ClusterError."""
    wanted = list(dict.fromkeys(ids))
    found = {
        identify(hit, id_field)
        for hit in read_hits(endpoint, index, wanted, id_field, {"_source": False})
    }
    return [name for name in wanted if name not in found]


def read_values(
    endpoint: Endpoint, index: str, ids: Iterable[str], fields: Sequence[str], id_field: str | None
) -> dict[str, dict[str, str]]:
    """Each document's value in each field; of a list, the first. Raises ClusterError."""
    if not fields:
        return {}
    values = {}
    for hit in read_hits(endpoint, index, ids, id_field, {"_source": list(fields)}):
        found = {path: first_value(hit.get("_source", {}), path) for path in fields}
        values[identify(hit, id_field)] = {k: v for k, v in found.items() if v is not None}
    return values


def read_vectors(
    endpoint: Endpoint,
    index: str,
    ids: Iterable[str],
    fields: IndexFields,
    embed: Embed,
    id_field: str | None,
) -> Documents:
    """Titles and vectors: those that are stored, else of the text fields. Raises ClusterError."""
    wanted = list(dict.fromkeys(ids))
    asked: dict[str, Any] = {"_source": list(fields.text)}
    if fields.code is not None:
        asked["docvalue_fields"] = [fields.code]
    texts, titles, codes = {}, {}, {}
    for hit in read_hits(endpoint, index, wanted, id_field, asked):
        name, source = identify(hit, id_field), hit.get("_source", {})
        read = [text for path in fields.text if (text := document.read_text(source, path))]
        titles[name], texts[name] = (read[0] if read else name), ". ".join(read)
        stored = hit.get("fields", {}).get(fields.code)
        codes[name] = stored[0] if stored else None
    if any(codes.values()):
        names = list(codes)
        rows, present = decode_codes(list(codes.values()), find_dimensions(list(codes.values())))
        kept = {name: rows[i] for i, name in enumerate(names) if present[i]}
        return Documents({}, kept, titles, f"the index's own vectors ({fields.model})")
    named = [name for name, text in texts.items() if text]
    found = embed([texts[name] for name in named]) if named else np.zeros((0, 1), np.float32)
    view = f"embeddings of {', '.join(fields.text)}" if named else ""
    return Documents({}, dict(zip(named, found, strict=True)), titles, view)


def read_hits(
    endpoint: Endpoint,
    index: str,
    ids: Iterable[str],
    id_field: str | None,
    asked: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """The documents' hits, each document once."""
    wanted, seen = list(dict.fromkeys(ids)), set()
    for start in range(0, len(wanted), PART):
        part = wanted[start : start + PART]
        query: dict[str, Any] = {"ids": {"values": part}}
        body = {"size": PART, **asked}
        if id_field is not None:
            query = {"terms": {id_field: part}}
            body["fields"] = [id_field]
        found, _, _ = endpoint.ask(index, {**body, "query": {"bool": {"filter": query}}})
        for hit in found["hits"]["hits"]:
            name = identify(hit, id_field)
            if name not in seen:
                seen.add(name)
                yield hit


def first_value(source: Mapping[str, Any], path: str) -> str | None:
    """The first value at a dotted path, as text."""
    return next((str(value) for value in document.read_values(source, path)), None)
