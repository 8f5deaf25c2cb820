"""Training from end to end with a tiny backbone: each method, resuming, the exported folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from es_rerank.cli.main import cli
from es_rerank.config import Settings
from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.manifest import MANIFEST, read_manifest
from es_rerank.models.reranker import load_reranker
from es_rerank.ranking.blend import Weights
from es_rerank.training.dataset import Dataset
from es_rerank.training.export import export
from es_rerank.training.pairs import Pairs
from es_rerank.training.recipe import Recipe, read_recipe
from es_rerank.training.reranking import AS_SERVED, Reranking, choose_share, score_groups
from es_rerank.training.train import BEST, CHECKPOINT, train
from tests.training.conftest import make_recipe

TEXTS = ["acme running shoes red", "bolt garden gnome", "shoe rack " * 40, "sun hat"]


def run(recipe: Recipe, data: Dataset, folder: Path) -> Any:
    return train(Reranking(recipe, data), folder, lambda _: None)


def weights_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / CHECKPOINT, weights_only=True)["weights"]
    return loaded


def test_training_and_testing_share_no_query(data: Dataset) -> None:
    held = {group.query.casefold() for group in data.held}
    assert held.isdisjoint(group.query.casefold() for group in data.train)


@pytest.mark.parametrize("method", ["full", "top", "lora", "adalora", "houlsby"])
def test_what_is_saved_scores_as_what_was_trained(
    method: str, backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone, shop_folder, adapter={"method": method})
    finished = run(recipe, data, tmp_path / "run")
    manifest = export(finished.network, recipe, 0.3, tmp_path / "model", {}, {})
    assert manifest.cosine_share == 0.3

    pairs = Pairs(str(backbone), data.texts, recipe.adapter.served_tokens)
    before = Reranking(recipe, data).start().network
    loaded, again = (load_reranker(tmp_path / "model", "cpu") for _ in range(2))
    for group, expected in zip(
        data.held, score_groups(finished.network, pairs, data.held), strict=True
    ):
        texts = [data.texts[row] for row in group.rows]
        scores = loaded.score_pairs(group.query, texts)
        assert np.array_equal(scores, again.score_pairs(group.query, texts))
        assert scores == pytest.approx(expected, abs=0.05)  # fp16 on disk
        (untrained,) = score_groups(before, pairs, [group])
        assert np.abs(untrained - expected).max() > 0.2
    hats, gnomes = loaded.score_lists([("sun hat", TEXTS), ("gnome", TEXTS[:2])])
    assert hats == pytest.approx(loaded.score_pairs("sun hat", TEXTS), abs=1e-4)
    assert gnomes == pytest.approx(loaded.score_pairs("gnome", TEXTS[:2]), abs=1e-4)


def test_a_run_that_was_killed_ends_as_one_that_was_not(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone, shop_folder)
    run(recipe, data, tmp_path / "whole")

    class KilledError(Exception):
        pass

    def say(text: str) -> None:
        if text.startswith("step 6"):
            raise KilledError

    with pytest.raises(KilledError):
        train(Reranking(recipe, data), tmp_path / "cut", say)
    assert torch.load(tmp_path / "cut" / CHECKPOINT, weights_only=True)["step"] == 3
    run(recipe, data, tmp_path / "cut")
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    last = (tmp_path / "cut" / "log.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["step"] == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": {"optimizer": "sgd", "accumulate": 2}},
        {"objective": {"diversity_form": "softmax", "info_nce": 0.5, "unfairness": 0.5}},
        {"objective": {"learn_diversity": True}},
        {"labels": {"stuffed": 1.0}},
        {"schedule": {"precision": "bf16"}},
    ],
)
def test_every_choice_of_the_recipe_trains(
    changes: dict[str, Any], backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    plain = run(make_recipe(backbone, shop_folder), data, tmp_path / "plain")
    other = run(make_recipe(backbone, shop_folder, **changes), data, tmp_path / "other")
    one, two = weights_of(tmp_path / "plain"), weights_of(tmp_path / "other")
    assert other.step == plain.step == 12
    assert any(not torch.equal(one[name], two[name]) for name in one)
    assert all(torch.isfinite(values).all() for values in two.values())


def test_activations_computed_twice_are_the_same(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    for name in ("kept", "twice"):
        schedule = {"steps": 3, "checkpointing": name == "twice"}
        run(make_recipe(backbone, shop_folder, schedule=schedule), data, tmp_path / name)
    kept, twice = weights_of(tmp_path / "kept"), weights_of(tmp_path / "twice")
    assert all(torch.allclose(kept[name], twice[name], atol=1e-6) for name in kept)


def test_accumulating_is_the_same_step(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    still = {"adapter": {"dropout": 0.0}, "labels": {"stuffed": 0.0}}
    steady = {"steps": 2, "groups_per_step": 4, "optimizer": "sgd"}
    calm = without_dropout(backbone, tmp_path / "calm")
    for name, parts in (("one", 1), ("four", 4)):
        schedule = {**steady, "accumulate": parts}
        run(make_recipe(calm, shop_folder, schedule=schedule, **still), data, tmp_path / name)
    one, four = weights_of(tmp_path / "one"), weights_of(tmp_path / "four")
    assert all(torch.allclose(one[name], four[name], atol=1e-5) for name in one)


def without_dropout(backbone: Path, folder: Path) -> Path:
    """A copy of the backbone without dropout: parts would draw it differently."""
    shutil.copytree(backbone, folder)
    config = json.loads((folder / "config.json").read_text())
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config | still))
    return folder


def test_early_stopping_ends_a_run_that_gains_nothing(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    schedule = {"steps": 200, "evaluate_every": 1, "patience": 2, "learning_rate": 1e-9}
    finished = run(make_recipe(backbone, shop_folder, schedule=schedule), data, tmp_path)
    assert finished.step == 3
    assert torch.load(tmp_path / BEST, weights_only=True)["step"] == 1


def test_the_share_leans_to_the_cosine_where_it_costs_nothing(data: Dataset) -> None:
    zeros = [np.zeros(len(group.rows)) for group in data.held]
    known = [replace(group, cosines=group.grades) for group in data.held]
    share, found = choose_share(known, zeros)
    assert share == 1.0
    assert found[0.0] < found[1.0] == pytest.approx(1.0)
    told = [group.grades.astype(np.float64) for group in data.held]
    share, found = choose_share(data.held, told)
    assert found[0.0] == pytest.approx(1.0)
    assert share < 1.0


def test_the_share_is_chosen_as_searches_are_ranked(data: Dataset) -> None:
    """A cosine that is always wrong may count for more where the engine outweighs it."""
    assert all(group.first_stage is not None for group in data.held)
    wrong = [replace(group, cosines=-group.grades, first_stage=None) for group in data.held]
    outweighed = [replace(group, first_stage=group.grades) for group in wrong]
    told = [group.grades.astype(np.float64) for group in data.held]
    assert choose_share(wrong, told)[0] < 0.5
    assert choose_share(outweighed, told)[0] == 0.5  # the engine decides where both cancel out
    assert choose_share(outweighed, told)[1] == choose_share(wrong, told)[1]
    rerank = Settings().rerank
    assert Weights(rerank.relevance_weight, rerank.first_stage_weight) == AS_SERVED


def test_the_command_trains_and_says_what_it_found(
    backbone: Path, shop_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    recipe = f"""
