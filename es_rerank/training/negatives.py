"""What an engine and a vector index bring up for a query: candidates hard to tell apart.

BM25 (Robertson and Zaragoza, 2009) over the products' texts with the title counted three times, and
the nearest neighbours by cosine with faiss. Both run in memory: training needs no engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.lexical import read_words
from es_rerank.training.catalogue import Product

K1, B = 1.2, 0.75
TITLE = 3


class WordIndex:
    """BM25 over products, as an inverted index in numpy."""

    def __init__(self, products: Sequence[Product]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        counts: dict[str, list[int]] = defaultdict(list)
        lengths = np.zeros(len(products))
        for i, product in enumerate(products):
            own: dict[str, int] = defaultdict(int)
            for word in read_words(product.title):
                own[word] += TITLE - 1
            for word in read_words(product.text):
                own[word] += 1
            lengths[i] = sum(own.values())
            for word, count in own.items():
                places[word].append(i)
                counts[word].append(count)
        self._n = len(products)
        norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1.0)) if self._n else lengths
        self._postings: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
        for word, rows in places.items():
            at = np.array(rows, dtype=np.int32)
            tf = np.array(counts[word], dtype=np.float64)
            idf = np.log(1 + (self._n - len(at) + 0.5) / (len(at) + 0.5))
            weight = idf * tf * (K1 + 1) / (tf + norm[at])
            self._postings[word] = (at, weight.astype(np.float32))

    def score(self, query: str) -> NDArray[np.float32]:
        """(n,) BM25 of every product."""
        scores = np.zeros(self._n, dtype=np.float32)
        for word in dict.fromkeys(read_words(query)):
            if (posting := self._postings.get(word)) is not None:
                scores[posting[0]] += posting[1]
        return scores

    def search(self, query: str, k: int) -> NDArray[np.int64]:
        """The best k that match at all, best first."""
        scores = self.score(query)
        k = min(k, int((scores > 0).sum()))
        if k == 0:
            return np.zeros(0, dtype=np.int64)
        best = np.argpartition(-scores, k - 1)[:k]
        return best[np.argsort(-scores[best], kind="stable")]


@dataclass(frozen=True)
class VectorIndex:
    """Exact nearest neighbours by cosine. vectors: (n, d) unit rows."""

    vectors: NDArray[np.float32]
    _index: Any

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(m, k) positions, best first."""
        found: NDArray[np.int64] = self._index.search(queries, min(k, len(self.vectors)))[1]
        return found


def index_vectors(vectors: NDArray[np.float32]) -> VectorIndex:
    """Build the index of unit vectors, (n, d)."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return VectorIndex(vectors, index)
