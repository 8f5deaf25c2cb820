"""Crowding: at most so many hits of one attribute value among so many consecutive ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.diversity.kernel import number_values

Mode = Literal["demote", "drop"]


@dataclass(frozen=True)
class Cap:
    """At most `max_count` hits with one value of `field` in any `per` consecutive hits.

    mode: what becomes of the others when nothing else is left: `demote` lets them break the cap at
    the end of the list, `drop` leaves them out.
    """

    field: str
    max_count: int
    per: int = 10
    mode: Mode = "demote"


def crowd(
    order: NDArray[np.int64], attributes: Mapping[str, Sequence[str | None]], caps: Sequence[Cap]
) -> tuple[NDArray[np.int64], int]:
    """Reorder so that the caps hold while any candidate is left that keeps them.

    Each place takes the first candidate of `order` that breaks no cap over the `per` places that
    end there; when all that is left break one, the first of them that breaks none of mode `drop`.
    When there is none such either, the list ends: what is left is dropped. A missing value is never
    capped. Returns a permutation of `order`, and how many at its end are dropped.
    """
    active = [
        (cap, number_values([values[int(i)] for i in order]))
        for cap in caps
        if (values := attributes.get(cap.field)) is not None
    ]
    if not active:
        return order, 0
    places, dropped = place(active)
    return order[places], dropped


def place(active: Sequence[tuple[Cap, NDArray[np.int32]]]) -> tuple[NDArray[np.int64], int]:
    """`crowd` for candidates in order, given each cap with their (n,) numbered values."""
    n = len(active[0][1])
    counts = [Count(cap, codes) for cap, codes in active]
    hard = [count for count in counts if count.cap.mode == "drop"]
    free = np.ones(n, dtype=np.bool_)
    placed: list[int] = []
    for _ in range(n):
        for binding in (counts, hard):
            fitting = free
            for count in binding:
                if count.full:
                    fitting = fitting & count.open[count.codes]
            best = int(fitting.argmax())
            if fitting[best]:
                break
        else:
            break
        free[best] = False
        placed.append(best)
        for count in counts:
            count.add(count.codes[best], 1)
            if len(placed) >= count.cap.per:
                count.add(count.codes[placed[-count.cap.per]], -1)
    return np.concatenate([np.array(placed, np.int64), np.flatnonzero(free)]), n - len(placed)


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
