"""Variants: products of one brand and type that are one model in other colours, sizes, offers.

Each product has keys, and products that share one are of a family: a group that the shop names, an
article number, the title without what varies, the description's opening. Keys take time in the
number of products, not of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from es_rerank.enrich.graph.survey import NONE, Columns, hash_key

CONFIDENCE = {"group": 0.99, "code": 0.97, "title": 0.95, "opening": 0.85}
WHY = {
    "group": "the shop's own group",
    "code": "the same article number",
    "title": "the same title but for what varies",
    "opening": "the same description",
}
INDIRECT = 0.75  # of one family by way of a third product
LARGEST = 400  # products with one key; more are a boilerplate, not a model


@dataclass(frozen=True)
class Families:
    """keys: by kind (n,), 0 for none. labels: (n,), equal for one family. order, starts: the rows
    of each family."""

    keys: dict[str, NDArray[np.uint64]]
    labels: NDArray[np.int32]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sorted_keys: dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]]

    def rows(self, label: int) -> NDArray[np.int64]:
        """The rows of a family."""
        return self.order[self.starts[label] : self.starts[label + 1]]

    def find(self, keys: Mapping[str, int]) -> int:
        """The family that one of the keys belongs to, -1 for none."""
        for kind, key in keys.items():
            held, rows = self.sorted_keys[kind]
            if key != NONE and len(held):
                at = int(np.searchsorted(held, np.uint64(key)))
                if at < len(held) and int(held[at]) == key:
                    return int(self.labels[rows[at]])
        return -1


def title_key(brand: str, kind: str, tokens: Sequence[int], kinds: frozenset[int]) -> int:
    """What titles of one model share. kinds: the words of the type; a title of them alone has none.

    tokens: hashes, without the article numbers that only one title has.
    """
    told = set(tokens)
    if not told - kinds or len(told) < 2:
        return NONE
    return hash_key("title", brand, kind, ",".join(map(str, sorted(told))))


def find_families(keys: dict[str, NDArray[np.uint64]], columns: Columns) -> Families:
    """Join the rows that share a key."""
    count = columns.count
    ends: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    sorted_keys = {}
    for kind, held in keys.items():
        rows = np.flatnonzero(held)
        order = rows[np.argsort(held[rows], kind="stable")]
        values = held[order]
        if kind != "group" and len(values):
            _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
            kept = sizes[inverse] <= LARGEST
            order, values = order[kept], values[kept]
        sorted_keys[kind] = values, order
        same = np.flatnonzero(values[1:] == values[:-1])
        ends.append((order[same], order[same + 1]))
    none = np.empty(0, np.int64)
    left = np.concatenate([none, *(pair[0] for pair in ends)])
    right = np.concatenate([none, *(pair[1] for pair in ends)])
    joined = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    labels = connected_components(joined, directed=False)[1].astype(np.int32)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(int(labels.max(initial=-1)) + 2))
    return Families(keys, labels, order, starts, sorted_keys)


def strip_codes(tokens: Sequence[int], counts: Sequence[int]) -> list[int]:
    """The tokens without article numbers that stand in no other title, where a number is left."""
    kept = [
        token for token, count in zip(tokens, counts, strict=True) if count > 1 or not token & 1
    ]
    return kept if any(token & 2 for token in kept) else list(tokens)
