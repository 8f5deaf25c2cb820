"""Candidates: the engine's hits of one rank window, as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Text = str | None
Value = str | None


@dataclass(frozen=True)
class Candidates:
    """The rank window, in first-stage order.

    first_stage: (n,) the engine's `_score`.
    texts: n texts, None or "" where a document has none.
    vectors: (n, d) unit rows, zeros where `has_vector` is False; None when no document has one.
    has_vector: (n,) bool; None when every row of `vectors` counts.
    attributes: per attribute n values, None where a document has none.
    values: per field that a signal reads, n lists of its values as the document has them.
    facets: (n, e) unit rows z(query, document), by a model that reads both: in which way a
        candidate fits this query. Zeros where there is none; None when no model gives them.
    """

    first_stage: NDArray[np.float64]
    texts: Sequence[Text]
    vectors: NDArray[np.float32] | None = None
    has_vector: NDArray[np.bool_] | None = None
    attributes: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    values: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    facets: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.first_stage)

    def take(self, rows: NDArray[np.int64]) -> Candidates:
        """The candidates at those positions, in that order."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        chosen = rows.tolist()
        return Candidates(
            first_stage=self.first_stage[rows],
            texts=[self.texts[i] for i in chosen],
            vectors=None if self.vectors is None else self.vectors[rows],
            has_vector=None if self.has_vector is None else self.has_vector[rows],
            attributes={k: [own[i] for i in chosen] for k, own in self.attributes.items()},
            values={k: [own[i] for i in chosen] for k, own in self.values.items()},
            facets=None if self.facets is None else self.facets[rows],
        )


def band_prices(prices: Sequence[float | None], per_doubling: int = 1) -> list[Value]:
    """Turn prices into bands, by default one for each doubling of the price.

    Bands are relative (log scale) because 10 and 20 differ as shoppers see it, 510 and 520 do not.
    """
    values = np.array([np.nan if price is None else price for price in prices], dtype=np.float64)
    values[~((values > 0) & (values < np.inf))] = np.nan
    bands = np.floor(np.log2(values) * per_doubling)
    return [None if math.isnan(band) else str(int(band)) for band in bands.tolist()]
