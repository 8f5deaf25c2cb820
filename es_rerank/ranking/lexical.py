"""A scorer without a model: the share of the query's words that a text has, rare words first.

For trying the proxy, for tests, and for machines where no model may run. It knows no synonyms and
no order of words, and is no match for a model. Weights are those of the probabilistic model,
ln(1 + (n - df + 0.5) / (df + 0.5)) with n texts of which df have the word (Robertson and Zaragoza,
2009), counted in the window alone. English plurals are folded (Harman's S stemmer, 1991); text in a
script without spaces is read as overlapping pairs of characters.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"[^\W_]+")
# Kana, CJK ideographs with their extensions and compatibility forms, Thai, Lao, Khmer, Burmese.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
MARKS = re.compile("[\u0300-\u036f]")


class LexicalModel:
    """A PairModel that counts words. Stateless, and safe to call from several threads."""

    name = "lexical"

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score each text for the query. Returns (n,) in 0..1; 0 for a query without words."""
        wanted = dict.fromkeys(read_words(query))
        found = [wanted.keys() & set(read_words(text)) for text in texts]
        holding = Counter(word for words in found for word in words)
        n = len(texts)
        weights = {
            word: math.log(1 + (n - holding[word] + 0.5) / (holding[word] + 0.5)) for word in wanted
        }
        total = sum(weights.values())
        if not total:
            return np.zeros(n)
        # In the query's order, so that equal sets of words have equal sums.
        return np.array(
            [sum(weights[word] for word in wanted if word in words) for words in found]
        ) / (total)

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        """Score several queries' texts, each list a window of its own. Returns (n,) per query."""
        return [self.score_pairs(query, texts) for query, texts in lists]

    def unknown_share(self, text: str) -> float:
        """No word is unknown to it: 0."""
        return 0.0


def read_words(text: str) -> Iterator[str]:
    """Yield a text's words, folded: no case, no accents, no English plural."""
    if text.isascii():
        folded = text.lower()
    else:
        folded = MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    for word in WORD.findall(folded):
        if word.isascii():
            yield fold_plural(word)
            continue
        start = 0
        for run in UNSPACED.finditer(word):
            if run.start() > start:
                yield fold_plural(word[start : run.start()])
            yield from read_pairs(run[0])
            start = run.end()
        if start < len(word):
            yield fold_plural(word[start:])


def read_pairs(run: str) -> list[str]:
    """The overlapping pairs of a run's characters; a single one stands for itself."""
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


def fold_plural(word: str) -> str:
    """Harman's S stemmer."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
