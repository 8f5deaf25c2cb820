"""Searching settings: the study survives, goes by weak labels, and its best recipe trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cli.main import cli
from es_rerank.errors import ConfigError
from es_rerank.training.recipe import Judged, Recipe, Search, dump_recipe, read_recipe
from es_rerank.training.search import STUDY, search
from tests.training.conftest import make_recipe

SPACE = {
    "schedule.learning_rate": {"low": 1e-9, "high": 0.01, "log": True},
    "adapter.rank": {"choices": [2, 4]},
}


def make_search(backbone: Path, shop: Path, space: Any = SPACE, **changes: Any) -> Recipe:
    """A recipe of seconds, and where to search."""
    schedule = {"steps": 6, "evaluate_every": 3}
    recipe = make_recipe(backbone, shop, schedule=schedule, track={"to": []})
    found = Search.model_validate({"space": space})
    return recipe.model_copy(update={"search": found, **changes})


def quiet(text: str) -> None:
    """Say nothing."""


class KilledError(BaseException):
    """As a signal would end it: nothing is cleaned up."""


def test_a_search_that_was_killed_goes_on_and_its_best_recipe_trains(
    backbone: Path, shop_folder: Path, tmp_path: Path
) -> None:
    import optuna

    recipe = make_search(backbone, shop_folder)
    heard: list[str] = []

    def say(text: str) -> None:
        heard.append(text)
        if sum(line.startswith("trial") for line in heard) == 2 and text.startswith("step 3"):
            raise KilledError

    with pytest.raises(KilledError):
        search(recipe, tmp_path / "run", 3, tmp_path / "best.toml", say)
    assert not (tmp_path / "best.toml").exists()
    storage = f"sqlite:///{tmp_path}/run/{STUDY}"
    study = optuna.load_study(study_name="es-rerank", storage=storage)
    begun = study.trials[-1].params
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]

    heard.clear()
    found = search(recipe, tmp_path / "run", 3, tmp_path / "best.toml", heard.append)
    again = [line for line in heard if line.startswith("trial")]
    assert len(again) == 2
    assert found.trials == 3
    study = optuna.load_study(study_name="es-rerank", storage=storage)
    assert begun in [t.params for t in study.trials if t.state.name != "FAIL"]
    assert study.trials[0].params == {"schedule.learning_rate": 0.01, "adapter.rank": 4}
    assert found.before is not None
    assert found.before == study.trials[0].value
    assert found.best == study.best_value >= found.before
    best = read_recipe(tmp_path / "best.toml")
    assert best == found.recipe.model_copy(update={"search": Search()})
    assert best.schedule.learning_rate == study.best_params["schedule.learning_rate"]

    with pytest.raises(ConfigError, match="by another recipe"):
        other = make_search(backbone, shop_folder, {"adapter.rank": {"choices": [2, 4]}})
        search(other, tmp_path / "run", 3, tmp_path / "best.toml", quiet)


def test_what_trials_are_judged_by_is_never_searched(
    backbone: Path, shop_folder: Path, tmp_path: Path
) -> None:
    def attempt(**changes: Any) -> None:
        recipe = make_search(backbone, shop_folder, **changes)
        search(recipe, tmp_path / "run", 1, tmp_path / "best.toml", quiet)

    with pytest.raises(ConfigError, match="weak labels alone"):
        attempt(judged=Judged(files=("ratings.csv",)))
    for name in ("labels.seed", "schedule.seed", "labels.held_out"):
        with pytest.raises(ConfigError, match="judged by"):
            attempt(space={name: {"choices": [1, 2]}})
    with pytest.raises(ConfigError, match="no setting"):
        attempt(space={"schedule.pace": {"low": 1, "high": 2}})
    assert not (tmp_path / "run").exists()


def test_a_space_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for axis in ("{low = 2, high = 1}", "{low = 0, high = 1, log = true}"):
        path.write_text(f'[search.space]\n"adapter.dropout" = {axis}\n')
        with pytest.raises(ConfigError, match=r"search\.space"):
            read_recipe(path)


def test_the_command_searches(
    backbone: Path, shop_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text(dump_recipe(make_search(backbone, shop_folder)))
    arguments = ["--quiet", "train", "search", "--recipe", "recipe.toml", "--trials", "1"]
    cli.main([*arguments, "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["trials"] == 1
    assert told["before"] is None  # its learning rate lies outside the usual space
    assert read_recipe(Path(told["recipe"])).catalogues == (str(shop_folder),)
