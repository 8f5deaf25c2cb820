"""A training recipe: the TOML file behind `es-rerank train reranker`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from es_rerank.config.section import Section
from es_rerank.errors import ConfigError


class Labels(Section):
    """Weak labels. One seed parts topics in one way, so that models can be compared."""

    seed: int = Field(
        1, description="What is asked, which topics are held out, and the weights to begin with."
    )
    wishes: int = Field(3400, ge=20, description="Weak queries of each catalogue.")
    group: int = Field(12, ge=4, le=64, description="Products judged for a query.")
    held_out: float = Field(0.1, gt=0, lt=0.9, description="Share of topics kept for validation.")
    validation: int = Field(160, ge=2, description="Validation queries.")
    window: int = Field(20, ge=4, description="Candidates of a validation query.")
    stuffed: float = Field(
        0.05, ge=0, le=1, description="Share of groups with a bad product that quotes the query."
    )


class Judged(Section):
    """Judgments of one's own, by the catalogues' product ids: people's, or made of clicks."""

    files: tuple[str, ...] = Field(
        (), description="Files of judgments, as `eval --judgments` takes them."
    )
    alone: bool = Field(False, description="Train on them alone, without weak labels.")
    repeat: int = Field(1, ge=1, le=100, description="How often each of their groups comes.")
    held_out: float = Field(
        0.15, gt=0, lt=0.9, description="Share of their queries kept for validation."
    )
    least_weight: float = Field(
        0.5, ge=0, le=1, description="Judgments that weigh less are left out, where a file says so."
    )


class Adapter(Section):
    """What is trained, and how much of it."""

    backbone: str = Field(
        "all-MiniLM-L6-v2", description="Hub id or folder of a BERT-like encoder."
    )
    method: Literal["full", "top", "lora", "adalora", "houlsby"] = Field(
        "lora", description="Which weights may change."
    )
    rank: int = Field(16, ge=1, description="Rank of LoRA, width of a bottleneck.")
    layers: int = Field(6, ge=1, description="Last layers that are adapted.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout before LoRA's matrices.")
    facets: int = Field(32, ge=2, description="Length of the query-conditioned vector.")
    max_tokens: int = Field(48, ge=16, le=512, description="Tokens of query and text in training.")
    served_tokens: int = Field(64, ge=16, le=512, description="The same when it serves.")


class Objective(Section):
    """Weights of the loss's terms."""

    listwise: float = Field(1.0, ge=0)
    pairwise: float = Field(0.5, ge=0)
    info_nce: float = Field(0.0, ge=0)
    diversity: float = Field(0.1, ge=0, description="lambda.")
    learn_diversity: bool = Field(False, description="Learn lambda (Kendall et al., CVPR 2018).")
    diversity_form: Literal["dpp", "softmax"] = "dpp"
    unfairness: float = Field(0.0, ge=0, description="Penalty on unfair exposure of brands.")
    harm: float = Field(
        0.0, ge=0, description="Penalty on exposure of texts with toxic or biased words."
    )
    cosine: float = Field(10.0, ge=0, description="Where the weight of the plain cosine starts.")


class Teacher(Section):
    """Distillation: a larger cross-encoder whose scores are learnt beside the labels."""

    model: str = Field("", description="Hub id or folder of a cross-encoder; none without.")
    form: Literal["shares", "margins"] = Field(
        "shares", description="Its shares of a group (listwise KL), or its margins (margin-MSE)."
    )
    weight: float = Field(1.0, ge=0)
    temperature: float = Field(1.0, gt=0, description="Above 1 its scores count as flatter.")
    device: str = Field("auto", description="Where it runs.")


class Embedder(Section):
    """Of `es-rerank train embedder` alone."""

    temperature: float = Field(0.05, gt=0, description="Of the softmax, to begin with; learnt.")
    near: float = Field(
        0.8,
        ge=-1,
        le=1,
        description="Cosine to a good product from which another query's product is no negative.",
    )


