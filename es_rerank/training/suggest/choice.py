"""Which pairs to ask people about: where the ranking is in doubt, and where its judges disagree.

A pair's worth has two parts. Doubt is uncertainty sampling (Lewis and Gale, SIGIR 1994): the
entropy of whether the document belongs on the first page, highest at the page's edge. Dispute is
query by committee (Seung, Opper and Sompolinsky, COLT 1992) with words, vectors and model as the
committee: how far their opinions on that differ, by the Jensen-Shannon divergence (McCallum and
Nigam, ICML 1998). Pairs are taken one after the other, each worth less the more of its query were
taken already and the more it is like one of them, so that one odd query does not eat the budget
(batch mode; Brinker, ICML 2003). A share is drawn by lot, which shows what neither part looks for.
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
BY_LOT = 0.1
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
    ranks: judge -> the rank it gives. reason: `doubt`, `dispute` or `lot`."""

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
    by_lot: float = BY_LOT,
    seed: int = 1,
) -> list[Suggestion]:
    """At most `count` pairs, the most worth first, those by lot among them at random places.

    known: pairs of query and document that have been judged already. page: hits of a first page.
    by_lot: the share that is drawn at random.
    """
    parts = [weigh(pool, page) for pool in pools]
    owner = np.repeat(np.arange(len(pools)), [len(pool.ids) for pool in pools])
    row = np.concatenate([np.arange(len(pool.ids)) for pool in pools] or [np.zeros(0, np.int64)])
    worth = np.concatenate([(doubt + dispute) / 2 for doubt, dispute in parts] or [np.zeros(0)])
    judged = set(known)
    fresh = [(pool.query, document) not in judged for pool in pools for document in pool.ids]
    free = np.array(fresh, dtype=np.bool_)
    chance = np.random.default_rng(seed)
    count = min(count, int(free.sum()))
    lots = round(count * by_lot)
    taken = chance.choice(np.flatnonzero(free), lots, replace=False).tolist() if lots else []
    free[taken] = False
    reasons = dict.fromkeys(taken, "lot")
    left, share = worth.copy(), np.ones(len(pools))
    starts = np.concatenate([[0], np.cumsum([len(pool.ids) for pool in pools])])
    chosen: list[int] = []
    for _ in range(count - lots):
        value = np.where(free, left * share[owner], -np.inf)
        best = int(value.argmax())
        chosen.append(best)
        free[best] = False
        q = int(owner[best])
        share[q] = 1 / np.sqrt(1 + 1 / share[q] ** 2)
        own = slice(starts[q], starts[q + 1])
        left[own] *= _unlike(pools[q], int(row[best]))
        doubt, dispute = parts[q][0][row[best]], parts[q][1][row[best]]
        reasons[best] = "doubt" if doubt >= dispute else "dispute"
    order = [*chosen]
    for each in taken:
        order.insert(int(chance.integers(0, len(order) + 1)), each)
    owners = owner.tolist()
    return [_tell(pools[owners[i]], parts[owners[i]], int(row[i]), reasons[i]) for i in order]


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
