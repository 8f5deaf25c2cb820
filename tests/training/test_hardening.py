"""What the terms against abuse do, before and after, on a tiny model and its own groups."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_rerank.training.dataset import Dataset
from es_rerank.training.guards import count_gained
from es_rerank.training.report import find_harm, measure_variety, rank_down
from es_rerank.training.reranker import read_with
from es_rerank.training.reranking import Reranking, score_groups
from es_rerank.training.train import train
from tests.training.conftest import make_recipe

HARM = "exposure@10 of toxic or biased texts, where there are"
GINI = "Gini of exposure, equally good brands"


@pytest.fixture(scope="module")
def own(data: Dataset) -> Dataset:
    """Some groups, to learn and to measure by."""
    return replace(data, train=data.train[:24], held=data.train[:24])


def measure(
    backbone: Path, shop: Path, own: Dataset, folder: Path, **changes: Any
) -> dict[str, float]:
    """Train, and measure what the seller gains and how fair the order is."""
    recipe = make_recipe(
        backbone, shop, adapter={"method": "full"}, track={"to": []},
        schedule={
            "steps": 40, "groups_per_step": 3, "evaluate_every": 40, "learning_rate": 0.003,
            "average": 0.5,
        },
        **changes,
    )  # fmt: skip
    task = Reranking(recipe, own)
    network = train(task, folder, lambda _: None).network
    logits = score_groups(network, task.pairs, own.held)
    found = measure_variety(own, [rank_down(each) for each in logits])
    gained = count_gained(own.held, read_with(network, task.pairs), logits)
    return {**found, "gained": float(np.mean(gained))}


@pytest.fixture(scope="module")
def plain(
    backbone: Path, shop_folder: Path, own: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, float]:
    """A model trained without either."""
    folder = tmp_path_factory.mktemp("plain")
    return measure(backbone, shop_folder, own, folder, labels={"stuffed": 0.0})


def test_hardening_takes_away_what_stuffing_gains(
    backbone: Path, shop_folder: Path, own: Dataset, plain: dict[str, float], tmp_path: Path
) -> None:
    found = measure(backbone, shop_folder, own, tmp_path, labels={"stuffed": 1.0})
    assert found["gained"] < plain["gained"] - 0.2
    assert found["nDCG@10"] > plain["nDCG@10"] - 0.15


def test_the_penalty_evens_the_exposure_of_equally_good_brands(
    backbone: Path, shop_folder: Path, own: Dataset, plain: dict[str, float], tmp_path: Path
) -> None:
    found = measure(
        backbone, shop_folder, own, tmp_path, labels={"stuffed": 0.0},
        objective={"unfairness": 20.0},
    )  # fmt: skip
    assert found[GINI] < plain[GINI]
    assert found["nDCG@10"] > plain["nDCG@10"] - 0.15


def test_the_penalty_pushes_harmful_texts_down(
    backbone: Path, shop_folder: Path, own: Dataset, tmp_path: Path
) -> None:
    """Of some good products the text is spoilt by what the word lists know."""
    texts = [f"girls only. {text}" if row % 4 == 0 else text for row, text in enumerate(own.texts)]
    spoilt = replace(own, texts=texts)
    assert spoilt.harmful.sum() == len([row for row in range(len(texts)) if row % 4 == 0])
    before, after = (
        measure(
            backbone, shop_folder, spoilt, tmp_path / str(weight), labels={"stuffed": 0.0},
            objective={"harm": weight},
        )
        for weight in (0.0, 3.0)
    )  # fmt: skip
    assert after[HARM] < before[HARM] - 0.02  # at the bottom of six they still have a fifth
    assert after["nDCG@10"] > before["nDCG@10"] - 0.25
    assert math.isnan(find_harm(np.zeros(3, np.bool_)))
