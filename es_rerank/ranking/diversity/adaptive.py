"""How much a search leaves open, and so how much its hits are spread.

Few words that fit unlike things leave much open ("gift for dad"), many words that fit like things
little ("dell laptop charger 65w"). How unlike what fits is tells Rao's quadratic entropy, the
expected dissimilarity of two hits drawn by relevance (Rao, Diversity and Dissimilarity
Coefficients: A Unified Approach, 1982), over types, brands, prices and meaning at once, as the
kernel has them.
benchmarks.quality.diversity shows what that is worth.
"""

from __future__ import annotations

import re

import numpy as np

from es_rerank.ranking.diversity.kernel import WHOLE, Array, Kernel

DECAY = 0.1
"""Blended score by which a hit falls behind the best to count 1/e as much."""
USUAL_SPREAD = 0.3
USUAL_WORDS = 2.0
MOST = 2.0
"""By how much diversity is multiplied at most."""
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts that put no spaces between words, in which a word is about two characters."""
WORD = re.compile(rf"[^\W_{UNSPACED}]+")
CHARACTER = re.compile(rf"[{UNSPACED}]")


def count_words(query: str) -> float:
    """About how many words a query has, at least 1."""
    return max(len(WORD.findall(query)) + len(CHARACTER.findall(query)) / 2, 1.0)


def measure_spread(relevance: Array, kernel: Kernel) -> float:
    """How unlike two hits are that are drawn by relevance, (n,) in 0..1; 0 to 1."""
    share = np.exp((relevance - relevance.max()) / DECAY)
    share /= share.sum()
    if kernel.size <= WHOLE:
        spread = 1.0 - share @ kernel.square() @ share
    else:
        near = (share > 1e-4).nonzero()[0]
        spread = 1.0 - share[near] @ kernel.square(near) @ share[near]
    return min(max(float(spread), 0.0), 1.0)


def measure_openness(query: str | None, relevance: Array, kernel: Kernel) -> float:
    """By what diversity is multiplied, 0 to 2; 1 for two words that fit what is usually unlike.

    Without words the spread alone tells.
    """
    words = count_words(query) if query else USUAL_WORDS
    spread = measure_spread(relevance, kernel)
    return min(USUAL_WORDS / words * spread / USUAL_SPREAD, MOST)
