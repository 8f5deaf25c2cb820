"""Read documents without changing them: raw sources, values by dotted path, the text to embed.

A `_source` is kept as the bytes the engine sent. Decoding and encoding it again would turn 1.10
into 1.1, which in a keyword field is another value.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from es_rerank.cluster.fields import NAMESPACE

MAX_TEXT_CHARS = 4000  # several times what an embedder of 512 tokens reads
ALONE = f'"{NAMESPACE}":'.encode()
MEMBER = b"," + ALONE
TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Document:
    """One document of the source index; `patch` holds what enrichers have found so far."""

    id: str
    routing: str | None
    raw: bytes  # the `_source` as the engine sent it
    source: Mapping[str, Any]  # the same, decoded for reading
    patch: Mapping[str, Any] = field(default_factory=dict)


class Hit(msgspec.Struct, frozen=True):
    """One search hit; `source` is its `_source`, byte for byte, and unset where there is none."""

    id: str = msgspec.field(name="_id", default="")
    routing: str | None = msgspec.field(name="_routing", default=None)
    source: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_source", default=msgspec.UNSET)
    sort: list[Any] | None = None


class Hits(msgspec.Struct, frozen=True):
    """The `hits` object of a search answer; `total` only where it was asked for."""

    hits: list[Hit]
    total: dict[str, Any] | None = None
    pit_id: str | None = None  # of the answer around it


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_HITS = msgspec.json.Decoder(Hits)
_ENCODER = msgspec.json.Encoder()


def decode_answer(data: bytes) -> Any:
    """Decode an engine's answer as json.loads would, but `hits` as Hits with raw sources.

    Raises ValueError when it is no JSON.
    """
    try:
        answer = _OBJECT.decode(data)
    except msgspec.ValidationError:  # a list or a scalar
        return _decode(data)
    return {
        name: _HITS.decode(raw) if name == "hits" and bytes(raw).startswith(b"{") else _decode(raw)
        for name, raw in answer.items()
    }


def read_document(hit: Hit) -> Document:
    """Make the hit a document, without what an earlier enrichment left under `es_rerank`.

    Raises ValueError when the hit carries no `_source` object.
    """
    if isinstance(hit.source, msgspec.UnsetType):
        raise ValueError("the engine keeps no _source for it")
    return read_source(hit.id, hit.routing, bytes(hit.source))


def read_source(key: str, routing: str | None, raw: bytes) -> Document:
    """Make a document of a `_source`, without what stands under `es_rerank`.

    Raises ValueError when it is no JSON object.
    """
    source = _decode(raw)
    if not isinstance(source, dict):
        raise ValueError("its _source is no object")
    if own := [name for name in source if name == NAMESPACE or name.startswith(f"{NAMESPACE}.")]:
        members = _OBJECT.decode(raw)
        for name in own:
            del members[name], source[name]
        raw = _ENCODER.encode(members)
    return Document(key, routing, raw, source)


def splice(raw: bytes, patch: bytes) -> bytes:
    """Add `"es_rerank": patch` to a JSON object and put it on one line, as `_bulk` needs it.

    Every value keeps its bytes: a bare line break can only stand between them.
    """
    inside = one_line(raw).rstrip()[:-1].rstrip()
    return b"".join((inside, ALONE if inside == b"{" else MEMBER, patch, b"}"))


def one_line(raw: bytes) -> bytes:
    """The JSON on one line."""
    if b"\n" in raw or b"\r" in raw:
        return raw.replace(b"\n", b" ").replace(b"\r", b" ")
    return raw


def read_values(source: Any, path: str) -> Iterator[Any]:
    """Yield the scalar values at a dotted path, in order, through objects, arrays and nested.

    `a.b` finds {"a": {"b": 1}}, {"a": [{"b": 1}]} and {"a.b": 1} alike; nulls are left out.
    """
    if isinstance(source, list):
        for item in source:
            yield from read_values(item, path)
        return
    if not path:
        if source is not None and not isinstance(source, Mapping):
            yield source
        return
    if not isinstance(source, Mapping):
        return
    cut = len(path)
    while cut > 0:  # the longest key first: a literal dotted key hides nothing
        if (key := path[:cut]) in source:
            yield from read_values(source[key], path[cut + 1 :])
        cut = path.rfind(".", 0, cut)


def read_text(source: Mapping[str, Any], path: str) -> str:
    """Return a field's text on one line, without HTML tags; several values are joined by ', '."""
    return join_values(read_values(source, path))


def join_values(values: Iterable[Any]) -> str:
    """Join a field's values as texts on one line by ', '."""
    return ", ".join(filter(None, [clean_text(str(value)) for value in values]))


def clean_text(text: str) -> str:
    """Take HTML tags and entities, runs of white space and lone surrogates out of a text."""
    if "<" in text:
        text = TAG.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    text = " ".join(text.split())
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")


def document_text(source: Mapping[str, Any], text_fields: Sequence[str]) -> str:
    """Join the text fields' texts by '. ', empty ones left out: what is embedded and scored."""
    return join_texts([read_text(source, path) for path in text_fields])


def join_texts(texts: Sequence[str]) -> str:
    """Join texts by '. ': empty and repeated ones left out, no second stop after a full stop."""
    joined = ""
    for text in dict.fromkeys(filter(None, texts)):
        gap = " " if joined.endswith((".", "。", "!", "?", "！", "？")) else ". "
        joined = f"{joined}{gap}{text}" if joined else text
    return joined[:MAX_TEXT_CHARS]


def text_template(text_fields: Sequence[str]) -> str:
    """Write the rule of document_text down for the mapping's `_meta`: '{title}. {description}'."""
    return ". ".join(f"{{{path}}}" for path in text_fields)


def _decode(raw: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:  # a lone surrogate, which JSON allows and msgspec does not
        return json.loads(bytes(raw))
