"""A plain BM25, so that the simulated users see what an engine without reranking shows them.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

K1, B, TITLE_BOOST = 1.2, 0.75, 2.0
WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_]+")


class Bm25:
    """An inverted index over titles and descriptions; single characters for Chinese."""

    def __init__(self, documents: Sequence[tuple[str, str, str]]) -> None:
        """Take (id, title, description) of every document."""
        self.ids = [row[0] for row in documents]
        self._fields = [
            (_Field([row[1] for row in documents]), TITLE_BOOST),
            (_Field([row[2] for row in documents]), 1.0),
        ]

    def search(self, query: str, size: int) -> list[str]:
        """The best ids, ties in index order; per term and document the better field counts."""
        scores: dict[int, float] = defaultdict(float)
        for term in tokenize(query):
            best: dict[int, float] = {}
            for field, boost in self._fields:
                for document, score in field.score(term):
                    best[document] = max(best.get(document, 0.0), boost * score)
            for document, score in best.items():
                scores[document] += score
        ranked = sorted(scores.items(), key=lambda pair: (-round(pair[1], 9), pair[0]))
        return [self.ids[document] for document, _ in ranked[:size]]


def tokenize(text: str) -> list[str]:
    return WORD.findall(text.lower())


class _Field:
    def __init__(self, texts: Sequence[str]) -> None:
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lengths: list[int] = []
        for document, text in enumerate(texts):
            terms = tokenize(text)
            self._lengths.append(len(terms))
            for term, count in Counter(terms).items():
                self._postings[term].append((document, count))
        self._mean = sum(self._lengths) / max(1, len(self._lengths))

    def score(self, term: str) -> list[tuple[int, float]]:
        postings = self._postings.get(term, [])
        n = len(self._lengths)
        idf = math.log(1 + (n - len(postings) + 0.5) / (len(postings) + 0.5))
        scored = []
        for document, count in postings:
            norm = K1 * (1 - B + B * self._lengths[document] / self._mean)
            scored.append((document, idf * count * (K1 + 1) / (count + norm)))
        return scored
