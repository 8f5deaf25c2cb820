"""Diversity by a plain cap: at most so many hits of one attribute value among consecutive ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from es_rerank.ranking.crowding import Cap, place
from es_rerank.ranking.diversity.kernel import Array, Ids, Kernel


@dataclass(frozen=True)
class Capper:
    """Orders by relevance as far as a cap allows, whatever the strength, unless that is 0.

    field: the attribute's name; the index's first attribute where it has none of that name.
    """

    max_count: int = 3
    per: int = 10
    field: str = "brand"

    def __call__(self, relevance: Array, kernel: Kernel, diversity: float) -> Ids:
        """Return (n,) positions, a permutation."""
        by_relevance = np.argsort(-relevance, kind="stable")
        if diversity <= 0 or not kernel.names:
            return by_relevance
        row = kernel.names.index(self.field) if self.field in kernel.names else 0
        cap = Cap(kernel.names[row], self.max_count, self.per)
        placed, _ = place([(cap, kernel.codes[row][by_relevance])])
        order: Ids = by_relevance[placed]
        return order