[labels]
wishes = 60
group = 6
held_out = 0.2
[adapter]
backbone = "{backbone}"
layers = 1
max_tokens = 32
served_tokens = 40
[schedule]
steps = 2
"""
    Path("recipe.toml").write_text(recipe)
    arguments = ["--quiet", "train", "reranker", "--recipe", "recipe.toml", "--json"]
    cli.main([*arguments, "--data", str(shop_folder), "--seed", "7"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    manifest = read_manifest(Path("model"))
    assert told["folder"] == "model"
    assert manifest.training["recipe"]["schedule"]["seed"] == 7
    assert manifest.card == told["figures"]
    assert "weak labels" in Path("model/README.md").read_text()


def test_a_folder_that_is_not_whole_is_refused(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone, shop_folder, schedule={"steps": 1})
    finished = run(recipe, data, tmp_path / "run")
    good = tmp_path / "good"
    export(finished.network, recipe, 0.5, good, {}, {})

    def spoil(name: str, text: str, becomes: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(good, folder)
        told = (folder / MANIFEST).read_text()
        assert text in told
        (folder / MANIFEST).write_text(told.replace(text, becomes))
        return folder

    with pytest.raises(ModelError, match="format 2"):
        load_reranker(spoil("newer", '"format": 1', '"format": 2'))
    hashed = read_manifest(good).backbone_hash
    with pytest.raises(ModelError, match="another"):
        load_reranker(spoil("other", hashed, "0" * 64))
    broken = spoil("broken", '"format": 1', '"format": 1')
    (broken / "heads.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"heads\.safetensors is missing or is not the file"):
        load_reranker(broken)


def test_recipes_are_checked(tmp_path: Path) -> None:
    assert read_recipe(None) == Recipe()
    path = tmp_path / "recipe.toml"
    path.write_text("[schedule]\nsteps = 0\n")
    with pytest.raises(ConfigError, match=r"schedule\.steps"):
        read_recipe(path)
    path.write_text("[shedule]\n")
    with pytest.raises(ConfigError, match="shedule"):
        read_recipe(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
