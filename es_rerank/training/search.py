"""Searching a recipe's settings by Optuna: each trial is a run, judged by held-out weak labels.

Akiba et al., Optuna: A next-generation hyperparameter optimization framework, KDD 2019. Trials are
drawn by its tree-structured Parzen estimator, and those that fall behind the median are cut short.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from es_rerank.errors import ConfigError
from es_rerank.training.dataset import Dataset, Say
from es_rerank.training.recipe import Axis, Recipe, Search, dump_recipe
from es_rerank.training.reranker import prepare
from es_rerank.training.reranking import Reranking
from es_rerank.training.train import Measured, Run, train

STUDY = "study.db"
ASKED = "search.json"
MEASURED_BY = ("labels.", "judged.", "adapter.backbone", "schedule.seed", "track.", "search.")
"""What must not differ between trials: they would be judged by other windows, or by luck."""


@dataclass(frozen=True)
class Found:
    """What came out. recipe: the best; best, before: nDCG@10 of it and of the recipe as it was."""

    recipe: Recipe
    best: float
    before: float | None
    trials: int


def search(recipe: Recipe, run: Path, trials: int, out: Path, say: Say) -> Found:
    """Try until there are so many trials, and write the best recipe to `out`.

    run: folder of the study and of each trial's run; what was begun there goes on. Raises
    ConfigError for a recipe that must not be searched, or another's folder.
    """
    import optuna

    space = check_space(recipe)
    run.mkdir(parents=True, exist_ok=True)
    claim(recipe, run)
    data = prepare(recipe, run / "labels", say)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{(run / STUDY).resolve()}",
        study_name="es-rerank",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    study.sampler = optuna.samplers.TPESampler(seed=recipe.schedule.seed + len(study.trials))
    take_up(study, recipe, space)

    def attempt(trial: Any) -> float:
        drawn = {name: draw(trial, name, axis) for name, axis in space.items()}
        chosen = change(recipe, drawn)
        folder = run / f"trial-{hash_settings(drawn)}"
        say(f"trial {trial.number}: {tell_settings(drawn)}")
        return train(Trial(chosen, data, trial=trial), folder, say).best

    done = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    left = trials - len(study.get_trials(deepcopy=False, states=done))
    if left > 0:
        study.optimize(attempt, n_trials=left)
    best = change(recipe, study.best_params)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(dump_recipe(best), encoding="utf-8")
    own = own_values(recipe, space)
    before = [t.value for t in study.trials if t.params == own and t.value is not None]
    count = len(study.get_trials(deepcopy=False, states=done))
    return Found(best, study.best_value, before[0] if before else None, count)


class Trial(Reranking):
    """A run that ends where it falls behind."""

    def __init__(self, recipe: Recipe, data: Dataset, trial: Any) -> None:
        super().__init__(recipe, data)
        self._trial = trial

    def measure(self, run: Run) -> Measured:
        """The same, told to the study. Raises TrialPruned."""
        import optuna

        found = super().measure(run)
        self._trial.report(found.best, run.step)
        if self._trial.should_prune():
            raise optuna.TrialPruned
        return found


def check_space(recipe: Recipe) -> Mapping[str, Axis]:
    """The axes. Raises ConfigError for what must not be searched, or by what must not be gone."""
    if recipe.judged.files:
        raise ConfigError(
            "a search goes by weak labels alone, so that judgments stay fit to measure by: take "
            "[judged] files out of the recipe, and train with the best one and them"
        )
    space = recipe.search.space or Search.usual()
    for name in space:
        if name.startswith(MEASURED_BY) and name != "labels.stuffed":
            raise ConfigError(
                f"[search.space] {name} would change what trials are judged by: leave it out"
            )
        part, _, key = name.partition(".")
        if not key or key not in recipe.model_dump().get(part, {}):
            raise ConfigError(f"[search.space] {name} is no setting of a recipe")
    return space


def claim(recipe: Recipe, run: Path) -> None:
    """Mark the folder as this recipe's. Raises ConfigError where it is another's."""
    told = recipe.settled().model_dump_json(indent=1)
    path = run / ASKED
    if path.is_file() and Recipe.model_validate_json(path.read_bytes()) != recipe.settled():
        raise ConfigError(
            f"{run} holds a search by another recipe, whose trials say nothing about this one: "
            "name another folder with --run"
        )
    path.write_text(told)


def take_up(study: Any, recipe: Recipe, space: Mapping[str, Axis]) -> None:
    """Ask again for what was cut off, and first for the recipe as it is."""
    import optuna

    states = optuna.trial.TrialState
    if not study.trials and (own := own_values(recipe, space)):
        study.enqueue_trial(own)
    for trial in study.trials:
        if trial.state == states.RUNNING:
            study.tell(trial.number, state=states.FAIL)
            if len(trial.params) == len(space):
                study.enqueue_trial(trial.params)


def own_values(recipe: Recipe, space: Mapping[str, Axis]) -> dict[str, Any]:
    """The recipe's own place in the space; empty where it lies outside."""
    told = recipe.model_dump()
    own = {}
    for name, axis in space.items():
        part, _, key = name.partition(".")
        if not axis.holds(told[part][key]):
            return {}
        own[name] = told[part][key]
    return own


def draw(trial: Any, name: str, axis: Axis) -> Any:
    """A value on the axis."""
    if axis.choices:
        return trial.suggest_categorical(name, list(axis.choices))
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return trial.suggest_int(name, axis.low, axis.high, log=axis.log)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)


def change(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with these settings, by dotted name. Raises ConfigError."""
    told = recipe.model_dump()
    for name, value in values.items():
        part, _, key = name.partition(".")
        told[part][key] = value
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ConfigError(f"[search.space] {where}: {error.errors()[0]['msg']}") from error


def tell_settings(values: Mapping[str, Any]) -> str:
    """For people."""
    shown = {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in values.items()}
    return ", ".join(f"{name} = {value}" for name, value in shown.items())


def hash_settings(values: Mapping[str, Any]) -> str:
    """A trial's folder: the same settings go on in the same."""
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:12]
