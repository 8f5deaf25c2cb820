"""`filter_path`: which parts of an answer the client wants, cut as both engines cut them.

A search that is reranked needs whole hits, so the parameter does not go to the cluster, and its
answer is cut here; errors, as with the engines, stay whole. Values stay the bytes they are, without
white space between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from es_rerank.proxy.search.request import RAW_LIST, RAW_OBJECT, SearchRequest, plain

Path = tuple[str, ...]
"""What is left of a pattern: its segments from here on."""


class FilterError(Exception):
    """What the engine would show cannot be told for certain."""


@dataclass(frozen=True)
class Filter:
    """The patterns of a `filter_path`: of what is shown, all where there are none, and of what is
    not."""

    included: tuple[Path, ...]
    excluded: tuple[Path, ...]

    def cut(self, answer: bytes) -> bytes:
        """The answer's wanted parts. Raises FilterError where an exclusion meets an empty object
        or list, which some versions show and others do not."""
        raw = msgspec.json.format(answer, indent=-1)
        if self.included:
            raw = include(raw, self.included) or b"{}"
        if self.excluded:
            raw = exclude(raw, self.excluded) or b"{}"
        return raw


def read_filter(request: SearchRequest) -> Filter | None:
    """The request's filter; None where it has none.

    Raises FilterError for patterns that the engines read in different ways.
    """
    given = [plain(value) for key, value in request.parameters if plain(key) == "filter_path"]
    if len(given) > 1:
        raise FilterError
    patterns = [pattern for pattern in (given[0].split(",") if given else []) if pattern]
    if any(pattern != pattern.strip() or "\\" in pattern for pattern in patterns):
        raise FilterError
    included = [tuple(p.split(".")) for p in patterns if not p.startswith("-")]
    excluded = [tuple(p[1:].split(".")) for p in patterns if p.startswith("-")]
    if not all(all(path) for path in [*included, *excluded]):
        raise FilterError
    return Filter(tuple(included), tuple(excluded)) if patterns else None


def include(raw: bytes, paths: Sequence[Path]) -> bytes | None:
    """What lies on the paths, in whole; None where nothing does."""
    kept: list[bytes] = []
    if raw.startswith(b"{"):
        for name, value in RAW_OBJECT.decode(raw).items():
            further = step(paths, name)
            part = bytes(value) if further is None else include(bytes(value), further)
            if part is not None:
                kept.append(msgspec.json.encode(name) + b":" + part)
        return b"{" + b",".join(kept) + b"}" if kept else None
    if raw.startswith(b"[") and paths:
        parts = (include(bytes(item), paths) for item in RAW_LIST.decode(raw))
        kept = [part for part in parts if part is not None]
        return b"[" + b",".join(kept) + b"]" if kept else None
    return None


def exclude(raw: bytes, paths: Sequence[Path]) -> bytes | None:
    """What does not lie on the paths; None where nothing is left."""
    kept: list[bytes] = []
    if not paths or not raw.startswith((b"{", b"[")):
        return raw
    if raw in {b"{}", b"[]"}:
        raise FilterError
    if raw.startswith(b"{"):
        for name, value in RAW_OBJECT.decode(raw).items():
            further = step(paths, name)
            part = None if further is None else exclude(bytes(value), further)
            if part is not None:
                kept.append(msgspec.json.encode(name) + b":" + part)
        return b"{" + b",".join(kept) + b"}" if kept else None
    parts = (exclude(bytes(item), paths) for item in RAW_LIST.decode(raw))
    kept = [part for part in parts if part is not None]
    return b"[" + b",".join(kept) + b"]" if kept else None


def step(paths: Sequence[Path], name: str) -> list[Path] | None:
    """The paths that go on below that name; None where one of them ends there."""
    further: list[Path] = []
    for path in paths:
        if glob(path[0]).fullmatch(name):
            if len(path) == 1:
                return None
            further.append(path[1:])
        if path[0] == "**":
            further.append(path)
    return further


@lru_cache(maxsize=1000)
def glob(segment: str) -> re.Pattern[str]:
    """A segment as a pattern in which `*` is any text."""
    parts = (re.escape(part) for part in segment.split("*"))
    return re.compile(".*".join(parts), re.DOTALL)
