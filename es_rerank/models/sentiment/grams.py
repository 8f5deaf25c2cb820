"""What words and characters a text has, hashed into a row of fixed length.

The hashing trick (Weinberger et al., ICML 2009), with a hash that is the same in every process.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from es_rerank.models.sentiment.lexicon import CJK, Language

BITS = 15
SIZE = 1 << BITS
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[!?]")


def list_grams(text: str, language: Language) -> set[int]:
    """Places of a text's grams: words and pairs of words, or 1 to 3 characters in Chinese."""
    lowered = text.lower().replace("’", "'")
    if language == "zh":
        runs = re.sub(r"[^\w!！?？]+", " ", lowered)
        grams = {
            run[at : at + size]
            for run in runs.split()
            for size in (1, 2, 3)
            for at in range(len(run) - size + 1)
            if CJK.search(run[at : at + size])
        }
    else:
        words = WORD.findall(lowered)
        grams = {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}
    return {zlib.crc32(gram.encode("utf-8", "ignore")) & (SIZE - 1) for gram in grams}


def count_grams(texts: Sequence[str], language: Language) -> Any:
    """The texts as a sparse matrix (n, SIZE) with rows of length 1, or 0 where there are none."""
    from scipy.sparse import csr_matrix

    rows = [sorted(list_grams(text, language)) for text in texts]
    ends = np.cumsum([0, *map(len, rows)])
    values = np.array([len(row) ** -0.5 for row in rows for _ in row])
    places = np.array([place for row in rows for place in row], np.int32)
    return csr_matrix((values, places, ends), shape=(len(texts), SIZE))
