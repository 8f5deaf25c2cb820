"""The rank window's hits as candidates: scores, texts, vectors, attributes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from es_rerank.cluster.document import document_text, join_texts, read_values
from es_rerank.cluster.fields import IndexFields
from es_rerank.ranking.candidate import Candidates, band_prices
from es_rerank.ranking.vectors import decode_codes

RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Hit = Mapping[str, msgspec.Raw]


def gather(
    hits: Sequence[Hit],
    fields: IndexFields,
    capped: Collection[str],
    dimensions: int,
    every_text: bool,
    valued: Collection[str] = (),
) -> Candidates:
    """Turn hits into candidates.

    capped: attributes that crowding counts, beside those of the index. dimensions: of the codes, 0
    where none are read. every_text: whether the scorer reads texts; otherwise only those of hits
    without a stored vector are looked at. valued: fields whose values signals read.
    """
    vectors = present = None
    if fields.code is not None and dimensions:
        codes = [read_code(hit, fields.code) for hit in hits]
        vectors, present = decode_codes(codes, dimensions)
    names = dict.fromkeys([*fields.attributes, *capped])
    paths = (*fields.text, *names, *valued, fields.price or "")
    wanted = {path.split(".")[0] for path in paths}
    documents = [read_document(hit, wanted) for hit in hits]
    attributes: dict[str, list[str | None]] = {
        name: [read_attribute(document, name) for document in documents] for name in names
    }
    if fields.price is not None:
        prices = [read_price(document, fields.price) for document in documents]
        attributes["price band"] = band_prices(prices)
    return Candidates(
        first_stage=np.array([read_score(hit) for hit in hits]),
        texts=[
            read_candidate_text(document, fields.text)
            if every_text or present is None or not present[i]
            else None
            for i, document in enumerate(documents)
        ],
        vectors=vectors,
        has_vector=present,
        attributes=attributes,
        values={
            path: [list(read_values(document, path)) for document in documents] for path in valued
        },
    )


def read_score(hit: Hit) -> float:
    """A hit's `_score`; 0 when it is null."""
    raw = hit.get("_score")
    value = None if raw is None else msgspec.json.decode(raw)
    return float(value) if isinstance(value, int | float) else 0.0


def read_code(hit: Hit, code: str) -> str | None:
    """A hit's stored vector code, base64."""
    values = read_object(hit, "fields", {code}).get(code)
    value = values[0] if isinstance(values, list) and values else None
    return value if isinstance(value, str) else None


def read_document(hit: Hit, wanted: Collection[str]) -> Mapping[str, Any]:
    """What a hit shows of its document: `_source`, and where that is silent, `fields`.

    Only what lies under the `wanted` names is decoded: the rest may be a vector of thousands of
    digits.
    """
    return {**read_object(hit, "fields", wanted), **read_object(hit, "_source", wanted)}


def read_object(hit: Hit, name: str, wanted: Collection[str]) -> dict[str, Any]:
    """The wanted members of one of a hit's objects, `a.b` under `a` too; empty where unreadable."""
    if name not in hit:
        return {}
    try:
        return {
            key: msgspec.json.decode(raw)
            for key, raw in RAW_OBJECT.decode(hit[name]).items()
            if key in wanted or key.split(".", 1)[0] in wanted
        }
    except UNREADABLE:
        return {}


def read_candidate_text(document: Mapping[str, Any], text_fields: Sequence[str]) -> str | None:
    """The text that the model reads; None when the document shows none of the fields."""
    return document_text(document, text_fields) or None


def read_attribute(document: Mapping[str, Any], path: str) -> str | None:
    """An attribute's value as one string, several joined."""
    return join_texts([str(value) for value in read_values(document, path)]).casefold() or None


def read_price(document: Mapping[str, Any], path: str) -> float | None:
    """A price, the first where there are several; None when it is no number."""
    for value in read_values(document, path):
        try:
            return float(value)
        except (TypeError, ValueError):
            return None
    return None
