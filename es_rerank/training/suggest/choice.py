"""Which pairs to ask people about: where the ranking is in doubt, and where its judges disagree.

A pair's worth has two parts. Doubt is uncertainty sampling (Lewis and Gale, SIGIR 1994): the
entropy of whether the document belongs on the first page, highest at the page's edge. Dispute is
query by committee (Seung, Opper and Sompolinsky, COLT 1992) with words, vectors and model as the
committee: how far their opinions on that differ, by the Jensen-Shannon divergence (McCallum and
Nigam, ICML 1998).

A ranker learns by comparing products of one query, so pairs come in blocks of a query, those of the
most worth first: two that are shown at the top, most by their worth, each less the more it is like
one taken already (batch mode; Brinker, ICML 2003), and a few by lot, which shows what neither part
looks for. benchmarks.quality.suggest has what that is worth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.blend import scale

PAGE = 10
SHARPNESS = 8.0
"""How fast, over the range of scores, belonging to the page turns into not belonging."""
BLOCK = 8
SHOWN = 2
"""Of a block, what is shown at the top."""
BY_LOT = 0.25
LIKE_FROM = 0.7
"""Cosine from which on two documents are asked about less together."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """A query's candidates, n of them.

    scores: judge -> (n,), higher is better, NaN where a judge says nothing. served: (n,) the score
    they are ranked by. vectors: (n, d) unit rows, None without.
    """

    query: str
    ids: Sequence[str]
    titles: Sequence[str]
    scores: Mapping[str, Array]
    served: Array
    vectors: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Suggestion:
    """A pair worth asking about. place: where it is ranked now, from 1. doubt and dispute: 0 to 1.
    ranks: judge -> the rank it gives. reason: `top`, `doubt`, `dispute` or `lot`."""

    query: str
    document: str
    title: str
    place: int
    doubt: float
    dispute: float
    ranks: Mapping[str, int]
    reason: str


def choose_pairs(
    pools: Sequence[Pool],
    count: int,
    known: Collection[tuple[str, str]] = (),
    *,
    page: int = PAGE,
    block: int = BLOCK,
    by_lot: float = BY_LOT,
    seed: int = 1,
) -> list[Suggestion]:
    """At most `count` pairs, in blocks of a query, those of the most worth first.

    known: pairs of query and document that have been judged already. page: hits of a first page.
    by_lot: the share that is drawn at random. Where there are fewer queries than blocks, the
    queries come again.
    """
    judged = set(known)
    parts = [weigh(pool, page) for pool in pools]
    left = [
        np.array([(pool.query, document) not in judged for document in pool.ids], dtype=np.bool_)
        for pool in pools
    ]
    chance = np.random.default_rng(seed)
    chosen: list[Suggestion] = []
    first = True
    while len(chosen) < count and any(rows.any() for rows in left):
        promise = [
            float(np.sort(np.where(rows, (own[0] + own[1]) / 2, 0.0))[::-1][:block].mean())
            if rows.any()
            else -1.0
            for own, rows in zip(parts, left, strict=True)
        ]
        for q in np.argsort(-np.array(promise), kind="stable").tolist():
            size = min(block, count - len(chosen))
            shown = SHOWN if first else 0
            for row, reason in _fill_block(
                pools[q], parts[q], left[q], size, shown, by_lot, chance
            ):
                left[q][row] = False
                chosen.append(_tell(pools[q], parts[q], row, reason))
        first = False
    return chosen


def _fill_block(
    pool: Pool,
    parts: tuple[Array, Array],
    left: NDArray[np.bool_],
    size: int,
    shown: int,
    by_lot: float,
    chance: np.random.Generator,
) -> list[tuple[int, str]]:
    """At most `size` rows of a query, each with the reason why. left: (n,) which may be taken."""
    free, likeness = left.copy(), np.ones(len(pool.ids))
    lots = round(size * by_lot)
    taken: list[tuple[int, str]] = []

    def take(row: int, reason: str) -> None:
        nonlocal likeness
        taken.append((row, reason))
        free[row] = False
        likeness = likeness * _unlike(pool, row)

    for row in np.argsort(-pool.served, kind="stable")[: min(shown, size - lots)].tolist():
        if free[row]:
            take(row, "top")
    doubt, dispute = parts
    while len(taken) < size - lots and free.any():
        row = int(np.where(free, (doubt + dispute) / 2 * likeness, -1.0).argmax())
        take(row, "doubt" if doubt[row] >= dispute[row] else "dispute")
    rest = np.flatnonzero(free)
    drawn = chance.choice(rest, min(lots, len(rest)), replace=False).tolist() if lots else []
    return [*taken, *((row, "lot") for row in drawn)]


def weigh(pool: Pool, page: int = PAGE) -> tuple[Array, Array]:
    """Doubt and dispute of each candidate, (n,) in 0..1."""
    if not pool.ids:
        return np.zeros(0), np.zeros(0)
    doubt = entropy(belong(pool.served, page))
    opinions = np.stack([belong(scores, page) for scores in pool.scores.values()])
    heard = np.isfinite(opinions)
    votes = np.maximum(heard.sum(axis=0), 1)
    mean = np.where(heard, opinions, 0.0).sum(axis=0) / votes
    own = np.where(heard, entropy(np.nan_to_num(opinions, nan=0.5)), 0.0).sum(axis=0) / votes
    return np.nan_to_num(doubt), np.clip(entropy(mean) - own, 0.0, 1.0)


def belong(scores: Array, page: int) -> Array:
    """The probability that each belongs on the first page, (n,), by how far its score is from the
    page's edge; NaN where there is no score."""
    scaled = scale(scores)
    known = np.sort(scaled[np.isfinite(scaled)])[::-1]
    if not len(known):
        return scaled
    at = min(page, max(len(known) // 2, 1))
    edge = known[at - 1 : at + 1].mean()
    probability: Array = 1 / (1 + np.exp(-SHARPNESS * (scaled - edge)))
    return probability


def entropy(probability: Array) -> Array:
    """Of a yes or no, bits."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    bits: Array = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return bits


def _unlike(pool: Pool, row: int) -> Array:
    """By what the others' worth is multiplied once this one is taken, (n,)."""
    if pool.vectors is None:
        return np.ones(len(pool.ids))
    likeness = (pool.vectors @ pool.vectors[row]).astype(np.float64)
    unlike: Array = 1 - np.clip((likeness - LIKE_FROM) / (1 - LIKE_FROM), 0.0, 1.0)
    return unlike


def _tell(pool: Pool, parts: tuple[Array, Array], row: int, reason: str) -> Suggestion:
    def rank(scores: Array) -> int:
        return 1 + int((np.nan_to_num(scores, nan=-np.inf) > scores[row]).sum())

    return Suggestion(
        pool.query,
        pool.ids[row],
        pool.titles[row],
        rank(pool.served),
        round(float(parts[0][row]), 3),
        round(float(parts[1][row]), 3),
        {judge: rank(scores) for judge, scores in pool.scores.items() if np.isfinite(scores[row])},
        reason,
    )
