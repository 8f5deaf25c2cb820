"""`es-rerank train embedder`: a bi-encoder of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from es_rerank.cli.output import FOLDER, json_option
from es_rerank.cli.train_recipe import (
    load_recipe,
    recipe_options,
    require_packages,
    tell,
    train_sayer,
)


@click.command()
@recipe_options
@click.option(
    "--out",
    type=FOLDER,
    default=Path("embedder"),
    show_default=True,
    help="Folder of the model, for `[model] embedder`.",
)
@click.option(
    "--run",
    type=FOLDER,
    default=Path("training/embedder"),
    show_default=True,
    help="Folder of checkpoints and logs; a run that was stopped goes on from there.",
)
@json_option
@click.pass_obj
def embedder(
    obj: dict[str, Any],
    recipe_file: Path | None,
    data: tuple[str, ...],
    seed: int | None,
    out: Path,
    run: Path,
) -> None:
    """Train an embedder on the same weak labels: contrastive, with hard and in-batch negatives.

    Example: es-rerank train embedder --data my-catalogue --out my-embedder

    Then name it, [model] embedder = "my-embedder", and reindex: stored vectors are another model's.
    """
    require_packages()
    from es_rerank.training.embedder import train_embedder
    from es_rerank.training.recipe import EMBEDDER

    recipe = load_recipe(recipe_file, data, seed, EMBEDDER)
    result = train_embedder(recipe, run, out, train_sayer(obj))
    tell(result.folder, result.figures, obj)
