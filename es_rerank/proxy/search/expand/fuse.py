"""Several lists of hits as one: the window by reciprocal rank, then the client's own list."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from es_rerank.proxy.search.splice import RawHit, SearchAnswer, explain_hit

K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""


@dataclass(frozen=True)
class Found:
    """The hits of one further search, best first, and what it is called."""

    name: str
    hits: Sequence[RawHit]


@dataclass(frozen=True)
class Fused:
    """An answer whose list is the fused one.

    ranks: of each place of the window, the rank from 1 in each search that found the hit, by name.
    """

    answer: SearchAnswer
    ranks: Sequence[Mapping[str, int]] = field(default_factory=tuple)


def fuse(own: SearchAnswer, others: Sequence[Found], window: int) -> Fused:
    """Join the client's own hits, from the first on, with those of further searches.

    The window is the first W of all hits by the sum of 1 / (60 + rank) over the searches' first W,
    ties by the own rank, then by the others'. What follows is the own list without the window's
    hits. Nothing here depends on how many own hits past W were asked for, so every page is a slice
    of one list, as long as at least `from + size` own hits were.

    Scores are by place, as ADR 0001 has it: place i bears the i-th own `_score`. Past the last own
    one, where hits that the words do not find stand at the list's end, they go on falling towards
    zero; where the words find nothing at all, each place bears the score that the first of the
    other searches gave its hit of that place.
    """
    ranks: dict[tuple[bytes, ...], dict[str, int]] = {}
    hits: dict[tuple[bytes, ...], RawHit] = {}
    lists = [Found("words", own.hits[:window]), *others]
    for found in lists:
        for rank, hit in enumerate(found.hits[:window], start=1):
            key = identify(hit)
            hits.setdefault(key, hit)
            ranks.setdefault(key, {}).setdefault(found.name, rank)
    names = [found.name for found in lists]

    def precedence(key: tuple[bytes, ...]) -> tuple[float, ...]:
        by_name = ranks[key]
        value = math.fsum(1 / (K + rank) for rank in by_name.values())
        return (-value, *(by_name.get(name, math.inf) for name in names))

    first = sorted(ranks, key=precedence)[:window]
    chosen = set(first)
    listed = [hits[key] for key in first]
    listed += [hit for hit in own.hits if identify(hit) not in chosen]
    scores = score_places(own.hits, others, len(listed))
    placed = [place_hit(hit, score) for hit, score in zip(listed, scores, strict=True)]
    hits_object = own.hits_object
    if not own.hits and placed and bytes(hits_object.get("max_score", b"")) == b"null":
        hits_object = {**hits_object, "max_score": scores[0]}
    answer = replace(own, hits=placed, hits_object=hits_object)
    return Fused(answer, [ranks[key] for key in first])


def identify(hit: RawHit) -> tuple[bytes, ...]:
    """What tells one document from another: index, id and routing."""
    return tuple(bytes(hit.get(name, b"")) for name in ("_index", "_id", "_routing"))


def score_places(own: Sequence[RawHit], others: Sequence[Found], count: int) -> list[msgspec.Raw]:
    """The `_score` of each place, never rising."""
    null = msgspec.Raw(b"null")
    scores = [hit.get("_score", null) for hit in own[:count]]
    if not scores:
        scores = [hit.get("_score", null) for found in others[:1] for hit in found.hits[:count]]
    missing = count - len(scores)
    if missing <= 0:
        return scores
    last = msgspec.json.decode(scores[-1]) if scores else None
    if not isinstance(last, int | float):
        return scores + [null] * missing
    # Downwards from the last score, towards 0 (away from it, should an engine score below 0).
    steps = (K / (K + step) if last > 0 else (K + step) / K for step in range(1, missing + 1))
    return scores + [msgspec.Raw(msgspec.json.encode(last * step)) for step in steps]


def place_hit(hit: RawHit, score: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The hit with its place's score; an engine's explanation is wrapped where it differs."""
    placed = dict(hit)
    if "_score" not in hit or bytes(hit["_score"]) == bytes(score):
        return placed
    placed["_score"] = score
    if "_explanation" in hit:
        moved = {"description": "es-rerank: the score of this place", "details": []}
        placed["_explanation"] = msgspec.Raw(msgspec.json.encode(explain_hit(placed, moved)))
    return placed


def explain_ranks(
    explanations: Mapping[int, Mapping[str, Any]], ranks: Sequence[Mapping[str, int]]
) -> dict[int, dict[str, Any]]:
    """Add to each hit's explanation, by position in the window, which searches found it where."""
    return {
        position: {
            **told,
            "details": [
                *told["details"],
                *(
                    {"value": rank, "description": f"rank by {name}", "details": []}
                    for name, rank in ranks[position].items()
                ),
            ],
        }
        for position, told in explanations.items()
    }
