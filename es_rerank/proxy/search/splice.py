"""The search answer: hits taken apart and put together again as the raw bytes they came in.

Only their order, `_score`, what the proxy asked for on top, `_explanation` where it was wanted, and
`took` change. The body keeps its totals, aggregations and every byte of every `_source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from es_rerank.proxy.search.additions import Additions

RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
WHITE = b" \t\r\n"
FIELD_MEMBERS = ("fields", "ignored_field_values")
"""A hit's members that show fields: their values, and those that were not indexed."""


RawHit = Mapping[str, msgspec.Raw]


class AnswerError(Exception):
    """The answer does not have the shape of a search's."""


@dataclass(frozen=True)
class SearchAnswer:
    """A search answer in parts; `hits` holds each hit's raw members."""

    body: dict[str, msgspec.Raw]
    hits_object: dict[str, msgspec.Raw]
    hits: list[dict[str, msgspec.Raw]]


class _Hits(msgspec.Struct):
    hits: list[dict[str, msgspec.Raw]]


class _Answer(msgspec.Struct):
    hits: _Hits


ANSWER = msgspec.json.Decoder(_Answer)


def read_answer(body: bytes) -> SearchAnswer:
    """Take an answer apart. Raises AnswerError when it holds no list of hits."""
    try:
        hits = ANSWER.decode(body).hits.hits
        whole = RAW_OBJECT.decode(cut_hits(body, hits))
        hits_object = RAW_OBJECT.decode(whole["hits"])
    except UNREADABLE as error:
        raise AnswerError(str(error)) from None
    return SearchAnswer(whole, hits_object, hits)


def cut_hits(body: bytes, hits: Sequence[RawHit]) -> bytes:
    """The answer with its list of hits empty, so that nothing else reads them again.

    All of it where the list's ends are not plain to see.
    """
    if not hits or not hits[0] or not hits[-1]:
        return body
    name, first = next(iter(hits[0].items()))
    last = list(hits[-1].values())[-1]
    zero, ended = address(body), address(last) - address(body) + len(memoryview(last))
    start, end = body.rfind(b"{", 0, address(first) - zero), body.find(b"}", ended)
    opening = body[start : address(first) - zero].translate(None, WHITE)
    if (
        opening != b'{"' + name.encode() + b'":'
        or body[ended:end].strip()
        or not body[:start].rstrip().endswith(b"[")
        or not body[end + 1 :].lstrip().startswith(b"]")
    ):
        return body
    return body[:start] + body[end + 1 :]


def address(part: bytes | msgspec.Raw) -> int:
    """Where the bytes lie; those of a Raw lie within what it was decoded from."""
    return int(np.frombuffer(part, np.uint8).__array_interface__["data"][0])


def place_hits(
    answer: SearchAnswer,
    order: Sequence[int],
    start: int,
    size: int,
    additions: Additions,
    explanations: Mapping[int, Any],
    window: int | None = None,
) -> list[bytes]:
    """Write the page's hits.

    order: engine positions of the window in their new order; hits past it follow as they came.
    window: how many hits the window has, where the order leaves some of them out.
    Place i bears the engine's i-th `_score`, so that scores fall along every page, agree with the
    untouched tail and leave `max_score` true. explanations: by engine position, what to show as
    `_explanation`.
    """
    window = len(order) if window is None else window
    final = [*order, *range(window, len(answer.hits))]
    added = {*additions.fields, *additions.docvalue_fields}
    page = []
    for place in range(start, min(start + size, len(final))):
        position = final[place]
        hit = dict(answer.hits[position])
        moved = position < window and position != place
        if "_score" in hit and moved:
            hit["_score"] = answer.hits[place].get("_score", hit["_score"])
        for name in FIELD_MEMBERS:
            if added and name in hit:
                drop_fields(hit, name, added)
        for name in additions.hidden:
            hit.pop(name, None)
        if position in explanations:
            hit["_explanation"] = msgspec.Raw(
                msgspec.json.encode(explain_hit(hit, explanations[position]))
            )
        elif "_explanation" in hit and moved:
            told = {"description": "es-rerank: the score of this place", "details": []}
            hit["_explanation"] = msgspec.Raw(msgspec.json.encode(explain_hit(hit, told)))
        page.append(msgspec.json.encode(hit))
    return page


def drop_fields(hit: dict[str, msgspec.Raw], name: str, added: set[str]) -> None:
    """Take the added paths out of a hit's member, and it too where nothing else is left in it.

    What cannot be read as an object of lists stays as it is.
    """
    try:
        left = drop_paths(RAW_OBJECT.decode(hit[name]), added)
    except UNREADABLE:
        return
    if left:
        hit[name] = msgspec.Raw(msgspec.json.encode(left))
    else:
        del hit[name]


def drop_paths(fields: Mapping[str, msgspec.Raw], paths: set[str]) -> dict[str, msgspec.Raw]:
    """The fields without those paths; of a nested field, whose value is objects, its own fields."""
    left = {}
    for name, raw in fields.items():
        inner = {path[len(name) + 1 :] for path in paths if path.startswith(f"{name}.")}
        if inner and bytes(raw).lstrip(b"[ \r\n\t").startswith(b"{"):
            items = [drop_paths(RAW_OBJECT.decode(item), inner) for item in RAW_LIST.decode(raw)]
            if any(items):
                left[name] = msgspec.Raw(msgspec.json.encode([item for item in items if item]))
        elif name not in paths:
            left[name] = raw
    return left


def explain_hit(hit: Mapping[str, msgspec.Raw], own: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap the engine's explanation in ours; the value is the score that the hit shows."""
    engine = [hit["_explanation"]] if "_explanation" in hit else []
    value = hit.get("_score", msgspec.Raw(b"null"))
    return {
        "value": value,
        "description": own["description"],
        "details": [*own["details"], *engine],
    }


def write_answer(answer: SearchAnswer, page: Sequence[bytes], added_ms: int, pretty: bool) -> bytes:
    """Put the answer together around the page's hits."""
    hits_object = dict(answer.hits_object)
    hits_object["hits"] = msgspec.Raw(b"[" + b",".join(page) + b"]")
    body = dict(answer.body)
    took = bytes(body.get("took", b""))
    if added_ms and took.isdigit():
        body["took"] = msgspec.Raw(str(int(took) + added_ms).encode())
    body["hits"] = msgspec.Raw(msgspec.json.encode(hits_object))
    written = msgspec.json.encode(body)
    return msgspec.json.format(written, indent=2) + b"\n" if pretty else written
