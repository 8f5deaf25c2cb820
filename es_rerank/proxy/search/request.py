"""A search request, read and written on its raw bytes.

The body is edited key by key, so numbers, key order and everything that is not ours reach the
cluster as they were sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from es_rerank.proxy.answer import Header, find_header
from es_rerank.proxy.search.coding import BodyError, decompress

RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
VENDORED = b"application/vnd.elasticsearch+json"
JSON = b"application/json"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class SearchRequest:
    """A search as the client sent it, read.

    body: its JSON object by key, raw; empty when there is none. parameters: the query string's
    pairs as they were sent. block: the value of `ext.es_rerank`, which `body` no longer holds.
    """

    method: str
    path: bytes
    parameters: tuple[tuple[bytes, bytes], ...]
    headers: tuple[Header, ...]
    body: dict[str, msgspec.Raw]
    block: Any = None
    edited: bool = False

    def parameter(self, name: str) -> str | None:
        """A query parameter's last value, decoded."""
        for key, value in reversed(self.parameters):
            if plain(key) == name:
                return plain(value)
        return None

    def value(self, name: str) -> Any:
        """A body key's decoded value, None where it is absent."""
        raw = self.body.get(name)
        return None if raw is None else msgspec.json.decode(raw)


def plain(text: bytes) -> str:
    """A name or value of the query string, decoded."""
    return unquote_plus(text.decode("utf-8", "replace"))


def read_request(
    method: str, path: bytes, query: bytes, headers: Iterable[Header], body: bytes, max_bytes: int
) -> SearchRequest:
    """Read a search and take our block out of its `ext`.

    Raises BodyError when the body is not a JSON object that can be read here.
    """
    headers = tuple(headers)
    pairs = [pair.partition(b"=") for pair in query.split(b"&") if pair]
    parameters = tuple((key, value) for key, _, value in pairs)
    edited = False
    encoding = find_header(headers, b"content-encoding").lower().strip()
    if encoding and encoding != b"identity":
        body = decompress(body, encoding, max_bytes)
        headers = tuple(h for h in headers if h[0].lower() != b"content-encoding")
        edited = True
    given = {plain(key): plain(value) for key, value in parameters}
    if not body and "source" in given:
        if "json" not in given.get("source_content_type", ""):
            raise BodyError("media-type")
        body, edited = given["source"].encode(), True
        parameters = tuple(
            (k, v) for k, v in parameters if plain(k) not in {"source", "source_content_type"}
        )
    elif body and b"json" not in find_header(headers, b"content-type").lower():
        raise BodyError("media-type")
    request = SearchRequest(method, path, parameters, headers, {}, edited=edited)
    if not body:
        return request
    try:
        msgspec.json.decode(body)  # what follows may then decode any part of it
        keys = RAW_OBJECT.decode(body)
        ext = RAW_OBJECT.decode(keys["ext"]) if "ext" in keys else {}
        for name in ("fields", "docvalue_fields"):
            RAW_LIST.decode(keys.get(name, b"[]"))
    except UNREADABLE:
        raise BodyError("body") from None
    if has_twins(body, keys) or ("ext" in keys and has_twins(bytes(keys["ext"]), ext)):
        raise BodyError("body")
    if "es_rerank" not in ext:
        return replace(request, body=keys)
    block = msgspec.json.decode(ext.pop("es_rerank"))
    if ext:
        keys["ext"] = msgspec.Raw(msgspec.json.encode(ext))
    else:
        del keys["ext"]
    return replace(request, body=keys, block=block, edited=True)


def has_twins(raw: bytes, members: dict[str, msgspec.Raw]) -> bool:
    """Whether an object names a key twice, of which rewriting would keep one.

    It counts as such, too, when a key is spelt with escapes.
    """
    written = msgspec.json.format(msgspec.json.encode(members), indent=-1)
    return len(written) != len(msgspec.json.format(raw, indent=-1))


def write_request(request: SearchRequest) -> tuple[bytes, list[Header], bytes]:
    """The rewritten request. Returns (target, headers, body); the answer comes uncompressed."""
    query = b"&".join(k + b"=" + v if v else k for k, v in request.parameters)
    target = request.path + b"?" + query if query else request.path
    body = msgspec.json.encode(request.body) if request.body else b""
    dropped = {b"content-length", b"transfer-encoding", b"accept-encoding"}
    headers = [(k, v) for k, v in request.headers if k.lower() not in dropped]
    if body and not find_header(headers, b"content-type"):
        # Accept and Content-Type must name the same version of a vendored type.
        accept = find_header(headers, b"accept")
        vendored = next((a.strip() for a in accept.split(b",") if VENDORED in a), JSON)
        headers.append((b"content-type", vendored))
    return target, headers, body
