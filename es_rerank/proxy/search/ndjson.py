"""`_msearch` bodies: pairs of lines, a header and a search, kept as the bytes they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.request import UNREADABLE


@dataclass(frozen=True)
class Item:
    """One search of an `_msearch`.

    header, body: its two lines. index: a raw index expression, empty for all indices.
    parameters: the header's other keys, as the query string of that search alone would have them.
    """

    header: bytes
    body: bytes
    index: bytes
    parameters: tuple[tuple[bytes, bytes], ...] = ()


def read_items(body: bytes, index: bytes) -> list[Item]:
    """Read an `_msearch` body. `index` is that of the path, for headers that name none.

    A last header without a search is passed over as the engine does. Raises BodyError where a
    header cannot be read or the last line is not ended, since the cluster refuses such a body as a
    whole, and where the first line is empty: that is a header to Elasticsearch from version 8 on,
    and nothing to the others.
    """
    lines = body.split(b"\n")
    if lines.pop() or not lines or not lines[0]:
        raise BodyError("body")
    pairs = zip(lines[::2], lines[1::2], strict=False)
    items = [read_item(header, search, index) for header, search in pairs]
    if not items:
        raise BodyError("body")
    return items


def read_item(header: bytes, body: bytes, index: bytes) -> Item:
    """Read one pair of lines. Raises BodyError."""
    try:
        keys = msgspec.json.decode(header, type=dict[str, Any]) if header else {}
    except UNREADABLE:
        raise BodyError("body") from None
    named = keys.pop("index", keys.pop("indices", None))
    if named is not None:
        index = quote(join_values(named), safe=",*").encode()
        if not index:
            raise BodyError("body")
    parameters = tuple(
        (quote(key).encode(), quote(join_values(value)).encode()) for key, value in keys.items()
    )
    return Item(header, body, index, parameters)


def join_values(value: Any) -> str:
    """A header's value as a parameter has it. Raises BodyError for what none can have."""
    if isinstance(value, list):
        return ",".join(join_values(part) for part in value)
    if value is None or isinstance(value, dict):
        raise BodyError("body")
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_items(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers and searches as an `_msearch` body."""
    return b"".join(header + b"\n" + body + b"\n" for header, body in pairs)
