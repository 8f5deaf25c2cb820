"""Documents that were read lately, by their bytes: a shop's searches show the same ones again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 16_000_000
ENTRY_BYTES = 900
"""What an entry takes beside its text and vector, about."""
Hit = Mapping[str, msgspec.Raw]


@dataclass(slots=True)
class Document:
    """What ranking needs of a document.

    attributes: by the recipe's names. vector: the stored one, (d,) of length 1. text: None where it
    has none; `read` says whether it was looked at, `key` is its hash. weight: about how many bytes
    it takes.
    """

    attributes: Sequence[str | None]
    price: float | None
    vector: NDArray[np.float32] | None
    weight: int
    text: str | None = None
    read: bool = False
    key: bytes | None = None


def weigh(hit: Hit, vector: NDArray[np.float32] | None) -> int:
    """About how many bytes the hit's document takes; its text is not longer than its source."""
    source = hit.get("_source", b"")
    return ENTRY_BYTES + len(memoryview(source)) + (0 if vector is None else vector.nbytes)


class Seen:
    """Bounded in bytes, what was seen least lately out first.

    Keys are 64-bit hashes of all that a document was read from, keyed anew in each process, so that
    nobody can make two alike.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[int, Document] = OrderedDict()
        self._bytes = 0

    def find(
        self, recipe: Hashable, hits: Sequence[Hit]
    ) -> tuple[list[int], list[Document | None]]:
        """Each hit's key, and the document where it was read by that recipe."""
        rule, nothing = hash(recipe), b""
        keys = [
            hash((rule, bytes(hit.get("_source", nothing)), bytes(hit.get("fields", nothing))))
            for hit in hits
        ]
        return keys, [self._kept.get(key) for key in keys]

    def keep(self, keys: Sequence[int], documents: Sequence[Document]) -> None:
        """Keep documents as the latest."""
        for key, document in zip(keys, documents, strict=True):
            if self._kept.pop(key, None) is None:
                self._bytes += document.weight
            self._kept[key] = document
        while self._bytes > self._max_bytes and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1].weight
