"""Substitutes: products of one type that are alike in attributes, title and price.

Each type is a shelf in the order of prices. A product is compared with the NEAREST ones by price,
whatever the shelf's size, so that time grows with the catalogue and not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.enrich.graph.survey import Columns

NEAREST = 400
MOST_COLUMNS = 24
LEAST_SHARE = 0.05  # of a type's products that have an attribute which counts
ATTRIBUTES, TITLE, PRICE = 0.45, 0.25, 0.3
UNPRICED = 0.5
ONE_SIDED = 0.5  # weight of an attribute that only one of the two tells of
BLOOM = 128  # bits


@dataclass(frozen=True)
class Shelf:
    """The products of a type by price. names: (c,) attributes; values: (n, c), NaN for none;
    measured: (c,), whether they are quantities; blooms: (n, 2) of titles."""

    rows: NDArray[np.int64]
    prices: NDArray[np.float32]  # logarithms; -inf for none
    names: NDArray[np.int32]
    measured: NDArray[np.bool_]
    weights: NDArray[np.float32]
    values: NDArray[np.float32]
    blooms: NDArray[np.uint64]

    def around(self, price: float) -> slice:
        """The places nearest in price."""
        if len(self.rows) <= NEAREST:
            return slice(0, len(self.rows))
        at = int(np.searchsorted(self.prices, np.float32(price)))
        start = max(0, min(at - NEAREST // 2, len(self.rows) - NEAREST))
        return slice(start, start + NEAREST)


def fill_shelf(
    rows: NDArray[np.int64], ranks: NDArray[np.int64], columns: Columns, measured: NDArray[np.bool_]
) -> Shelf:
    """Make the shelf of the rows. ranks: (n,) what decides between equal prices.

    measured: by number of an attribute's name, whether its values are quantities.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(columns.prices[rows]).astype(np.float32)
    order = np.lexsort((ranks[rows], logs))
    rows, logs = rows[order], logs[order]
    starts, ends = columns.value_starts[rows], columns.value_starts[rows + 1]
    places = _ranges(starts, ends)
    owners = np.repeat(np.arange(len(rows)), ends - starts)
    names, counts = np.unique(columns.value_names[places], return_counts=True)
    kept = np.flatnonzero(counts >= max(2, LEAST_SHARE * len(rows)))
    # The commonest, and of equally common ones the first by number: numbers follow the source.
    kept = kept[np.argsort(-counts[kept], kind="stable")][:MOST_COLUMNS]
    kept = np.sort(kept)
    chosen = names[kept].astype(np.int32)
    values = np.full((len(rows), len(chosen)), np.nan, np.float32)
    told = columns.value_names[places]
    at = np.searchsorted(chosen, told)
    at_most = np.minimum(at, max(len(chosen) - 1, 0))
    fits = chosen[at_most] == told if len(chosen) else np.zeros(len(told), bool)
    # The first value of an attribute counts, so the last is written first.
    back = np.flatnonzero(fits)[::-1]
    values[owners[back], at[back]] = columns.values[places[back]]
    present = ~np.isnan(values)
    weights = np.sqrt(present.mean(axis=0)) if len(rows) else np.empty(0)
    return Shelf(
        rows,
        logs,
        chosen,
        measured[chosen],
        weights.astype(np.float32),
        values,
        np.stack([bloom(columns, row) for row in rows.tolist()]),
    )


def compare(
    shelf: Shelf,
    window: slice,
    values: Mapping[int, float],
    price: float,
    title: NDArray[np.uint64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How alike the products in the window are, (w,), and by attribute, (w, c).

    values: the product's own by number of the name. price: its logarithm.
    """
    own = np.array([values.get(int(name), math.nan) for name in shelf.names], np.float32)
    theirs = shelf.values[window]
    both = ~np.isnan(theirs) & ~np.isnan(own)
    either = ~np.isnan(theirs) | ~np.isnan(own)
    counted = np.where(both, 1.0, ONE_SIDED) * either
    alike = np.zeros_like(theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.log(np.abs(theirs) / np.abs(own)))
    near = np.where(theirs == own, 1.0, np.exp(-2 * np.nan_to_num(far, nan=9.0, posinf=9.0)))
    alike = np.where(shelf.measured, near, theirs == own) * both
    total = (counted * shelf.weights).sum(axis=1)
    # Where nothing is said of either, it is unknown, neither alike nor not.
    agreed = np.where(total > 0, (alike * shelf.weights).sum(axis=1) / np.maximum(total, 1e-9), 0.5)
    worded = _count(shelf.blooms[window] & title) / np.maximum(
        _count(shelf.blooms[window] | title), 1
    )
    gap = np.abs(shelf.prices[window] - price)
    priced = np.where(np.isfinite(gap), np.exp(-1.5 * np.nan_to_num(gap, posinf=9.0)), UNPRICED)
    score = ATTRIBUTES * agreed + TITLE * worded + PRICE * priced
    return score.astype(np.float32), alike.astype(np.float32)


def bloom(columns: Columns, row: int) -> NDArray[np.uint64]:
    """A title's words as bits, (2,)."""
    return bloom_tokens(
        columns.tokens[columns.token_starts[row] : columns.token_starts[row + 1]].tolist()
    )


def bloom_tokens(tokens: Sequence[int]) -> NDArray[np.uint64]:
    """Words as bits, (2,)."""
    bits = 0
    for token in tokens:
        bits |= 1 << ((token >> 2) * 2654435761 >> 7) % BLOOM
    return np.array([bits & 0xFFFFFFFFFFFFFFFF, bits >> 64], np.uint64)


def _count(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The bits that are set in each row, (w,)."""
    found: NDArray[np.int64] = np.unpackbits(bits.view(np.uint8), axis=1).sum(
        axis=1, dtype=np.int64
    )
    return found


def _ranges(starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.int64]:
    """All places from each start to its end."""
    lengths = ends - starts
    offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    found: NDArray[np.int64] = (np.arange(int(lengths.sum())) + offsets).astype(np.int64)
    return found
