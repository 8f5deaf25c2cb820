"""The mean of models of several seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from es_rerank.errors import ConfigError
from es_rerank.models.manifest import read_manifest
from es_rerank.models.network import load_parts
from es_rerank.models.reranker import load_reranker
from es_rerank.training.reranker import train_reranker
from es_rerank.training.soup import average_models
from tests.training.conftest import make_recipe
from tests.training.test_train import TEXTS


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def models(backbone: Path, shop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two models of two seeds."""
    root = tmp_path_factory.mktemp("models")
    for seed in (1, 2):
        recipe = make_recipe(backbone, shop_folder, schedule={"seed": seed})
        train_reranker(recipe, root / f"run-{seed}", root / f"model-{seed}", quiet)
    return root


def test_the_mean_is_of_all_that_was_learnt(models: Path, shop_folder: Path) -> None:
    folders = [models / "model-1", models / "model-2"]
    out = models / "soup"
    result = average_models(folders, [str(shop_folder)], out, models / "cache", quiet)
    matrices, closeness = [], []
    for folder in (*folders, out):
        manifest = read_manifest(folder)
        encoder, heads = load_parts(folder, manifest, "cpu")
        node = encoder.encoder.layer
        matrices.append(list(node)[1].output.dense.weight.detach().numpy())
        closeness.append(float(heads.closeness.detach()))
    assert not np.allclose(matrices[0], matrices[1], atol=1e-4)
    assert matrices[2] == pytest.approx((matrices[0] + matrices[1]) / 2, abs=1e-3)
    assert closeness[2] == pytest.approx(np.mean(closeness[:2]), abs=1e-2)
    assert [part["seed"] for part in result.manifest.training["mean_of"]] == [1, 2]
    assert result.manifest.card == result.figures
    assert "seeds 1, 2" in (out / "README.md").read_text()


def test_the_mean_of_one_is_itself(models: Path, shop_folder: Path) -> None:
    one = models / "model-1"
    data, cache = [str(shop_folder)], models / "cache"
    twice = average_models([one, one], data, models / "twice", cache, quiet)
    expected = load_reranker(one, "cpu").score_pairs("red hat", TEXTS)
    found = load_reranker(twice.folder, "cpu").score_pairs("red hat", TEXTS)
    assert found == pytest.approx(expected, abs=1e-3)


def test_models_of_other_recipes_have_no_mean(
    models: Path, backbone: Path, shop_folder: Path
) -> None:
    other = make_recipe(backbone, shop_folder, schedule={"steps": 1}, adapter={"rank": 2})
    train_reranker(other, models / "run-3", models / "model-3", quiet)
    folders = [models / "model-1", models / "model-3"]
    with pytest.raises(ConfigError, match="model-3"):
        average_models(folders, [str(shop_folder)], models / "none", models / "cache", quiet)
    with pytest.raises(ConfigError, match="--data"):
        average_models(folders[:1], ["sample"], models / "none", models / "cache", quiet)
