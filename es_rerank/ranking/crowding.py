"""Crowding: at most so many hits of one attribute value among so many consecutive ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cap:
    """At most `max_count` hits with one value of `field` in any `per` consecutive hits."""

    field: str
    max_count: int
    per: int = 10


def demote(
    order: NDArray[np.int64], attributes: Mapping[str, Sequence[str | None]], caps: Sequence[Cap]
) -> NDArray[np.int64]:
    """Reorder so that the caps hold while any candidate is left that keeps them.

    Each place takes the first candidate of `order` that breaks no cap over the `per` places that
    end there; when all that is left break one, the first of them. A missing value is never capped.
    Returns a permutation of `order`.
    """
    active = [(cap, attributes[cap.field]) for cap in caps if cap.field in attributes]
    if not active:
        return order
    kinds = {int(i): tuple(values[i] for _, values in active) for i in order}
    waiting = list(kinds)
    placed: list[int] = []
    recent: list[Counter[str | None]] = [Counter() for _ in active]  # over the last per - 1 places

    def fits(kind: tuple[str | None, ...]) -> bool:
        return all(
            value is None or counts[value] < cap.max_count
            for value, counts, (cap, _) in zip(kind, recent, active, strict=True)
        )

    while waiting:
        refused: set[tuple[str | None, ...]] = set()  # many candidates are of one kind: ask once
        place = 0
        for k, i in enumerate(waiting):
            if kinds[i] not in refused:
                if fits(kinds[i]):
                    place = k
                    break
                refused.add(kinds[i])
        placed.append(waiting.pop(place))
        for counts, (cap, values) in zip(recent, active, strict=True):
            counts[values[placed[-1]]] += 1
            if len(placed) >= cap.per:
                counts[values[placed[-cap.per]]] -= 1
    return np.array(placed, dtype=np.int64)
