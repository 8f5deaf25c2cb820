"""Groups to learn from: a query with some products, their grades, and a slate that covers much.

A group mixes what is right, what is half right, and what an engine and a vector index confuse with
it. Its target slate is what a good first page would show: relevant products that between them cover
the facets the query leaves open, without variants of one another.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from es_rerank.training.grading import GOOD, Judge, near_duplicates, open_facets
from es_rerank.training.negatives import VectorIndex, WordIndex
from es_rerank.training.wishes import Shelf, Wish

LOOK = 50
"""Candidates taken from each index."""
SLATE = 5
SMALL_SLATE = 2


@dataclass(frozen=True)
class Group:
    """rows: (m,) positions in the catalogue. grades: (m,) 0 to 3. slate: places within the group,
    empty where no slate is worth learning. cosines: (m,) of the query's plain vector. told: (m,) a
    teacher's scores. first_stage: (m,) BM25, of windows alone."""

    query: str
    kind: str
    rows: NDArray[np.int32]
    grades: NDArray[np.float32]
    cosines: NDArray[np.float32]
    slate: tuple[int, ...]
    told: NDArray[np.float32] | None = None
    first_stage: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Finder:
    """The catalogue's indices, and who judges."""

    shelf: Shelf
    judge: Judge
    by_words: WordIndex
    by_vectors: VectorIndex

    def gather(
        self, wish: Wish, vector: NDArray[np.float32], size: int, chance: random.Random
    ) -> Group | None:
        """A group of `size` products for a wish; None where nothing good, or nothing bad, is found.

        vector: (d,) of the query.
        """
        graded = self._grade(wish, vector, chance)
        good = [i for i, grade in graded.items() if grade >= GOOD]
        half = [i for i, grade in graded.items() if 0.0 < grade < GOOD]
        bad = [i for i, grade in graded.items() if grade == 0.0]
        if not good or len(graded) < size // 2 or (not half and not bad):
            return None
        most = max(2, size * 2 // 5)
        rows = self._pick_good(good, most, chance)
        rows += _pick_front(half, size // 4, chance)
        rows += _pick_front(bad, size - len(rows), chance)
        rows += _pick_front([i for i in half + bad if i not in rows], size - len(rows), chance)
        return self._group(wish, vector, rows, graded)

    def window(self, wish: Wish, vector: NDArray[np.float32], size: int) -> Group | None:
        """The first `size` that both indices find, in turn, as a search would meet them."""
        graded = self._grade(wish, vector, None)
        rows = list(graded)[:size]
        if not any(graded[i] >= GOOD for i in rows) or all(graded[i] >= GOOD for i in rows):
            return None
        group = self._group(wish, vector, rows, graded)
        return replace(group, first_stage=self.by_words.score(wish.text)[group.rows])

    def _grade(
        self, wish: Wish, vector: NDArray[np.float32], chance: random.Random | None
    ) -> dict[int, float]:
        """What is known of the candidates, in the order they were found."""
        words = self.by_words.search(wish.text, LOOK).tolist()
        near = self.by_vectors.search(vector[None, :], LOOK)[0].tolist()
        found = [row for pair in _interleave(words, near) for row in pair]
        if chance is not None:
            found += self._sample(wish, chance)
        products = self.shelf.products
        grades = ((row, self.judge.grade(wish, products[row])) for row in dict.fromkeys(found))
        return {row: grade for row, grade in grades if grade is not None}

    def _sample(self, wish: Wish, chance: random.Random) -> list[int]:
        """Some of what the wish accepts, and a few of anything."""
        pools = [self.shelf.by_type.get(kind, []) for kind in sorted(wish.types)]
        if wish.brand is not None:
            pools.append(self.shelf.by_brand.get(wish.brand, []))
        rows = [row for pool in pools for row in chance.sample(pool, min(len(pool), 12))]
        if wish.brand is not None or wish.attributes:
            pool = [row for pool in pools[: len(wish.types)] for row in pool]
            fitting = [
                row for row in pool if self.judge.grade(wish, self.shelf.products[row]) == 3.0
            ]
            rows += chance.sample(fitting, min(len(fitting), 6))
        return rows + [chance.randrange(len(self.shelf.products)) for _ in range(3)]

    def _pick_good(self, good: list[int], most: int, chance: random.Random) -> list[int]:
        """Good ones, with a variant of one of them where there is any, to learn the kernel by."""
        chosen = chance.sample(good, min(len(good), most))
        products = self.shelf.products
        for row in chosen:
            twins = [
                i for i in good if i not in chosen and near_duplicates(products[row], products[i])
            ]
            if twins:
                chosen[-1 if chosen[-1] != row else 0] = chance.choice(twins)
                break
        return list(dict.fromkeys(chosen))

    def _group(
        self,
        wish: Wish,
        vector: NDArray[np.float32],
        rows: Sequence[int],
        graded: dict[int, float],
    ) -> Group:
        at = np.array(rows, dtype=np.int32)
        grades = np.array([graded[row] for row in rows], dtype=np.float32)
        cosines = (self.by_vectors.vectors[at] @ vector).astype(np.float32)
        return Group(wish.text, wish.kind, at, grades, cosines, self._slate(wish, at, grades))

    def _slate(
        self, wish: Wish, rows: NDArray[np.int32], grades: NDArray[np.float32]
    ) -> tuple[int, ...]:
        """The greedy cover of open facets by the best graded; ties go to the better grade."""
        products = [self.shelf.products[int(row)] for row in rows]
        left = [i for i in range(len(rows)) if grades[i] >= GOOD]
        covered: set[str] = set()
        slate: list[int] = []
        while left and len(slate) < SLATE:
            best = max(
                left,
                key=lambda i: (len(open_facets(wish, products[i]) - covered), grades[i], -i),
            )
            new = open_facets(wish, products[best]) - covered
            if slate and not new:
                break
            slate.append(best)
            covered |= new
            left = [
                i for i in left if i != best and not near_duplicates(products[i], products[best])
            ]
        return tuple(slate) if len(slate) >= SMALL_SLATE else ()


def _interleave(first: list[int], second: list[int]) -> list[tuple[int, ...]]:
    longest = max(len(first), len(second))
    return [(*first[i : i + 1], *second[i : i + 1]) for i in range(longest)]


def _pick_front(rows: list[int], most: int, chance: random.Random) -> list[int]:
    """Some of the rows, those found first most likely."""
    if most <= 0 or not rows:
        return []
    keys = [chance.expovariate(1.0) * (3 + place) for place in range(len(rows))]
    return [rows[i] for i in sorted(np.argsort(keys)[:most].tolist())]
