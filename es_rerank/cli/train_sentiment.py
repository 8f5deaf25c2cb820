"""`es-rerank train sentiment`: a model that reads reviews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from es_rerank.cli.output import FILE, FOLDER, json_option, sayer
from es_rerank.errors import ConfigError


@click.command()
@click.option(
    "--recipe",
    "recipe_file",
    type=FILE,
    help="TOML file of the training; without it the recipe of the default model.",
)
@click.option(
    "--reviews",
    "review_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="One's own reviews, JSONL: text, stars, language; may be given again.",
)
@click.option("--words-only", is_flag=True, help="Read English by words too, without a backbone.")
@click.option(
    "--out",
    type=FOLDER,
    default=Path("sentiment"),
    show_default=True,
    help="Folder of the model, for `[sentiment] model` of a recipe.",
)
@click.option(
    "--run",
    type=FOLDER,
    default=Path("training/sentiment"),
    show_default=True,
    help="Folder of checkpoints and logs; a run that was stopped goes on from there.",
)
@click.option("--seed", type=int, help="Instead of the recipe's.")
@json_option
@click.pass_obj
def sentiment(
    obj: dict[str, Any],
    recipe_file: Path | None,
    review_files: tuple[str, ...],
    words_only: bool,
    out: Path,
    run: Path,
    seed: int | None,
) -> None:
    """Train a model that reads reviews, on those that come with es-rerank and on one's own.

    Example: es-rerank train sentiment --reviews reviews.jsonl --out my-sentiment

    Stars are the weak labels: 1 and 2 blame, 4 and 5 praise. Then name the folder in a recipe of
    reindex: [sentiment] model = "my-sentiment".
    """
    from es_rerank.cli.train_recipe import require_packages
    from es_rerank.training.sentiment.recipe import read_recipe

    recipe = read_recipe(recipe_file)
    if review_files:
        reviews = recipe.reviews.model_copy(update={"files": review_files})
        recipe = recipe.model_copy(update={"reviews": reviews})
    if words_only:
        recipe = recipe.model_copy(update={"deep": recipe.deep.model_copy(update={"backbone": ""})})
    if seed is not None:
        schedule = recipe.schedule.model_copy(update={"seed": seed})
        recipe = recipe.model_copy(update={"schedule": schedule})
    if not recipe.reviews.shipped and not recipe.reviews.files:
        raise ConfigError("[reviews] shipped = false needs reviews: name a file with --reviews")
    if recipe.deep.backbone:
        require_packages()
    from es_rerank.training.sentiment.report import show_report
    from es_rerank.training.sentiment.train import train_sentiment

    result = train_sentiment(recipe, run, out, sayer(obj))
    if obj["json"]:
        click.echo(json.dumps({"folder": str(result.folder), "figures": result.figures}))
        return
    for name, report in result.figures.items():
        click.echo(f"\n{name}, held out\n{show_report(report)}")
    click.echo(f"\nThe model is in {result.folder}.")
