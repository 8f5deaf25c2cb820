"""What the commands that train by a recipe share: its options, and what they print."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from es_rerank.cli.output import FILE, sayer
from es_rerank.errors import ConfigError

if TYPE_CHECKING:
    from es_rerank.training.recipe import Recipe

Function = TypeVar("Function", bound=Callable[..., Any])


def recipe_options(function: Function) -> Function:
    """`--recipe`, `--data` and `--seed`."""
    for option in (
        click.option("--seed", type=int, help="Instead of the recipe's."),
        click.option(
            "--data",
            multiple=True,
            help="Folder of a catalogue (*.jsonl, *.jsonl.gz, Icecat), or `sample`; may be given "
            "again. Without it what the recipe names.",
        ),
        click.option(
            "--recipe",
            "recipe_file",
            type=FILE,
            help="TOML file of the training; without it the defaults.",
        ),
    ):
        function = option(function)
    return function


def load_recipe(
    recipe_file: Path | None,
    data: tuple[str, ...],
    seed: int | None,
    base: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recipe:
    """The recipe with what the command line says instead. Raises ConfigError."""
    from es_rerank.training.recipe import read_recipe

    recipe = read_recipe(recipe_file, base)
    if data:
        recipe = recipe.model_copy(update={"catalogues": data})
    if seed is not None:
        schedule = recipe.schedule.model_copy(update={"seed": seed})
        recipe = recipe.model_copy(update={"schedule": schedule})
    return recipe


def require_packages(*more: tuple[str, str]) -> None:
    """Raise ConfigError where the extra `train` is not installed. more: packages and extras."""
    for package, extra in (("peft", "train"), ("faiss", "train"), *more):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"training needs the package {package}, which the extra `{extra}` brings: "
                f"pip install 'es-rerank[{extra}]'"
            )


def speaks() -> bool:
    """Whether this process is alone, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def train_sayer(obj: Mapping[str, Any]) -> Callable[[str], None]:
    """What tells how far it is, once."""
    return sayer({"quiet": obj["quiet"] or not speaks()})


def tell(folder: Path, figures: Mapping[str, Mapping[str, str]], obj: Mapping[str, Any]) -> None:
    """Print what came out."""
    if not speaks():
        return
    if obj["json"]:
        click.echo(json.dumps({"folder": str(folder), "figures": figures}))
        return
    for section, rows in figures.items():
        click.echo(f"{section}:")
        for name, value in rows.items():
            click.echo(f"  {name}: {value}")
    click.echo(f"The model is in {folder}.")
