"""`es-rerank train suggest`: which pairs people should judge, and what they said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_rerank.cli.output import FILE, FOLDER, json_option, sayer
from es_rerank.config import Settings, load_settings
from es_rerank.errors import ConfigError, DataError

if TYPE_CHECKING:
    from es_rerank.ranking.score import VectorCache
    from es_rerank.training.suggest.pool import Found


@click.command()
@click.argument("index", required=False)
@click.option("--url", help="Address of the cluster. Default: upstream.url.")
@click.option("--data", help="Folder of a catalogue instead of an index, or `sample`.")
@click.option("--queries", type=FILE, help="Words to judge for: a line each, or with ids.")
@click.option(
    "--count", type=click.IntRange(1), default=100, show_default=True, help="Pairs to judge."
)
@click.option(
    "--depth", type=click.IntRange(10, 1000), default=100, show_default=True, help="Candidates."
)
@click.option(
    "--page", type=click.IntRange(1), default=10, show_default=True, help="Hits of a first page."
)
@click.option(
    "--block",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Pairs of one query that come together.",
)
@click.option(
    "--by-lot",
    type=click.FloatRange(0, 1),
    default=0.25,
    show_default=True,
    help="Share drawn at random.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of what is drawn.")
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
    default=Path("to-judge.csv"),
    show_default=True,
    help="The sheet to fill in.",
)
@click.option(
    "--into",
    type=FILE,
    default=Path("judgments.csv"),
    show_default=True,
    help="Judgments so far: not asked for again; --read adds to them.",
)
@click.option("--read", "sheet_file", type=FILE, help="Read a sheet back instead.")
@json_option
@click.pass_obj
def suggest(obj: dict[str, Any], /, index: str | None, **options: Any) -> None:
    """Choose the pairs of query and product most worth a person's judgment, from INDEX or --data.

    Example: es-rerank train suggest products --queries queries.txt --count 200

    Write 0 (wrong), 1 (poor), 2 (good) or 3 (perfect) into the column `rating`, `?` for no opinion,
    then: es-rerank train suggest --read to-judge.csv
    """
    if options["sheet_file"] is not None:
        told = read_back(options["sheet_file"], options["into"])
        said = (
            f"{told['new']} new judgments of {told['rated']} are in {options['into']}, which has "
            f"{told['total']} now; {told['open']} lines are open, {told['unsure']} had no opinion."
        )
    else:
        told = ask(obj, index, options)
        said = (
            f"{told['pairs']} pairs of {told['queries']} queries are in {options['out']}: fill in "
            f"`rating`, then es-rerank train suggest --read {options['out']}"
        )
    click.echo(json.dumps(told, ensure_ascii=False) if obj["json"] else said)


def read_back(sheet_file: Path, into: Path) -> dict[str, int]:
    """Add a sheet's ratings to the judgments. Raises DataError."""
    from es_rerank.training.suggest.sheet import merge_sheet, read_sheet

    sheet = read_sheet(sheet_file)
    new, total = merge_sheet(sheet, into)
    return {
        "rated": len(sheet.rated),
        "new": new,
        "total": total,
        "open": sheet.open,
        "unsure": sheet.unsure,
    }


def ask(obj: dict[str, Any], index: str | None, options: dict[str, Any]) -> dict[str, int]:
    """Choose pairs and write the sheet. Raises EsRerankError."""
    from es_rerank.datasets.judgments import read_judgments
    from es_rerank.datasets.queries import read_queries
    from es_rerank.proxy.scoring.load import load
    from es_rerank.ranking.blend import Weights
    from es_rerank.training.suggest.choice import choose_pairs
    from es_rerank.training.suggest.pool import judge_found
    from es_rerank.training.suggest.sheet import write_sheet

    if options["queries"] is None:
        raise ConfigError("name a file of queries, one a line, with --queries")
    if (index is None) == (options["data"] is None):
        raise ConfigError("name an index, or a catalogue's folder with --data: one of both")
    settings = load_settings(obj["config_file"], {"upstream": {"url": options["url"]}})
    queries = list(dict.fromkeys(read_queries(options["queries"]).values()))
    into: Path = options["into"]
    known = [
        (query, document)
        for query, rated in (read_judgments(into).ratings if into.is_file() else {}).items()
        for document in rated
    ]

    say = sayer(obj)
    say("Loading the model ...")
    scorer, vectors = load(settings.model, settings.plugins)
    weights = Weights(settings.rerank.relevance_weight, settings.rerank.first_stage_weight)
    found = (
        find_in_catalogue(queries, settings, vectors, options, say)
        if index is None
        else find_in_index(queries, settings, index, options)
    )
    pools = []
    for number, each in enumerate(found, start=1):
        if number % 20 == 1:
            say(f"Reading query {number} of {len(queries)} ...")
        if each.ids:
            pools.append(judge_found(each, scorer, vectors, weights))
    chosen = choose_pairs(
        pools,
        options["count"],
        known,
        page=options["page"],
        block=options["block"],
        by_lot=options["by_lot"],
        seed=options["seed"],
    )
    if not chosen:
        raise DataError(
            f"nothing is left to judge: {len(queries)} queries find "
            f"{sum(len(pool.ids) for pool in pools)} pairs, {len(known)} are judged already"
        )
    write_sheet(options["out"], chosen)
    return {"pairs": len(chosen), "queries": len({each.query for each in chosen})}


def find_in_catalogue(
    queries: list[str],
    settings: Settings,
    vectors: VectorCache | None,
    options: dict[str, Any],
    say: Callable[[str], None],
) -> Iterator[Found]:
    """Candidates by words and by vectors."""
    from es_rerank.models.embedder import load_embedder
    from es_rerank.training.catalogue import load_catalogue
    from es_rerank.training.dataset import embed_products
    from es_rerank.training.negatives import WordIndex
    from es_rerank.training.suggest.pool import Catalogue

    folder = options["data"]
    products = load_catalogue(None if folder == "sample" else Path(folder))
    rows = None
    if vectors is not None:
        embedder = load_embedder(vectors.encoder.name, settings.model.device)
        rows = embed_products(products, embedder, options["cache"], say)
    catalogue = Catalogue(products, WordIndex(products), rows)
    for query in queries:
        own = None if vectors is None else vectors.encode([query])[0]
        yield catalogue.find(query, own, options["depth"])


def find_in_index(
    queries: list[str], settings: Settings, index: str, options: dict[str, Any]
) -> Iterator[Found]:
    """The engine's own hits."""
    from es_rerank.cli.eval import make_endpoint
    from es_rerank.cli.try_ import find_text_fields
    from es_rerank.training.suggest.pool import Index

    fields = find_text_fields(settings, index, options["text_fields"])
    endpoint = make_endpoint(settings.upstream.urls[0], settings)
    source = Index(endpoint, index, fields, options["id_field"])
    for query in queries:
        yield source.find(query, options["depth"])
