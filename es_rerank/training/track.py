"""Where a run's figures go beside its log: TensorBoard, Weights & Biases, MLflow.

Each is imported where it is asked for. TensorBoard is the default and may be missing; who asks for
one of the others by name must have it.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from es_rerank.errors import ConfigError
from es_rerank.training.recipe import Recipe, Track

Say = Callable[[str], None]
PACKAGES = {"tensorboard": "train", "wandb": "wandb", "mlflow": "mlflow"}
"""What a tracker's package is called, and which extra brings it."""


class Tracker(Protocol):
    """Takes figures of a step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name, as `train/listwise` or `held/best`."""

    def close(self) -> None:
        """Write what is left."""


class Board:
    """TensorBoard's event files, in the run's folder."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # A run that was killed repeats the steps since its checkpoint: they are not shown twice.
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WeightsAndBiases:
    """A run of wandb; offline its files lie in the run's folder until `wandb sync`."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        track = recipe.track
        self._run = wandb.init(
            project=track.project,
            name=folder.name,
            id=keep_id(folder / "wandb-run", lambda: secrets.token_hex(4)),
            resume="allow",
            dir=str(folder),
            mode="online" if track.online else "offline",
            config=recipe.model_dump(mode="json"),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


class MLflow:
    """A run of MLflow, on a server or in a folder of files."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        where = recipe.track.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
        if not where or where.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # needs no database
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        self._client = MlflowClient(where or (folder / "mlflow").resolve().as_uri())
        known = self._client.get_experiment_by_name(recipe.track.project)

        def begin() -> str:
            experiment = (
                known.experiment_id
                if known is not None
                else self._client.create_experiment(recipe.track.project)
            )
            run: str = self._client.create_run(experiment, run_name=folder.name).info.run_id
            for name, value in flatten(recipe.model_dump(mode="json")).items():
                self._client.log_param(run, name, value)
            return run

        self._run = keep_id(folder / "mlflow-run", begin)
        self._client.update_run(self._run, status="RUNNING")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        """Write what is left."""
        self._client.set_terminated(self._run)


def keep_id(path: Path, make: Callable[[], str]) -> str:
    """The tracker's run that this folder's run began, so that going on is no second one."""
    if not path.is_file():
        path.write_text(make())
    return path.read_text()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by dotted name."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = str(value)
    return found


@contextmanager
def open_trackers(recipe: Recipe, folder: Path, step: int, say: Say) -> Iterator[Sequence[Tracker]]:
    """The recipe's trackers. step: at which the run goes on. Raises ConfigError."""
    trackers: list[Tracker] = []
    for name in check_packages(recipe.track, say):
        if name == "tensorboard":
            trackers.append(Board(folder, step))
        elif name == "wandb":
            trackers.append(WeightsAndBiases(folder, recipe))
        else:
            trackers.append(MLflow(folder, recipe))
    try:
        yield trackers
    finally:
        for each in trackers:
            each.close()


def check_packages(track: Track, say: Say) -> list[str]:
    """The trackers that can be had. Raises ConfigError for a missing one that nobody has by
    default."""
    found: list[str] = []
    for name in dict.fromkeys(track.to):
        if importlib.util.find_spec(name) is not None:
            found.append(name)
            continue
        mend = f"pip install 'es-rerank[{PACKAGES[name]}]', or leave it out of [track] to"
        if name != "tensorboard":
            raise ConfigError(f"[track] to names {name}, which is not installed: {mend}")
        say(f"No curves for TensorBoard, it is not installed: {mend}")
    return found
