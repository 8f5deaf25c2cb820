"""A search request: read, judged, and rewritten to ask the cluster for the whole rank window.

The body is edited key by key on its raw bytes, so numbers, key order and everything that is not
ours reach the cluster as they were sent.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from es_rerank.proxy.answer import Header, find_header
from es_rerank.proxy.search.query_text import (
    find_query_fields,
    find_query_text,
    has_vector_query,
    read_query_string,
)

RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
DEFAULT_SIZE = 10
RESULT_WINDOW = 10_000
# Parts of a body whose hits do not follow from `query` and `_score` alone.
FOREIGN_KEYS = (
    *("search_after", "slice", "pit", "stored_fields"),
    *("knn", "retriever", "rank", "sub_searches"),
)
FOREIGN_PARAMETERS = ("scroll", "filter_path", "stored_fields")
VENDORED = b"application/vnd.elasticsearch+json"
JSON = b"application/json"
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class BodyError(Exception):
    """The body cannot be read here: the cluster shall judge it."""


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
        if encoding != b"gzip":
            raise BodyError("encoding")
        body = gunzip(body, max_bytes)
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
    elif body.strip() and b"json" not in find_header(headers, b"content-type").lower():
        raise BodyError("media-type")
    request = SearchRequest(method, path, parameters, headers, {}, edited=edited)
    if not body.strip():
        return request
    try:
        msgspec.json.decode(body)  # what follows may then decode any part of it
        keys = RAW_OBJECT.decode(body)
        ext = RAW_OBJECT.decode(keys["ext"]) if "ext" in keys else {}
        for name in ("fields", "docvalue_fields"):
            RAW_LIST.decode(keys.get(name, b"[]"))
    except UNREADABLE:
        raise BodyError("body") from None
    if "es_rerank" not in ext:
        return replace(request, body=keys)
    block = msgspec.json.decode(ext.pop("es_rerank"))
    if ext:
        keys["ext"] = msgspec.Raw(msgspec.json.encode(ext))
    else:
        del keys["ext"]
    return replace(request, body=keys, block=block, edited=True)


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress, at most `max_bytes`. Raises BodyError when it is broken or larger."""
    try:
        stream = zlib.decompressobj(wbits=31)
        plain = stream.decompress(body, max_bytes)
    except zlib.error:
        raise BodyError("encoding") from None
    if not stream.eof:
        raise BodyError("body-too-large")
    if stream.unused_data:
        raise BodyError("encoding")
    return plain


@dataclass(frozen=True)
class Page:
    """The slice of hits that the client asked for."""

    start: int
    size: int


def read_page(request: SearchRequest) -> Page | None:
    """The page asked for; parameters win over the body, as in the engine.

    None when it is no page: the cluster shall say what is wrong with it.
    """
    found = {}
    for name, default in (("from", 0), ("size", DEFAULT_SIZE)):
        value: Any = request.parameter(name)
        if value is None:
            value = request.value(name) if name in request.body else default
        if isinstance(value, bool) or not WHOLE_NUMBER.fullmatch(str(value)):
            return None
        found[name] = int(value)
    return Page(found["from"], found["size"])


def find_obstacle(request: SearchRequest, page: Page | None, window: int) -> str | None:
    """Why the engine's own order must stand, as a short reason; None when it may be reranked."""
    if page is None or page.start + page.size > RESULT_WINDOW or window < 1:
        return "result-window"
    if page.size == 0:
        return "size-0"
    if page.start >= window:
        return "beyond-window"
    for sort in (request.parameter("sort"), request.value("sort")):
        if sort is not None and not is_score_sort(sort):
            return "sort"
    for name in FOREIGN_PARAMETERS:
        if request.parameter(name) is not None:
            return name
    for name in FOREIGN_KEYS:
        if name in request.body:
            return name
    if request.parameter("format") not in {None, "json"} or not accepts_json(request.headers):
        return "media-type"
    if has_vector_query(request.value("query")):
        return "vector-query"
    pipeline = request.parameter("search_pipeline") or request.body.get("search_pipeline")
    if pipeline is not None and "ext" in request.body:
        return "search_pipeline"
    return None


