"""`es-rerank train blend`: how much the engine's score and the model's count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from es_rerank.cli.output import FILE, FOLDER, json_option, sayer
from es_rerank.cli.train_suggest import find_in_catalogue, find_in_index
from es_rerank.config import load_settings
from es_rerank.errors import ConfigError


@click.command()
@click.argument("index", required=False)
@click.option("--url", help="Address of the cluster. Default: upstream.url.")
@click.option("--data", help="Folder of a catalogue instead of an index, or `sample`.")
@click.option(
    "--judgments",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Judgments, or what `train judgments` made of clicks; may be given again.",
)
@click.option(
    "--depth", type=click.IntRange(10, 1000), default=100, show_default=True, help="Candidates."
)
@click.option(
    "--field", "text_fields", multiple=True, help="Text field to search, title first; repeatable."
)
@click.option("--id-field", help="Field that judgments know documents by. Default: _id.")
@click.option(
    "--cache",
    type=FOLDER,
    default=Path("training/cache"),
    show_default=True,
    help="Folder where a catalogue's vectors are kept.",
)
@click.option(
    "--out",
    type=FILE,
    default=Path("blend.toml"),
    show_default=True,
    help="The weights, to be put into the settings.",
)
@json_option
@click.pass_obj
def blend(obj: dict[str, Any], /, index: str | None, **options: Any) -> None:
    """Learn the weights of the engine's score and the model's from judgments, on INDEX or --data.

    Example: es-rerank train blend products --judgments clicks.csv --out blend.toml
    """
    from es_rerank.proxy.scoring.load import load
    from es_rerank.ranking.blend import Weights
    from es_rerank.training.blend import dump_blend, learn_blend, make_windows
    from es_rerank.training.judged import load_ratings
    from es_rerank.training.recipe import Judged
    from es_rerank.training.suggest.pool import judge_found

    if not options["files"]:
        raise ConfigError("name a file of judgments with --judgments")
    if (index is None) == (options["data"] is None):
        raise ConfigError("name an index, or a catalogue's folder with --data: one of both")
    settings = load_settings(obj["config_file"], {"upstream": {"url": options["url"]}})
    own = load_ratings(Judged(files=options["files"]), 1)
    ratings = {**own.train, **own.held}
    say = sayer(obj)
    say("Loading the model ...")
    scorer, vectors = load(settings.model, settings.plugins)
    weights = Weights(settings.rerank.relevance_weight, settings.rerank.first_stage_weight)
    found = (
        find_in_catalogue(list(ratings), settings, vectors, options, say)
        if index is None
        else find_in_index(list(ratings), settings, index, options)
    )
    pools = []
    for number, each in enumerate(found, start=1):
        if number % 20 == 1:
            say(f"Reading query {number} of {len(ratings)} ...")
        if each.ids:
            pools.append(judge_found(each, scorer, vectors, weights))
    import numpy as np

    before = np.array([weights.relevance, weights.first_stage])
    learnt = learn_blend(make_windows(pools, ratings), before)
    options["out"].write_text(dump_blend(learnt), encoding="utf-8")
    if obj["json"]:
        told = {"weights": learnt.weights.tolist(), "figures": learnt.figures}
        click.echo(json.dumps({**told, "queries": learnt.queries, "file": str(options["out"])}))
        return
    for name, value in learnt.figures.items():
        click.echo(f"nDCG@10 {value:.4f}  {name}")
    click.echo(
        f"relevance {learnt.weights[0]:.3f}, engine {learnt.weights[1]:.3f}, from "
        f"{learnt.queries} queries: {options['out']}"
    )
