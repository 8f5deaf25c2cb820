"""Which products a phrase names: `Phaser 6100`, `Osterkamp Pronto Lite`, `星驰数码小方 X1`.

A phrase fits a title that has its words in a row, with no word behind them that makes it another
model (`Pro`, `2`). Words that say nothing of a model (`for home`) name nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from es_rerank.enrich.graph.survey import NONE, Columns, Pool
from es_rerank.enrich.graph.words import VERSIONS, fold, hash_token, load_words, tokenise

NOISE = load_words("noise")
MOST_WORDS = 4  # of a phrase without a brand
COMMONEST = 3000  # titles with a word; a commoner one leads to no model
LEAST_SHARE = 0.15  # of a type's products that are made for something: all of the type are
MOST_FAMILIES, MOST_UNCODED = 12, 3
"""Families that one phrase may name, with a model's number and without; more is a whole line."""
SURE, SAME_MAKER, ANY_MAKER = 0.95, 0.85, 0.7
VERSION_HASHES = frozenset(map(hash_token, VERSIONS))


@dataclass(frozen=True)
class Named:
    """A phrase taken apart. brand: its number, 0 where it names none. words: hashes of the rest.

    telling: whether the words can name one model at all. coded: whether a model's number is among
    them.
    """

    phrase: str
    brand: int
    words: tuple[int, ...]
    telling: bool
    coded: bool


@dataclass(frozen=True)
class Titles:
    """An inverted index of the titles' words."""

    columns: Columns
    words: NDArray[np.uint32]  # sorted, each as often as it stands in titles
    rows: NDArray[np.int32]  # of each

    def count(self, word: int) -> int:
        """In how many places the word stands."""
        low, high = (
            np.searchsorted(self.words, np.uint32(word), "left"),
            np.searchsorted(self.words, np.uint32(word), "right"),
        )
        return int(high - low)

    def holding(self, word: int) -> NDArray[np.int32]:
        """The rows whose titles have the word, in order."""
        low = np.searchsorted(self.words, np.uint32(word), "left")
        high = np.searchsorted(self.words, np.uint32(word), "right")
        return np.unique(self.rows[low:high])


def index_titles(columns: Columns) -> Titles:
    """Index all titles, up to where they say what they are for."""
    lengths = np.diff(columns.token_starts)
    rows = np.repeat(np.arange(columns.count, dtype=np.int32), lengths)
    places = np.arange(len(columns.tokens)) - np.repeat(columns.token_starts[:-1], lengths)
    inside = places < columns.heads[rows]
    words, rows = columns.tokens[inside], rows[inside]
    order = np.argsort(words, kind="stable")
    return Titles(columns, words[order], rows[order])


@lru_cache(maxsize=1 << 14)
def read_phrase(phrase: str, brands: Pool) -> Named:
    """Take a phrase apart; the longest brand that it begins with is its brand."""
    folded = fold(phrase)
    brand, rest = NONE, folded
    for end in range(min(len(folded), 40), 0, -1):
        ends = end == len(folded) or not (folded[end].isascii() and folded[end].isalnum())
        glued = not folded[end - 1].isascii()  # 星驰数码小方: no space between brand and model
        if (ends or glued) and (number := brands.find(folded[:end])):
            brand, rest = number, folded[end:]
            break
    words = [word for word in tokenise(rest) if word not in NOISE]
    # A bare number is no model's: `300` may be anything.
    coded = any(_is_code(word) for word in words if not word.isdecimal() or 1 < len(words) < 4)
    telling = coded and len(words) <= MOST_WORDS if brand == NONE else bool(words)
    return Named(phrase, brand, tuple(map(hash_token, words)), telling, coded)


def find_accessories(
    made_for: NDArray[np.bool_], columns: Columns, services: Sequence[int]
) -> NDArray[np.bool_]:
    """Which products are accessories, (n,): those that say so, and all of a type that mostly does.

    made_for: (n,), whether a product says what it is made for. services: types that are none.
    """
    size = int(columns.types.max(initial=0)) + 1
    counts = np.bincount(columns.types, minlength=size)
    share = np.bincount(columns.types, weights=made_for, minlength=size) / np.maximum(counts, 1)
    whole = share >= LEAST_SHARE
    whole[NONE] = False
    whole[list(services)] = True
    found: NDArray[np.bool_] = made_for | whole[columns.types]
    return found


def _is_code(word: str) -> bool:
    """Whether a word may be a model's number: `t650`, `6100`; not `2` or `140x70`."""
    digits = sum(char.isdigit() for char in word)
    return (digits > 2 or 0 < digits < len(word)) and len(word) > 2 and "x" not in word[1:-1]


def resolve(
    named: Named,
    titles: Titles,
    *,
    own_brand: int,
    makers: Sequence[int],
    own_type: int,
    accessories: NDArray[np.bool_],
) -> list[tuple[int, float]]:
    """The rows that the phrase names, with a confidence each.

    own_brand, own_type: of the product that says it. makers: brands that it says it fits.
    accessories: (n,), rows that are made for something themselves; they are not what is meant.
    """
    if not named.telling or not named.words:
        return []
    columns = titles.columns
    seed = min(named.words, key=titles.count)
    count = titles.count(seed)
    if not 0 < count <= COMMONEST:
        return []
    found = []
    for row in titles.holding(seed)[:COMMONEST].tolist():
        kind = int(columns.types[row])
        if accessories[row] or (kind == own_type and kind != NONE):
            continue
        start = columns.token_starts[row]
        if stands_in(
            named.words,
            columns.tokens[start : start + columns.heads[row]].tolist(),
        ):
            found.append(row)
    brands = columns.brands
    if named.brand != NONE:
        return [(row, SURE) for row in found if brands[row] == named.brand]
    wanted = {maker for maker in (*makers, own_brand) if maker != NONE}
    same = [(row, SAME_MAKER) for row in found if int(brands[row]) in wanted]
    if same or makers:
        return same
    return [(row, ANY_MAKER) for row in found]


def stands_in(words: Sequence[int], title: Sequence[int]) -> bool:
    """Whether the words stand in the title in a row, and no version behind them."""
    length = len(words)
    for at in range(len(title) - length + 1):
        if title[at] == words[0] and list(title[at : at + length]) == list(words):
            behind = title[at + length] if at + length < len(title) else NONE
            if behind not in VERSION_HASHES:
                return True
    return False
