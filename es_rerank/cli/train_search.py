"""`es-rerank train search`: a recipe's settings, by trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from es_rerank.cli.output import FILE, FOLDER, json_option
from es_rerank.cli.train_recipe import load_recipe, recipe_options, require_packages, train_sayer


@click.command()
@recipe_options
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Trials in all, those of earlier calls counted in.",
)
@click.option(
    "--run",
    type=FOLDER,
    default=Path("training/search"),
    show_default=True,
    help="Folder of the study and the trials' runs; a search that was stopped goes on from there.",
)
@click.option(
    "--out",
    type=FILE,
    default=Path("best.toml"),
    show_default=True,
    help="The best recipe, for `train reranker --recipe`.",
)
@json_option
@click.pass_obj
def search(
    obj: dict[str, Any],
    recipe_file: Path | None,
    data: tuple[str, ...],
    seed: int | None,
    trials: int,
    run: Path,
    out: Path,
) -> None:
    """Search a recipe's settings by nDCG@10 of held-out weak labels; never by people's judgments.

    Example: es-rerank train search --recipe recipe.toml --trials 30 --out best.toml

    What is searched stands in the recipe's [search.space]. Every trial is a whole training, unless
    it falls behind.
    """
    require_packages(("optuna", "search"))
    from es_rerank.training import search as searching

    recipe = load_recipe(recipe_file, data, seed)
    found = searching.search(recipe, run, trials, out, train_sayer(obj))
    if obj["json"]:
        told = {"recipe": str(out), "best": found.best, "before": found.before}
        click.echo(json.dumps({**told, "trials": found.trials}))
        return
    before = "" if found.before is None else f", {found.before:.4f} by the recipe as it was"
    click.echo(f"held-out nDCG@10 {found.best:.4f} at best of {found.trials} trials{before}")
    click.echo(f"The recipe is in {out}.")
