"""`es-rerank train`: models of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from es_rerank.cli.output import FOLDER, json_option, sayer
from es_rerank.cli.train_blend import blend
from es_rerank.cli.train_embedder import embedder
from es_rerank.cli.train_judgments import judgments
from es_rerank.cli.train_recipe import (
    load_recipe,
    recipe_options,
    require_packages,
    tell,
    train_sayer,
)
from es_rerank.cli.train_search import search
from es_rerank.cli.train_sentiment import sentiment
from es_rerank.cli.train_suggest import suggest
from es_rerank.errors import ConfigError


@click.group()
def command() -> None:
    """Train models on one's own catalogue.

    Example: es-rerank train reranker --data my-catalogue --out my-model
    """


command.add_command(judgments)
command.add_command(sentiment)
command.add_command(suggest)
command.add_command(embedder)
command.add_command(blend)
command.add_command(search)


@command.command()
@recipe_options
@click.option(
    "--out",
    type=FOLDER,
    default=Path("model"),
    show_default=True,
    help="Folder of the model, for `[model] name`.",
)
@click.option(
    "--run",
    type=FOLDER,
    default=Path("training/run"),
    show_default=True,
    help="Folder of checkpoints and logs; a run that was stopped goes on from there.",
)
@click.option(
    "--judgments",
    "judgment_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Judgments to learn from beside the weak labels, by product id; may be given again.",
)
@click.option("--alone", is_flag=True, help="Learn from the judgments alone, without weak labels.")
@json_option
@click.pass_obj
def reranker(
    obj: dict[str, Any],
    recipe_file: Path | None,
    data: tuple[str, ...],
    out: Path,
    run: Path,
    seed: int | None,
    judgment_files: tuple[str, ...],
    alone: bool,
) -> None:
    """Train a reranker on weak labels from a bare catalogue, and on judgments where there are any.

    Example: es-rerank train reranker --data my-catalogue --out my-model

    Then serve it: [model] kind = "cross-encoder", name = "my-model".
    """
    require_packages()
    from es_rerank.training.reranker import train_reranker

    recipe = load_recipe(recipe_file, data, seed)
    if judgment_files or alone:
        changes = {"files": judgment_files or recipe.judged.files, "alone": alone}
        recipe = recipe.model_copy(update={"judged": recipe.judged.model_copy(update=changes)})
    if recipe.judged.alone and not recipe.judged.files:
        raise ConfigError("--alone needs judgments: name a file with --judgments")

    result = train_reranker(recipe, run, out, train_sayer(obj))
    tell(result.folder, result.figures, obj)


@command.command()
@click.argument(
    "models", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--data",
    multiple=True,
    default=("sample",),
    show_default=True,
    help="The catalogues that the models were trained on, as `train reranker` takes them.",
)
@click.option(
    "--out",
    type=FOLDER,
    default=Path("model"),
    show_default=True,
    help="Folder of the mean.",
)
@click.option(
    "--cache",
    type=FOLDER,
    default=Path("training/cache"),
    show_default=True,
    help="Folder where the catalogues' vectors are kept.",
)
@json_option
@click.pass_obj
def soup(
    obj: dict[str, Any], models: tuple[Path, ...], data: tuple[str, ...], out: Path, cache: Path
) -> None:
    """Average models of one recipe and several seeds into one, as fast as each of them.

    Example: es-rerank train soup model-1 model-2 model-3 --data my-catalogue --out my-model
    """
    require_packages()
    from es_rerank.training.soup import average_models

    result = average_models(models, data, out, cache, sayer(obj))
    tell(result.folder, result.figures, obj)
