"""Several processes, started by torchrun itself, do what one does that accumulates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from es_rerank.errors import ConfigError
from es_rerank.training.dataset import Dataset
from es_rerank.training.devices import Team, join
from es_rerank.training.recipe import dump_recipe
from es_rerank.training.reranker import train_reranker
from es_rerank.training.reranking import Reranking
from es_rerank.training.train import train
from tests.training.conftest import make_recipe
from tests.training.test_train import weights_of, without_dropout


def test_two_processes_are_one_that_accumulates(
    backbone: Path, shop_folder: Path, tmp_path: Path
) -> None:
    calm = without_dropout(backbone, tmp_path / "calm")
    steady = {"steps": 4, "groups_per_step": 4, "evaluate_every": 2}
    recipe = make_recipe(
        calm, shop_folder, labels={"stuffed": 0.5}, adapter={"dropout": 0.0},
        objective={"learn_diversity": True}, schedule=steady, track={"to": []},
    )  # fmt: skip
    schedule = recipe.schedule.model_copy(update={"accumulate": 2})
    alone = recipe.model_copy(update={"schedule": schedule})
    result = train_reranker(alone, tmp_path / "runs-one/run", tmp_path / "one", lambda _: None)
    (tmp_path / "recipe.toml").write_text(dump_recipe(recipe))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "es_rerank", "--", "train", "reranker", "--json", "--recipe", "recipe.toml",
            "--out", "two", "--run", "runs-two/run",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["figures"]  # one process alone speaks
    assert done.stderr.count("step 4:") == 1
    runs = [tmp_path / "runs-one/run", tmp_path / "runs-two/run"]
    one, two = map(weights_of, runs)
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    lines = [(run / "log.jsonl").read_text().splitlines()[-1] for run in runs]
    first, second = map(json.loads, lines)
    assert first["listwise"] == pytest.approx(second["listwise"], abs=1e-3)
    assert told["ranking"] == result.figures["ranking"]


def test_a_step_must_have_something_for_everyone(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone, shop_folder, schedule={"groups_per_step": 2})
    with pytest.raises(ConfigError, match="among 3 processes"):
        train(Reranking(recipe, data, Team(0, 3)), tmp_path, lambda _: None)


def test_alone_there_is_nobody_to_ask() -> None:
    with join("cpu") as team, team.leader_first():
        assert team.leads
        assert team.own(["a", "b"]) == ["a", "b"]
        assert team.agree(3) == 3
