"""How much each document attracts whoever sees it, and what grade that is.

Given how much each slot is seen, a pair's attraction is found by expectation maximisation under a
Beta prior whose mean is the log's: a pair that was hardly seen stays near the mean, and its weight,
the share of its evidence in evidence and prior, says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import DataError
from es_rerank.training.clicks.log import ClickLog
from es_rerank.training.clicks.propensity import (
    Cells,
    Estimator,
    Model,
    Propensities,
    count_cells,
    find_propensities,
)

Scale = Literal["grades", "probabilities"]
LEAST_VIEWS = 5.0
SMOOTHING = 2.0
STEPS = (0.2, 0.45, 0.75)
"""Attraction, as a share of the query's best, from which on the grade is 1, 2 and 3."""
ROUNDS = 500
TOLERANCE = 1e-6
CAVEAT = (
    "What nobody saw nobody clicked, and looks, price and habit are clicked as well: take such "
    "grades for training, and measure by people's."
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClickJudgment:
    """What clicks say of a document for a query.

    rating: 0 to 3, or the attraction itself. weight: 0 to 1, how much of it is evidence rather than
    prior. attraction: probability of a click when shown at the first place. views: how often it was
    seen, by the model; shows and clicks: as logged.
    """

    query: str
    document: str
    rating: float
    weight: float
    attraction: float
    views: float
    shows: int
    clicks: int


@dataclass(frozen=True)
class ClickJudgments:
    """All of them, with how much each slot is seen: (rank, distance) -> γ, distance 0 in a PBM."""

    judgments: tuple[ClickJudgment, ...]
    propensities: Mapping[tuple[int, int], float]
    notes: tuple[str, ...]


def judge_log(
    log: ClickLog,
    model: Model = "pbm",
    *,
    estimator: Estimator = "fixed-effects",
    known: Mapping[int, float] | None = None,
    least_views: float = LEAST_VIEWS,
    smoothing: float = SMOOTHING,
    scale: Scale = "grades",
) -> ClickJudgments:
    """Judge every pair that was seen often enough.

    known: rank -> how much it is seen, where that is known and not to be learnt. smoothing: by how
    many views a pair is drawn to the mean. Raises DataError where nothing can be told.
    """
    cells = count_cells(log, model)
    found = find_propensities(cells, estimator) if known is None else take_known(cells, known)
    looks = np.nan_to_num(found.values)[cells.slot]
    views = cells.by_pair(cells.shows * looks)
    attraction = find_attraction(cells, found.values, smoothing)
    enough = views >= least_views
    if not enough.any():
        raise DataError(
            f"No document was seen {least_views:g} times for its query (the most is "
            f"{views.max():.1f}): the log is too short to judge by. --least-views takes fewer."
        )
    weight = views / (views + smoothing) if smoothing else np.ones_like(views)
    ratings = attraction if scale == "probabilities" else grade(cells, attraction, enough)
    shows, clicks = cells.by_pair(cells.shows), cells.by_pair(cells.clicks)
    judgments = tuple(
        ClickJudgment(
            log.queries[cells.queries[i]],
            log.documents[cells.documents[i]],
            round(float(ratings[i]), 4),
            round(float(weight[i]), 4),
            round(float(attraction[i]), 4),
            round(float(views[i]), 2),
            int(shows[i]),
            int(clicks[i]),
        )
        for i in np.flatnonzero(enough)
    )
    slots = zip(cells.ranks.tolist(), cells.distances.tolist(), found.values, strict=True)
    notes = [
        *log.notes,
        *found.notes,
        f"{int(enough.sum())} of {len(enough)} pairs of query and document were seen "
        f"{least_views:g} times or more.",
        CAVEAT,
    ]
    return ClickJudgments(
        judgments,
        {(rank, distance): float(value) for rank, distance, value in slots if np.isfinite(value)},
        tuple(notes),
    )


def take_known(cells: Cells, known: Mapping[int, float]) -> Propensities:
    """γ as it is given, by rank; the nearest rank above stands for one that is not."""
    ranks = np.array(sorted(known))
    if not len(ranks) or ranks[0] > cells.ranks.min():
        raise DataError(
            f"the propensities say nothing of place {int(cells.ranks.min())}: name every place "
            "from the first on, as in 1=1,2=.6,3=.4"
        )
    given = np.array([known[int(rank)] for rank in ranks], dtype=np.float64)
    if not (np.isfinite(given) & (given > 0)).all():
        raise DataError("a propensity must be a number above 0")
    return Propensities(given[np.searchsorted(ranks, cells.ranks, side="right") - 1] / given[0])


def find_attraction(cells: Cells, propensities: Array, smoothing: float) -> Array:
    """Each pair's attraction at the first place, (p,) in 0..1."""
    # Slots that nothing is known of have no say; the most seen one bounds the probabilities.
    most = float(np.nanmax(propensities))
    look = np.nan_to_num(propensities / most)[cells.slot]
    told = look > 0
    shows, clicks = np.where(told, cells.shows, 0.0), np.where(told, cells.clicks, 0.0)
    had, seen = cells.by_pair(clicks), cells.by_pair(shows)
    mean = min(float(had.sum() / max((shows * look).sum(), 1e-12)), 1.0)
    views = cells.by_pair(shows * look)
    found = (had + smoothing * mean) / np.maximum(views + smoothing, 1e-12)
    found = np.clip(found, 1e-9, 1 - 1e-9)
    for _ in range(ROUNDS):
        own = found[cells.pair]
        liked = cells.by_pair((shows - clicks) * own * (1 - look) / (1 - look * own))
        better = (had + liked + smoothing * mean) / np.maximum(seen + smoothing, 1e-12)
        better = np.clip(better, 1e-9, 1 - 1e-9)
        moved = float(np.abs(better - found).max())
        found = better
        if moved < TOLERANCE:
            break
    first = propensities[np.flatnonzero(np.isfinite(propensities))[0]] / most
    attraction: Array = found * first
    return attraction


def grade(cells: Cells, attraction: Array, enough: NDArray[np.bool_]) -> Array:
    """Grades 0 to 3, (p,), by the share of the best that the query has, which is taken for no less
    than the mean of all: a query that nobody likes anything of has nothing good."""
    best = np.full(int(cells.queries.max()) + 1, float(attraction[enough].mean()))
    np.maximum.at(best, cells.queries[enough], attraction[enough])
    grades: Array = np.searchsorted(STEPS, attraction / best[cells.queries], side="right") * 1.0
    return grades
