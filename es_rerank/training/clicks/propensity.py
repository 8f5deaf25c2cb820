"""How much each place is seen: the position-based and the user browsing model.

Both say P(click) = γ_s · α_p for a shown document: α_p is how much document p of its query
attracts who looks at it, γ_s how likely the slot s is looked at. In the position-based model (PBM;
Richardson et al., WWW 2007; Craswell et al., WSDM 2008) the slot is the rank. In the user browsing
model (UBM; Dupret and Piwowarski, SIGIR 2008) it is rank and distance to the click before it. Only
γ · α shows in clicks, so γ is known up to a factor: it is given with the first slot as 1.

`fixed_effects` solves clicks_s = γ_s · Σ shows · α_p with α_p = clicks_p / Σ shows · γ_s: the
Poisson quasi-likelihood with an effect for each document (Wooldridge, Distribution-free
estimation of some nonlinear panel data models, 1999). It stays true where each document was shown a
few times only, as in most logs. `maximise` is the usual expectation maximisation (Chuklin, Markov
and de Rijke, Click Models for Web Search, 2015), which there takes the little it knows of each
document for certain and finds γ too flat (Neyman and Scott, 1948).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from es_rerank.errors import DataError
from es_rerank.training.clicks.log import ClickLog

Model = Literal["pbm", "ubm"]
Estimator = Literal["fixed-effects", "em"]
ROUNDS = 2000
TOLERANCE = 1e-7
FARTHEST = 64.0
"""How many steps one extrapolation replaces at most."""
SLOT_PRIOR = 5.0
"""Clicks by which UBM's slots lean on what their rank has as a whole."""
THIN = 0.05
SAME_PLACES = (
    "no document was clicked at two different places for one query, so that nothing tells "
    "whether it was clicked for itself or for its place. Let places vary: swap two neighbouring "
    "products in a few searches of a hundred, keep the log of a change of ranking or of an A/B "
    "test, or give what you know of your page with --propensities"
)

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Shows added up: c cells of slot and pair of query and document.

    slot, pair: (c,) numbers. shows, clicks: (c,). ranks, distances: (s,) of each slot, the distance
    being 0 in the PBM. queries, documents: (p,) of each pair, as in the log.
    """

    slot: Ids
    pair: Ids
    shows: Array
    clicks: Array
    ranks: Ids
    distances: Ids
    queries: Ids
    documents: Ids

    def by_slot(self, values: Array) -> Array:
        """Sums over the cells of each slot, (s,)."""
        return np.bincount(self.slot, values, len(self.ranks)).astype(np.float64)

    def by_pair(self, values: Array) -> Array:
        """Sums over the cells of each pair, (p,)."""
        return np.bincount(self.pair, values, len(self.queries)).astype(np.float64)


@dataclass(frozen=True)
class Propensities:
    """γ of each slot, (s,), the first known one being 1, nan where it is not known. notes: what a
    reader must know."""

    values: Array
    notes: tuple[str, ...] = ()


def count_cells(log: ClickLog, model: Model) -> Cells:
    """Add up a log. Raises DataError where a UBM lacks what belongs to one search."""
    if model == "ubm" and not log.sessions:
        raise DataError(
            "the user browsing model needs to know which shows belong to one search: add a column "
            "`session`, or take --model pbm"
        )
    distance = find_distances(log) if model == "ubm" else np.zeros(len(log), dtype=np.int64)
    places, slot = np.unique(
        np.stack([log.rank, distance]), axis=1, return_inverse=True
    )  # by rank, then distance
    pairs, pair = np.unique(log.query * len(log.documents) + log.document, return_inverse=True)
    both, cell = np.unique(pair * places.shape[1] + slot, return_inverse=True)
    return Cells(
        both % places.shape[1],
        both // places.shape[1],
        np.bincount(cell).astype(np.float64),
        np.bincount(cell, log.clicked).astype(np.float64),
        places[0],
        places[1],
        pairs // len(log.documents),
        pairs % len(log.documents),
    )


def find_distances(log: ClickLog) -> Ids:
    """Each show's distance to the last click above it in its search, (n,); its rank where there is
    none."""
    order = np.lexsort((log.rank, log.search))
    search, rank = log.search[order], log.rank[order]
    deepest = int(rank.max()) + 1
    clicked = np.where(log.clicked[order], rank, 0) + search * deepest
    last = np.maximum.accumulate(clicked)
    before = np.concatenate([[0], last[:-1]]) - search * deepest
    distance = np.empty(len(log), dtype=np.int64)
    distance[order] = np.maximum(rank - np.maximum(before, 0), 1)
    return distance


def find_propensities(cells: Cells, estimator: Estimator = "fixed-effects") -> Propensities:
    """γ of every slot. Raises DataError where documents do not change places, so that it cannot be
    told."""
    known = find_known(cells)
    sure = cells.by_pair(cells.clicks)[cells.pair] > 0
    used = known[cells.slot] & sure
    notes = []
    if lost := int((~known & (cells.by_slot(cells.shows) > 0)).sum()):
        notes.append(
            f"{lost} of {len(known)} {'slots' if cells.distances.any() else 'places'} have no "
            "click on a document that was clicked elsewhere too: they say nothing here."
        )
    part, own = _cut(cells, used)
    values = np.full(len(known), np.nan)
    fit = fixed_effects if estimator == "fixed-effects" else maximise
    values[own] = fit(part)
    if cells.distances.any():
        values = lean(cells, values)
    moved = np.bincount(part.pair) > 1
    share = float(part.clicks[moved[part.pair]].sum() / part.clicks.sum())
    if share < THIN:
        notes.append(
            f"Only {share:.1%} of the clicks are on documents that were shown at several places: "
            "what is said of places rests on those."
        )
    first = values[np.flatnonzero(np.isfinite(values))[0]]
    if not np.isfinite(values[0]):
        rank = int(cells.ranks[np.flatnonzero(np.isfinite(values))[0]])
        notes.append(f"Place 1 has no usable click: propensities are relative to place {rank}.")
    return Propensities(values / first, tuple(notes))


def find_known(cells: Cells) -> NDArray[np.bool_]:
    """Which slots can be compared with one another, (s,): the largest part, by clicks, of the graph
    of slots and the documents clicked in them. Where that is connected, γ has one best value.

    Raises DataError where that part is one slot alone.
    """
    clicks = cells.by_slot(cells.clicks)
    use = cells.clicks > 0
    slots, pairs = len(cells.ranks), len(cells.queries)
    edges = (np.ones(use.sum()), (cells.slot[use], slots + cells.pair[use]))
    graph = coo_matrix(edges, shape=(slots + pairs, slots + pairs))
    labels = connected_components(graph, directed=False)[1][:slots]
    largest = np.bincount(labels, clicks).argmax()
    known: NDArray[np.bool_] = (labels == largest) & (clicks > 0)
    if known.sum() < 2:
        raise DataError(SAME_PLACES)
    return known


def fixed_effects(cells: Cells) -> Array:
    """γ by the Poisson quasi-likelihood, (s,), the first being 1. Every slot has a click."""
    had, clicks = cells.by_pair(cells.clicks), cells.by_slot(cells.clicks)

    def step(logs: Array) -> Array:
        seen = cells.by_pair(cells.shows * np.exp(logs)[cells.slot])
        attraction = np.divide(had, seen, out=np.zeros_like(had), where=seen > 0)
        found: Array = np.log(clicks / cells.by_slot(cells.shows * attraction[cells.pair]))
        return found - float(found[0])

    start = np.log(clicks / cells.by_slot(cells.shows))
    values: Array = np.exp(iterate(step, start - start[0]))
    return values


def maximise(cells: Cells) -> Array:
    """γ by expectation maximisation of the likelihood, (s,), the first being 1."""
    slots = len(cells.ranks)
    shows, missed = cells.by_slot(cells.shows), cells.shows - cells.clicks
    clicks, had, seen = (
        cells.by_slot(cells.clicks),
        cells.by_pair(cells.clicks),
        cells.by_pair(cells.shows),
    )

    def step(logits: Array) -> Array:
        both = 1 / (1 + np.exp(-logits))
        look, attraction = both[:slots][cells.slot], both[slots:][cells.pair]
        # A show without a click was looked at, or attracted, with these probabilities.
        share = missed / np.maximum(1 - look * attraction, 1e-12)
        looked = (clicks + cells.by_slot(share * look * (1 - attraction))) / shows
        liked = (had + cells.by_pair(share * attraction * (1 - look))) / seen
        return _logit(np.concatenate([looked, liked]))

    rate = clicks / shows
    look = 0.9 * rate / rate.max()
    liked = had / cells.by_pair(cells.shows * look[cells.slot])
    found = iterate(step, _logit(np.concatenate([look, np.clip(liked, 0.01, 0.99)])), slots)
    values: Array = 1 / (1 + np.exp(-found[:slots]))
    return values / float(values[0])


def iterate(step: Callable[[Array], Array], start: Array, watched: int | None = None) -> Array:
    """The fixed point of `step`, by squared extrapolation (Varadhan and Roland, Scandinavian
    Journal of Statistics 2008). watched: how many of the first numbers must have settled."""
    at = start
    for _ in range(ROUNDS):
        first = step(at)
        second = step(first)
        pace, bend = first - at, second - 2 * first + at
        size = float(np.sqrt(pace @ pace / max(float(bend @ bend), 1e-300)))
        length = min(max(size, 1.0), FARTHEST)
        found = step(np.clip(at + 2 * length * pace + length**2 * bend, -25, 25))
        moved = np.abs((found - found[0]) - (at - at[0]))[:watched].max()
        at = found
        if moved < TOLERANCE:
            break
    return at


def lean(cells: Cells, values: Array) -> Array:
    """UBM's γ(rank, distance), those of few clicks drawn towards what their rank has as a whole."""
    had = cells.by_pair(cells.clicks)
    looks = np.nan_to_num(values)[cells.slot]
    seen = cells.by_pair(cells.shows * looks)
    attraction = np.divide(had, seen, out=np.zeros_like(had), where=seen > 0)
    expected = cells.by_slot(cells.shows * attraction[cells.pair])
    clicks = cells.by_slot(cells.clicks)
    known = np.isfinite(values)
    per_rank = np.bincount(cells.ranks[known], clicks[known], cells.ranks.max() + 1)
    of_rank = np.bincount(cells.ranks[known], expected[known], cells.ranks.max() + 1)
    whole = np.divide(per_rank, of_rank, out=np.zeros_like(per_rank), where=of_rank > 0)
    rank = whole[cells.ranks]
    leaning = (clicks + SLOT_PRIOR) / (expected + SLOT_PRIOR / np.maximum(rank, 1e-9))
    values = np.where(known, leaning, np.nan)
    return values


def _cut(cells: Cells, used: NDArray[np.bool_]) -> tuple[Cells, Ids]:
    """The used cells with slots and pairs numbered anew, and which slots those are."""
    slots, slot = np.unique(cells.slot[used], return_inverse=True)
    pairs, pair = np.unique(cells.pair[used], return_inverse=True)
    part = Cells(
        slot,
        pair,
        cells.shows[used],
        cells.clicks[used],
        cells.ranks[slots],
        cells.distances[slots],
        cells.queries[pairs],
        cells.documents[pairs],
    )
    return part, slots


def _logit(shares: Array) -> Array:
    kept = np.clip(shares, 1e-9, 1 - 1e-9)
    logits: Array = np.log(kept / (1 - kept))
    return logits
