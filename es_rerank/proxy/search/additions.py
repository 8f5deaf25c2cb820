"""What the proxy asks for on top of the client's own wishes, and never shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from es_rerank.proxy.search.request import RAW_LIST, SearchRequest, plain

NO_STORED_FIELDS = "_none_"
UNSTORED = ("_id", "_routing", "_ignored")
"""What hits do not show without stored fields."""
REWRITTEN = {"from", "size", "filter_path"}
"""Parameters of the client's that do not go to the cluster: its answer must hold whole hits."""


@dataclass(frozen=True)
class Additions:
    """What the proxy asks for beyond the client's own wishes, by path."""

    fields: tuple[str, ...] = ()
    docvalue_fields: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    """A hit's members that the client does not want, but the proxy."""


def shows_source(request: SearchRequest) -> bool:
    """Whether each hit will carry its whole `_source`."""
    if any(plain(key).startswith("_source") for key, _ in request.parameters):
        return False
    source = request.body.get("_source")
    if source is None and (stored := read_stored_fields(request)) is not None:
        return "_source" in stored
    if source is None:
        return "script_fields" not in request.body  # beside these it must be asked for
    return bytes(source).strip() == b"true"


def read_stored_fields(request: SearchRequest) -> list[str] | None:
    """The `stored_fields` asked for; those of the URL win. None where there are none.

    What is no list of names counts as `_none_` and more, which no engine takes.
    """
    given: Any = request.parameter("stored_fields")
    if given is not None:
        return str(given).split(",")
    given = request.value("stored_fields")
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return [NO_STORED_FIELDS, "?"]
    return names


def can_store(request: SearchRequest) -> bool:
    """Whether the `stored_fields` leave room for what the proxy asks for.

    `_none_` hides the hits' ids too, and is no longer itself beside `_source` or `fields`, nor on
    Elasticsearch beside `highlight`: the cluster shall judge that.
    """
    stored = read_stored_fields(request)
    if stored is None or NO_STORED_FIELDS not in stored:
        return True
    shown = "_source" in request.body or any(
        plain(key).startswith("_source") for key, _ in request.parameters
    )
    others = {"fields", "highlight"}
    return stored == [NO_STORED_FIELDS] and not shown and others.isdisjoint(request.body)


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
    rewritten = REWRITTEN
    if additions.hidden:
        rewritten = rewritten | {"stored_fields"}
        body.pop("stored_fields", None)
        body["_source"] = msgspec.Raw(b"false")
    parameters = tuple((k, v) for k, v in request.parameters if plain(k) not in rewritten)
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
    hidden = UNSTORED if read_stored_fields(request) == [NO_STORED_FIELDS] else ()
    return Additions(tuple(path for path in paths if not asked_for(own, path)), docvalue, hidden)


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
    named.extend(read_stored_fields(request) or ())
    return [name for name in named if isinstance(name, str) and name]


def asked_for(patterns: Iterable[str], path: str) -> bool:
    """Whether a path is among the patterns."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)
