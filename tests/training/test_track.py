"""What trackers are told, read back by their own libraries."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from es_rerank.errors import ConfigError
from es_rerank.training.dataset import Dataset
from es_rerank.training.recipe import Track
from es_rerank.training.reranking import Reranking
from es_rerank.training.track import check_packages, open_trackers
from es_rerank.training.train import train
from tests.training.conftest import make_recipe


def test_tensorboard_has_the_curves_by_default_and_goes_on_where_a_run_was_cut(
    backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (10, 20):
        schedule = {"steps": steps, "evaluate_every": 10, "checkpoint_every": 5}
        recipe = make_recipe(backbone, shop_folder, schedule=schedule)
        assert recipe.track.to == ("tensorboard",)
        train(Reranking(recipe, data), tmp_path, lambda _: None)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    curve = [(event.step, event.value) for event in found.Scalars("train/listwise")]
    assert curve == [(line["step"], pytest.approx(line["listwise"])) for line in lines]
    assert [event.step for event in found.Scalars("held/ndcg10")] == [10, 20]


@pytest.fixture
def wandb_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of wandb's outside the test's folder."""
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))


@pytest.mark.usefixtures("wandb_files")
def test_mlflow_and_wandb_have_one_run_each_though_it_was_cut(
    backbone: Path, shop_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    track = {"to": ["mlflow", "wandb"], "project": "shop"}
    recipe = make_recipe(backbone, shop_folder)
    recipe = recipe.model_copy(update={"track": Track.model_validate(track)})
    for step in (10, 20):
        with open_trackers(recipe, tmp_path, step - 10, lambda _: None) as trackers:
            for each in trackers:
                each.log(step, {"held/ndcg10": step / 100})

    from mlflow import MlflowClient

    client = MlflowClient((tmp_path / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    (kept,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(kept.info.run_id, "held/ndcg10")
    assert [(metric.step, metric.value) for metric in history] == [(10, 0.1), (20, 0.2)]
    assert kept.info.status == "FINISHED"
    assert kept.data.params["adapter.rank"] == "4"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    name = (tmp_path / "wandb-run").read_text()
    written = list((tmp_path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert written
    assert any(b"held/ndcg10" in path.read_bytes() for path in written)


def test_who_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def missing(name: str) -> Any:
        return None

    monkeypatch.setattr("importlib.util.find_spec", missing)
    assert check_packages(Track(), told.append) == []
    assert "es-rerank[train]" in told[0]
    with pytest.raises(ConfigError, match=r"es-rerank\[wandb\]"):
        check_packages(Track(to=("wandb",)), told.append)
