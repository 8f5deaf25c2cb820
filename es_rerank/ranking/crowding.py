"""Crowding: at most so many hits of one attribute value among so many consecutive ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.diversity.kernel import number_values


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
    active = [
        Count(cap, number_values([values[int(i)] for i in order]))
        for cap in caps
        if (values := attributes.get(cap.field)) is not None
    ]
    if not active:
        return order
    n = len(order)
    free = np.ones(n, dtype=np.bool_)
    placed: list[int] = []
    for _ in range(n):
        fitting = free
        for count in active:
            if count.full:
                fitting = fitting & count.open[count.codes]
        place = int(fitting.argmax())
        if not fitting[place]:
            place = int(free.argmax())
        free[place] = False
        placed.append(place)
        for count in active:
            count.add(count.codes[place], 1)
            if len(placed) >= count.cap.per:
                count.add(count.codes[placed[-count.cap.per]], -1)
    return order[placed]


class Count:
    """How often each value stands among the last places that a cap looks at.

    codes: (n,) a number per value, below 0 where it is missing. open: which values may come next,
    by their number; the last is the missing one's, and is always open. full: how many may not.
    """

    def __init__(self, cap: Cap, codes: NDArray[np.int32]) -> None:
        self.cap = cap
        self.codes = np.maximum(codes, -1)
        self.open = np.ones(len(codes) + 1, dtype=np.bool_)
        self.full = 0
        self._counts = [0] * (len(codes) + 1)

    def add(self, code: int, change: int) -> None:
        """A value has come to the places looked at, or gone from them."""
        if code < 0:
            return
        self._counts[code] += change
        opened = self._counts[code] < self.cap.max_count
        if opened != self.open[code]:
            self.open[code] = opened
            self.full += -1 if opened else 1
