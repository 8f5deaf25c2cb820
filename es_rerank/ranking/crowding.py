"""Crowding: at most so many hits of one attribute value among so many consecutive ones."""

from __future__ import annotations

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
    waiting = [int(i) for i in order]
    placed: list[int] = []

    def fits(i: int) -> bool:
        for cap, values in active:
            if values[i] is None:
                continue
            recent = placed[max(0, len(placed) - cap.per + 1) :]
            if sum(values[j] == values[i] for j in recent) >= cap.max_count:
                return False
        return True

    while waiting:
        place = next((k for k, i in enumerate(waiting) if fits(i)), 0)
        placed.append(waiting.pop(place))
    return np.array(placed, dtype=np.int64)
