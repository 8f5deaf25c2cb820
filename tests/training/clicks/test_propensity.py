"""How much places are seen, found again from simulated clicks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from es_rerank.errors import DataError
from es_rerank.training.clicks.log import ClickLog
from es_rerank.training.clicks.propensity import (
    Model,
    count_cells,
    find_distances,
    find_known,
    find_propensities,
)
from tests.training.clicks.simulation import Simulated, pbm, simulate, steep, ubm

ENOUGH = 1500
"""Clicks of a slot from which on chance alone moves it by less than a few percent."""


def errors(simulated: Simulated, model: Model, estimator: Any = "fixed-effects") -> Any:
    """Relative errors of gamma, by slot, of the slots that were clicked often enough."""
    cells = count_cells(simulated.log, model)
    found = find_propensities(cells, estimator).values
    slots = zip(cells.ranks.tolist(), cells.distances.tolist(), strict=True)
    true = np.array([simulated.gamma(rank, max(distance, 1)) for rank, distance in slots])
    enough = cells.by_slot(cells.clicks) >= ENOUGH
    assert enough.sum() >= 3
    return (found / (true / true[0]) - 1)[enough]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"noise": 0.35},
        {"ranks": 3},
        {"skew": 1.5, "queries": 2000},
        {"gamma": steep},
        {"shuffle": 0.2},
    ],
    ids=["usual", "noisy clicks", "few places", "unbalanced queries", "steep", "little variation"],
)
def test_the_position_based_model_is_found_again(settings: dict[str, Any]) -> None:
    simulated = simulate(**{"gamma": pbm, "searches": 120_000, **settings})
    assert np.abs(errors(simulated, "pbm")).max() < 0.05


@pytest.mark.parametrize(
    "settings",
    [{"ranks": 5}, {"noise": 0.35, "ranks": 5}, {"skew": 1.5, "queries": 2000, "ranks": 4}],
    ids=["usual", "noisy clicks", "unbalanced queries"],
)
def test_the_user_browsing_model_is_found_again(settings: dict[str, Any]) -> None:
    simulated = simulate(ubm, searches=150_000, **settings)
    assert np.abs(errors(simulated, "ubm")).max() < 0.05


def test_expectation_maximisation_agrees_where_much_is_known_of_each_document() -> None:
    simulated = simulate(pbm, searches=60_000, queries=50, ranks=5)
    assert np.abs(errors(simulated, "pbm", "em")).max() < 0.05


def test_documents_that_were_shown_a_few_times_only_do_not_mislead() -> None:
    simulated = simulate(pbm, searches=50_000, queries=5000, skew=0.3)
    assert np.abs(errors(simulated, "pbm")).max() < 0.05
    assert errors(simulated, "pbm", "em").max() > 0.1  # why it is not the default


def test_half_a_million_shows_take_seconds() -> None:
    simulated = simulate(ubm, searches=50_000)
    assert len(simulated.log) == 500_000
    start = time.process_time()
    find_propensities(count_cells(simulated.log, "ubm"))
    assert time.process_time() - start < 10


@pytest.mark.parametrize("model", ["pbm", "ubm"])
def test_places_that_never_vary_are_an_error_that_says_how_to_mend_it(model: Model) -> None:
    simulated = simulate(pbm, searches=2000, shuffle=0.0)
    with pytest.raises(DataError, match=r"swap two neighbouring products.*--propensities"):
        find_propensities(count_cells(simulated.log, model))


def log_of(rows: list[tuple[int, int, int, int]], **others: Any) -> ClickLog:
    """A log from (search, document, rank, clicked), all of one query."""
    search, document, rank, clicked = np.array(rows, dtype=np.int64).T
    names = [f"d{i}" for i in range(document.max() + 1)]
    query = np.zeros_like(search)
    return ClickLog(search, query, document, rank, clicked.astype(bool), ["q"], names, **others)


def test_a_place_that_shares_no_document_with_others_is_not_known() -> None:
    rows = [(i, 0, 1 + i % 2, 1) for i in range(10)] + [(i, 1, 3, 1) for i in range(10)]
    cells = count_cells(log_of(rows), "pbm")
    assert find_known(cells).tolist() == [True, True, False]
    found = find_propensities(cells)
    assert np.isnan(found.values).tolist() == [False, False, True]
    assert "1 of 3 places" in found.notes[0]


def test_little_variation_is_told() -> None:
    rows = [(i, 0, 1, i % 2) for i in range(1000)] + [(i, 1, 2, i % 5 == 0) for i in range(1000)]
    rows += [(2000 + i, 2, 1 + i % 2, 1) for i in range(10)]
    found = find_propensities(count_cells(log_of(rows), "pbm"))
    assert "1.4% of the clicks" in found.notes[0]
    assert found.values == pytest.approx([1.0, 1.0])


def test_distances_are_to_the_last_click_above() -> None:
    rows = [(7, 0, 3, 1), (7, 1, 1, 0), (7, 2, 2, 1), (7, 3, 5, 0), (8, 0, 1, 0), (8, 1, 4, 0)]
    assert find_distances(log_of(rows)).tolist() == [1, 1, 2, 2, 1, 4]


def test_a_browsing_model_needs_to_know_what_belongs_together() -> None:
    log = replace(simulate(ubm, searches=100).log, sessions=False)
    with pytest.raises(DataError, match=r"column `session`.*--model pbm"):
        count_cells(log, "ubm")
