"""Whether reranking helps an index, as `es-rerank eval` found and wrote down in its mapping.

The verdict is `_meta.es_rerank.verdict`: it goes where the index goes, and goes with it. The proxy
reads it with the fields, since that mapping is what it asks for anyway. Pure: no client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Finding = Literal["helps", "does-not-help", "unclear"]
KEY = "verdict"


@dataclass(frozen=True)
class Verdict:
    """What was found by comparing the reranked run with the engine's own order.

    difference: the mean of ours - the engine's, with its interval [low, high], over `queries`
    queries. model: the scorer that it holds for. measured_at: ISO 8601, UTC.
    """

    finding: Finding
    measure: str
    queries: int
    difference: float
    low: float
    high: float
    model: str
    measured_at: str
    version: str = ""


def read_verdict(own: Mapping[str, Any]) -> Verdict | None:
    """The verdict in a mapping's `_meta.es_rerank`; None where there is none that can be read."""
    found = own.get(KEY)
    if not isinstance(found, Mapping) or found.get("finding") not in get_args(Finding):
        return None
    known = {field.name: found[field.name] for field in fields(Verdict) if field.name in found}
    if not all(isinstance(known.get(name), str) for name in ("measure", "model", "measured_at")):
        return None
    numbers = ("queries", "difference", "low", "high")
    if not all(isinstance(known.get(name), int | float) for name in numbers):
        return None
    return Verdict(**known)


def merge_verdicts(found: Sequence[Verdict | None]) -> Verdict | None:
    """The verdict on several indices: the first, where all have one and find the same."""
    same = {(verdict.finding, verdict.model) if verdict else None for verdict in found}
    return found[0] if len(same) == 1 else None
