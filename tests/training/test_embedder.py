"""An embedder trained on weak labels: it learns, and what is saved embeds as what was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from es_rerank.cli.main import cli
from es_rerank.errors import ConfigError
from es_rerank.models.embedder import load_embedder
from es_rerank.models.manifest import hash_file
from es_rerank.training.dataset import Dataset
from es_rerank.training.embedder import TOLD, save_embedder, train_embedder
from es_rerank.training.embedding import Embedding
from es_rerank.training.recipe import EMBEDDER, dump_recipe, read_recipe
from es_rerank.training.train import train
from tests.training.conftest import make_recipe


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("method", ["lora", "adalora", "full"])
def test_what_is_saved_embeds_as_what_was_trained(
    method: str, backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    recipe = make_recipe(
        backbone, shop_folder, adapter={"method": method, "max_tokens": 48}, track={"to": []},
        schedule={"groups_per_step": 4, "steps": 20, "evaluate_every": 10},
    )  # fmt: skip
    task = Embedding(recipe, data)
    finished = train(task, tmp_path / "run", quiet)
    trained = task.score(finished.network)
    save_embedder(recipe, data, finished, tmp_path / "run", tmp_path / "model")
    served, plain = (load_embedder(str(path), "cpu") for path in (tmp_path / "model", backbone))
    for group, expected in zip(data.held, trained, strict=True):
        texts = [group.query, *(data.texts[row] for row in group.rows)]
        vectors = served.encode(texts)
        assert vectors[1:] @ vectors[0] == pytest.approx(expected, abs=1e-4)
        assert np.abs(vectors - plain.encode(texts)).max() > 0.01
    told = json.loads((tmp_path / "model" / TOLD).read_text())
    name = "model.safetensors"
    assert told["hashes"][name] == hash_file(tmp_path / "model" / name)
    assert "by the cosine alone" in (tmp_path / "model" / "README.md").read_text()


def test_sentence_transformers_reads_the_same_folder(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    recipe = make_recipe(backbone, shop_folder, schedule={"steps": 1}, track={"to": []})
    finished = train(Embedding(recipe, data), tmp_path / "run", quiet)
    save_embedder(recipe, data, finished, tmp_path / "run", tmp_path / "model")
    texts = ["red sun hat", *data.texts[:3]]
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(texts)
    assert load_embedder(str(tmp_path / "model"), "cpu").encode(texts) == pytest.approx(
        theirs, abs=1e-4
    )


def test_training_brings_good_products_nearer(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    few = replace(data, train=data.train[:8], held=data.train[:8])
    recipe = make_recipe(
        backbone, shop_folder, adapter={"method": "full", "max_tokens": 48}, track={"to": []},
        schedule={
            "groups_per_step": 4, "steps": 40, "evaluate_every": 20, "learning_rate": 0.002,
            "average": 0.5,
        },
    )  # fmt: skip
    task = Embedding(recipe, few)
    before = task.measure(task.start()).best
    after = task.measure(train(task, tmp_path, quiet)).best
    assert after > before + 0.1
    assert after > 0.9


def gradients(task: Embedding, picked: Sequence[int]) -> float:
    """The loss of some groups in one part."""
    run = task.start()
    run.network.eval()
    with torch.no_grad():
        return float(task.lose(run, [task.data.train[i] for i in picked], (), {}))


def test_other_groups_products_are_negatives_unless_they_are_nearly_good(
    backbone: Path, shop_folder: Path, data: Dataset
) -> None:
    strict = make_recipe(backbone, shop_folder, embedder={"near": -1.0})  # all are nearly good
    loose = make_recipe(backbone, shop_folder, embedder={"near": 1.0})
    apart = sum(gradients(Embedding(strict, data), [i]) for i in (0, 1))
    assert gradients(Embedding(strict, data), [0, 1]) == pytest.approx(apart, abs=1e-3)
    assert gradients(Embedding(loose, data), [0, 1]) > apart + 0.01
    gains, _ = Embedding(loose, data).compare(data.train[:1], np.unique(data.train[0].rows))
    assert float(gains.sum()) == pytest.approx(float((2.0 ** data.train[0].grades - 1).sum()))


def test_the_command_trains_and_names_the_folder(
    backbone: Path, shop_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(backbone, shop_folder, schedule={"steps": 2}, track={"to": []})
    Path("recipe.toml").write_text(dump_recipe(recipe))
    cli.main(["train", "embedder", "--recipe", "recipe.toml", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "embedder"
    assert any(name.startswith("nDCG@10, all") for name in told["figures"]["ranking"])
    assert load_embedder(told["folder"], "cpu").dimensions == 32


def test_its_defaults_are_its_own(backbone: Path, shop_folder: Path, tmp_path: Path) -> None:
    assert read_recipe(None, EMBEDDER).schedule.groups_per_step == 8
    (tmp_path / "recipe.toml").write_text("[schedule]\nsteps = 5\n")
    recipe = read_recipe(tmp_path / "recipe.toml", EMBEDDER)
    assert (recipe.schedule.steps, recipe.schedule.groups_per_step) == (5, 8)
    houlsby = make_recipe(backbone, shop_folder, adapter={"method": "houlsby"})
    with pytest.raises(ConfigError, match="cannot be merged"):
        train_embedder(houlsby, tmp_path / "run", tmp_path / "model", quiet)
