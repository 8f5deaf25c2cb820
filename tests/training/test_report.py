"""What the card tells, and the guards, on groups whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from es_rerank.errors import DataError
from es_rerank.training.dataset import Dataset
from es_rerank.training.grading import GOOD
from es_rerank.training.groups import Group
from es_rerank.training.guards import measure_change, tell_regularisation
from es_rerank.training.report import classify, find_unfairness, report
from tests.training.conftest import make_recipe

Found = tuple[NDArray[np.float64], NDArray[np.float32]]


def read_grades(group: Group, stuffed: Sequence[int]) -> Found:
    """A model that knows the grades, and falls for the query in a text."""
    logits = group.grades.astype(np.float64)
    logits[list(stuffed)] += 10.0
    return logits, np.eye(len(logits), 8, dtype=np.float32) + 0.01


def test_a_perfect_model_is_told_as_one(data: Dataset) -> None:
    figures = report(data, read_grades, 0.0)
    assert figures["ranking"][f"nDCG@10, all ({len(data.held)})"].endswith("1.000 with this model")
    variety = figures["the first 10"]
    assert "1.000 with this model" in variety["nDCG@10"]
    assert variety["ILD@10"].count("0.") >= 3
    guards = figures["guards"]
    assert guards["held-out queries also trained on"].startswith(f"0 of {len(data.held)}")
    stuffed = guards["places that a bad product gains by quoting the query"]
    assert float(stuffed.split()[0]) >= 1
    gains = guards["gain of nDCG@10 on what was trained on, held out"]
    assert gains.count("+") == 2


def test_what_is_learnt_by_heart_shows_as_a_gap(data: Dataset) -> None:
    known = {group.query for group in data.train}

    def read(group: Group, stuffed: Sequence[int]) -> Found:
        logits, facets = read_grades(group, ())
        return (logits if group.query in known else -logits), facets

    told = report(data, read, 0.0)["guards"]["gain of nDCG@10 on what was trained on, held out"]
    seen, unseen = (float(part.split()[0]) for part in told.split(", "))
    assert seen > 0 > unseen


def test_good_products_are_counted_as_they_are(data: Dataset) -> None:
    grades = [group.grades.astype(np.float64) for group in data.held]
    told = classify(data.held, [(own >= GOOD).astype(np.float64) for own in grades])
    good = sum(int((own >= GOOD).sum()) for own in grades)
    assert told[f"good ({good}): precision, recall, F1"] == "1.000, 1.000, 1.000"
    assert told["accuracy, area under the ROC"] == "1.000, 1.000"
    wrong = classify(data.held, [(own < GOOD).astype(np.float64) for own in grades])
    assert wrong["accuracy, area under the ROC"] == "0.000, 0.000"


def test_fairness_is_among_equals() -> None:
    grades = np.array([3, 3, 3, 0], dtype=np.float32)
    assert np.isnan(find_unfairness([1, 1, 1, 2], grades))
    fair, unfair = ([1, 2, 2, 3], [1, 1, 2, 3])
    assert 0 < find_unfairness(fair, grades) < 1
    # One of the first owner's first, then two of the other's: per product less is seen below.
    assert find_unfairness(fair, grades) == pytest.approx((1 - 0.565) / (2 * 1.565), abs=0.01)
    assert find_unfairness(unfair, grades) < find_unfairness(fair, grades)


def test_a_query_in_training_and_testing_is_an_error(data: Dataset) -> None:
    backwards = " ".join(reversed(data.train[0].query.split()))
    leaking = replace(data, held=[*data.held, replace(data.train[0], query=backwards)])
    with pytest.raises(DataError, match="trained on as well"):
        report(leaking, read_grades, 0.0)


def test_the_change_is_measured_by_the_norm(backbone: Path, shop_folder: Path) -> None:
    plain = {"w": torch.ones(4, 4), "v": torch.full((4, 4), 2.0)}
    adapter = {
        "w.a": torch.ones(1, 4),
        "w.b": torch.full((4, 1), 0.1),
        "v.delta": torch.zeros(4, 4),
    }
    (told,) = measure_change(adapter, plain).values()
    assert told.startswith("4.5%")  # .4 of sqrt(16 + 64)
    assert measure_change({"w.down": torch.ones(1)}, plain) == {}
    recipe = make_recipe(backbone, shop_folder)
    assert "stopped early after 6" in tell_regularisation(recipe, 3, 6)["weights kept"]