class Axis(Section):
    """Where a setting is searched: from low to high, or one of some."""

    low: int | float = 0
    high: int | float = 0
    log: bool = False
    choices: tuple[int | float | str | bool, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Axis:
        if not self.choices and not self.low < self.high:
            raise ValueError("an axis has `low` and a `high` above it, or `choices`")
        if self.log and self.low <= 0:
            raise ValueError("`log` needs a `low` above 0")
        return self

    def holds(self, value: object) -> bool:
        """Whether the value lies on it."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


class Search(Section):
    """Of `es-rerank train search` alone. space: setting, as `schedule.learning_rate` -> axis."""

    space: Mapping[str, Axis] = Field(default_factory=dict)

    @staticmethod
    def usual() -> Mapping[str, Axis]:
        """What is searched where a recipe names nothing."""
        return {
            "schedule.learning_rate": Axis(low=1e-4, high=2e-3, log=True),
            "schedule.weight_decay": Axis(low=1e-3, high=0.1, log=True),
            "adapter.rank": Axis(choices=(8, 16, 32)),
            "adapter.dropout": Axis(low=0.0, high=0.2),
            "objective.pairwise": Axis(low=0.0, high=1.0),
            "objective.diversity": Axis(low=0.02, high=0.5, log=True),
        }


class Schedule(Section):
    """How it is optimised."""

    seed: int = Field(1, description="The groups' order, and dropout.")
    steps: int = Field(1700, ge=1, description="Optimizer steps.")
    groups_per_step: int = Field(2, ge=1)
    accumulate: int = Field(1, ge=1, description="Parts that a step's groups are run in.")
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(4e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.06, ge=0, lt=1, description="Share of the steps.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradients.")
    average: float = Field(0.98, ge=0, lt=1, description="Decay of the averaged weights.")
    evaluate_every: int = Field(425, ge=1)
    patience: int = Field(4, ge=1, description="Evaluations without a gain until it stops.")
    checkpoint_every: int = Field(50, ge=1)
    threads: int = Field(1, ge=1)
    device: str = Field("cpu", description="cpu, cuda or auto.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: the forward under autocast; weights stay fp32."
    )
    checkpointing: bool = Field(
        False, description="Compute activations twice instead of keeping them: less memory."
    )


class Track(Section):
    """Who is shown the figures beside the run's log. Does not change what comes out."""

    to: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    project: str = Field("es-rerank", description="Project of wandb, experiment of MLflow.")
    online: bool = Field(False, description="wandb: send at once; else files for `wandb sync`.")
    mlflow: str = Field(
        "", description="MLflow's tracking URI; MLFLOW_TRACKING_URI or the run's folder without."
    )


class Recipe(Section):
    """Everything that decides what comes out."""

    catalogues: tuple[str, ...] = Field(
        ("sample",), description="`sample`, and folders of catalogues."
    )
    labels: Labels = Field(default_factory=Labels)
    judged: Judged = Field(default_factory=Judged)
    adapter: Adapter = Field(default_factory=Adapter)
    objective: Objective = Field(default_factory=Objective)
    teacher: Teacher = Field(default_factory=Teacher)
    schedule: Schedule = Field(default_factory=Schedule)
    embedder: Embedder = Field(default_factory=Embedder)
    search: Search = Field(default_factory=Search)
    track: Track = Field(default_factory=Track)

    def settled(self) -> Recipe:
        """What of it decides what comes out."""
        return self.model_copy(update={"track": Track()})


EMBEDDER: Mapping[str, Mapping[str, Any]] = {
    "adapter": {"max_tokens": 64},
    "schedule": {
        "steps": 600, "groups_per_step": 8, "learning_rate": 2e-4, "evaluate_every": 100,
    },
}  # fmt: skip
"""Where the embedder's default recipe differs: larger parts, which are where negatives are from."""


def read_recipe(path: Path | None, base: Mapping[str, Mapping[str, Any]] | None = None) -> Recipe:
    """Read a recipe; None is the default one. base: other defaults. Raises ConfigError."""
    told: dict[str, Any] = {name: dict(part) for name, part in (base or {}).items()}
    if path is None:
        return Recipe.model_validate(told)
    try:
        for name, part in tomllib.loads(path.read_text(encoding="utf-8")).items():
            own = told.get(name, {})
            told[name] = {**own, **part} if isinstance(part, Mapping) else part
        return Recipe.model_validate(told)
    except OSError as error:
        raise ConfigError(f"the recipe {path} cannot be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the recipe {path} is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"the recipe {path}: {where}: {first['msg']}") from error


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML, without what it was searched by. JSON's scalars and lists are TOML's."""
    told = recipe.model_dump(mode="json", exclude={"search"})
    lines = [f"catalogues = {json.dumps(told.pop('catalogues'), ensure_ascii=False)}"]
    for name, settings in told.items():
        lines.append(f"\n[{name}]")
        lines += [f"{key} = {json.dumps(v, ensure_ascii=False)}" for key, v in settings.items()]
    return "\n".join(lines) + "\n"