def is_score_sort(sort: Any) -> bool:
    """Whether a sort is by descending score alone, which is what no sort means as well."""
    if isinstance(sort, list):
        return len(sort) == 1 and is_score_sort(sort[0])
    if isinstance(sort, dict):
        order = sort.get("_score")
        wanted = order.get("order", "desc") if isinstance(order, dict) else order
        return len(sort) == 1 and wanted == "desc"
    return sort in {"_score", "_score:desc"}


def accepts_json(headers: Iterable[Header]) -> bool:
    accept = find_header(headers, b"accept").lower()
    return not accept or b"json" in accept or b"*/*" in accept or b"application/*" in accept


def clamp_window(request: SearchRequest, window: int) -> int:
    """The window, no larger than the smallest `rescore.window_size`: past it the engine's order
    is not by one score. 0 when a rescorer cannot be read."""
    rescore = request.value("rescore")
    for step in rescore if isinstance(rescore, list) else [rescore]:
        if isinstance(step, dict):
            size = step.get("window_size", DEFAULT_SIZE)
            window = min(window, int(size) if WHOLE_NUMBER.fullmatch(str(size)) else 0)
    return window


def read_query_text(request: SearchRequest) -> str | None:
    """The shopper's words: `q=` wins over the body's query, as in the engine."""
    q = request.parameter("q")
    return (
        read_query_string(q) or None if q is not None else find_query_text(request.value("query"))
    )


def read_query_fields(request: SearchRequest) -> tuple[str, ...]:
    """The text fields that the query itself names, for where the mapping tells none."""
    return tuple(find_query_fields(request.value("query")))


def shows_source(request: SearchRequest) -> bool:
    """Whether each hit will carry its whole `_source`."""
    if any(plain(key).startswith("_source") for key, _ in request.parameters):
        return False
    source = request.body.get("_source")
    return source is None or bytes(source).strip() == b"true"


@dataclass(frozen=True)
class Additions:
    """What the proxy asks for beyond the client's own wishes, by path."""

    fields: tuple[str, ...] = ()
    docvalue_fields: tuple[str, ...] = ()


def widen(request: SearchRequest, hits: int, additions: Additions) -> SearchRequest:
    """Ask for the first `hits` hits, with what the model and the kernel need."""
    body = dict(request.body)
    body["from"] = msgspec.Raw(b"0")
    body["size"] = msgspec.Raw(str(hits).encode())
    for name, paths in (
        ("fields", additions.fields),
        ("docvalue_fields", additions.docvalue_fields),
    ):
        if paths:
            present = RAW_LIST.decode(body.get(name, b"[]"))
            body[name] = msgspec.Raw(msgspec.json.encode([*present, *paths]))
    parameters = tuple((k, v) for k, v in request.parameters if plain(k) not in {"from", "size"})
    return replace(request, body=body, parameters=parameters, edited=True)


def choose_additions(
    request: SearchRequest, text: Iterable[str], others: Iterable[str], code: str | None
) -> Additions:
    """What must be asked for: the code always, other fields only where `_source` is not shown.

    What the client's own wishes bring into a hit's `fields` is never asked for again: that could
    change its form, and it must stay in the answer.
    """
    own = own_fields(request)
    docvalue = () if code is None or asked_for(own, code) else (code,)
    if shows_source(request):
        return Additions((), docvalue)
    paths = dict.fromkeys([*text, *others])
    return Additions(tuple(path for path in paths if not asked_for(own, path)), docvalue)


def own_fields(request: SearchRequest) -> list[str]:
    """Paths and patterns of what the client's own wishes bring into a hit's `fields`."""
    wishes = [*(request.value("fields") or ()), *(request.value("docvalue_fields") or ())]
    named = [item.get("field") if isinstance(item, Mapping) else item for item in wishes]
    scripts, collapse = request.value("script_fields"), request.value("collapse")
    if isinstance(scripts, dict):
        named.extend(scripts)
    if isinstance(collapse, dict):
        named.append(collapse.get("field"))
    named.extend((request.parameter("docvalue_fields") or "").split(","))
    return [name for name in named if isinstance(name, str) and name]


def asked_for(patterns: Iterable[str], path: str) -> bool:
    """Whether a path is among the patterns."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


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
