"""Which fields of an index hold texts, attributes, a price and codes: from settings and mapping."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from urllib.parse import unquote

import msgspec

from es_rerank.cluster.fields import IndexFields, find_fields, merge_fields
from es_rerank.config import IndexSettings
from es_rerank.proxy.answer import Header
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError, principal

NOTHING = IndexFields(text=(), attributes=(), price=None, vector=None, code=None, model=None)
MAPPING_BYTES = 20_000_000
FRESH_S = 30.0
RETRY_S = 5.0
ENTRIES = 1000


class FieldCatalog:
    """Fields by index expression, read from the mapping with the caller's own credentials.

    Kept for half a minute for each caller, so that nobody learns of a mapping he may not read.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: OrderedDict[tuple[bytes, bytes], tuple[float, IndexFields]] = OrderedDict()

    async def find(
        self, index: bytes, headers: Iterable[Header], as_proxy: bool = True
    ) -> IndexFields:
        """The fields of a raw index expression (empty for all indices).

        as_proxy: ask with the proxy's own credentials where the caller shows none, as may be done
        for a search, which the cluster then judges itself. NOTHING when the mapping cannot be read;
        asked again a little later.
        """
        own = self._upstream.own_credentials() if as_proxy else []
        credentials = list(principal(headers)) or own
        digest = hashlib.sha256(repr(credentials).encode()).digest()
        key = (index, digest)
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        fields = await self._read(index, credentials)
        kept_s = RETRY_S if fields is NOTHING else FRESH_S
        self._known[key] = (time.monotonic() + kept_s, fields)
        self._known.move_to_end(key)
        while len(self._known) > ENTRIES:
            self._known.popitem(last=False)
        return fields

    async def _read(self, index: bytes, credentials: list[Header]) -> IndexFields:
        target = (b"/" + index if index else b"") + b"/_mapping"
        try:
            answer = await self._upstream.ask("GET", target, credentials, None, MAPPING_BYTES)
            if answer.status != 200:
                return NOTHING
            mappings = msgspec.json.decode(answer.body, type=dict[str, dict[str, object]])
        except (UpstreamError, AnswerTooLargeError, msgspec.DecodeError):
            return NOTHING
        shown = [
            find_fields(mapping)
            for name, entry in mappings.items()
            if not name.startswith(".") and isinstance(mapping := entry.get("mappings"), Mapping)
        ]
        return merge_fields(shown) if shown else NOTHING


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
