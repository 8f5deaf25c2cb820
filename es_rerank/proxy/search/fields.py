"""Which fields of an index hold texts, attributes, a price and codes: from settings and mapping."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote, unquote

import msgspec

from es_rerank.cluster.fields import IndexFields, find_fields, list_paths, merge_fields
from es_rerank.config import IndexSettings
from es_rerank.proxy.answer import Header
from es_rerank.proxy.search.request import SearchRequest
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError, principal

NOTHING = IndexFields(text=(), attributes=(), price=None, vector=None, code=None, model=None)
MAPPING_BYTES = 20_000_000
FRESH_S = 30.0
RETRY_S = 5.0
ENTRIES = 1000
MOST_INDICES = 100


@dataclass(frozen=True)
class Mapped:
    """What the mappings of an index expression tell. paths: as cluster.fields lists them."""

    fields: IndexFields = NOTHING
    paths: frozenset[str] = frozenset()


class FieldCatalog:
    """Fields by index expression, read from the mapping with the caller's own credentials.

    Kept for half a minute for each caller, so that nobody learns of a mapping he may not read.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: OrderedDict[tuple[bytes, bytes], tuple[float, Mapped]] = OrderedDict()
        self._points: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    async def find(
        self, index: bytes, headers: Iterable[Header], as_proxy: bool = True
    ) -> IndexFields:
        """The fields of a raw index expression (empty for all indices).

        as_proxy: ask with the proxy's own credentials where the caller shows none, as may be done
        for a search, which the cluster then judges itself. NOTHING when the mapping cannot be read;
        asked again a little later.
        """
        return (await self._find(index, headers, as_proxy)).fields

    async def find_unknown(
        self, named: Iterable[str], index: bytes, headers: Iterable[Header]
    ) -> tuple[str, ...]:
        """Those of the named fields that no mapping of the index has; none where none was read."""
        named = tuple(dict.fromkeys(named))
        if not named:
            return ()
        paths = (await self._find(index, headers, as_proxy=True)).paths
        return tuple(name for name in named if paths and not holds_path(paths, name))

    async def find_indices(self, request: SearchRequest) -> bytes:
        """The indices of a search's point in time, as a raw index expression; empty where they
        cannot be told. Asked for with the caller's credentials."""
        counted = {"indices": {"terms": {"field": "_index", "size": MOST_INDICES}}}
        body = {"pit": request.value("pit"), "size": 0, "track_total_hits": False, "aggs": counted}
        own = list(principal(request.headers)) or self._upstream.own_credentials()
        headers = [*own, (b"content-type", b"application/json")]
        key = hashlib.sha256(repr((headers, body)).encode()).digest()
        known = self._points.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        sent = msgspec.json.encode(body)
        try:
            answer = await self._upstream.ask("POST", b"/_search", headers, sent, MAPPING_BYTES)
            buckets = msgspec.json.decode(answer.body)["aggregations"]["indices"]["buckets"]
            names = [quote(bucket["key"], safe="").encode() for bucket in buckets]
        except (UpstreamError, AnswerTooLargeError, msgspec.DecodeError, KeyError, TypeError):
            return b""
        self._points[key] = (time.monotonic() + FRESH_S, b",".join(names))
        while len(self._points) > ENTRIES:
            self._points.popitem(last=False)
        return b",".join(names)

    async def _find(self, index: bytes, headers: Iterable[Header], as_proxy: bool) -> Mapped:
        own = self._upstream.own_credentials() if as_proxy else []
        credentials = list(principal(headers)) or own
        digest = hashlib.sha256(repr(credentials).encode()).digest()
        key = (index, digest)
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        mapped = await self._read(index, credentials)
        kept_s = RETRY_S if mapped.fields is NOTHING else FRESH_S
        self._known[key] = (time.monotonic() + kept_s, mapped)
        self._known.move_to_end(key)
        while len(self._known) > ENTRIES:
            self._known.popitem(last=False)
        return mapped

    async def _read(self, index: bytes, credentials: list[Header]) -> Mapped:
        target = (b"/" + index if index else b"") + b"/_mapping"
        try:
            answer = await self._upstream.ask("GET", target, credentials, None, MAPPING_BYTES)
            if answer.status != 200:
                return Mapped()
            mappings = msgspec.json.decode(answer.body, type=dict[str, dict[str, object]])
        except (UpstreamError, AnswerTooLargeError, msgspec.DecodeError):
            return Mapped()
        shown = [
            mapping
            for name, entry in mappings.items()
            if not name.startswith(".") and isinstance(mapping := entry.get("mappings"), Mapping)
        ]
        if not shown:
            return Mapped()
        fields = merge_fields([find_fields(mapping) for mapping in shown])
        return Mapped(fields, frozenset(path for mapping in shown for path in list_paths(mapping)))


def holds_path(paths: Collection[str], path: str) -> bool:
    """Whether a path is mapped, or lies in an object whose members are not."""
    parents = [path[:i] for i, letter in enumerate(path) if letter == "."]
    return path in paths or any(f"{parent}.*" in paths for parent in parents)


def find_index_settings(
    index: bytes, settings: Mapping[str, IndexSettings]
) -> IndexSettings | None:
    """The settings whose name or pattern fits the first part of an index expression."""
    names = [name.strip() for name in unquote(index.decode("latin-1")).split(",")]
    for name in names:
        if name in settings:
            return settings[name]
    for pattern, found in settings.items():
        if any(fnmatchcase(name, pattern) for name in names):
            return found
    return None
