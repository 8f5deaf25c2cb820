"""`es-rerank train judgments`: judgments out of a click log."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from es_rerank.cli.output import FILE, json_option
from es_rerank.errors import ConfigError

SHOWN_PLACES = 10


@click.command()
@click.argument("events", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--searches", type=FILE, help="UBI queries that belong to the events.")
@click.option(
    "--model",
    type=click.Choice(["pbm", "ubm"]),
    default="pbm",
    show_default=True,
    help="How places are seen: by rank (pbm), or by rank and distance to the last click (ubm).",
)
@click.option(
    "--estimator",
    type=click.Choice(["fixed-effects", "em"]),
    default="fixed-effects",
    show_default=True,
    help="How that is found; em is the textbook's, and needs much of each product.",
)
@click.option(
    "--propensities", metavar="1=1,2=.6,…", help="How much places are seen, where you know it."
)
@click.option(
    "--least-views",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="How often a product must have been seen for a query, by the model.",
)
@click.option(
    "--smoothing",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Views by which a product is drawn to the log's mean.",
)
@click.option(
    "--scale",
    type=click.Choice(["grades", "probabilities"]),
    default="grades",
    show_default=True,
    help="Ratings 0 to 3, or the probability of a click at the first place.",
)
@click.option(
    "--deepest",
    type=click.IntRange(2),
    default=50,
    show_default=True,
    help="Places below are left out.",
)
@click.option(
    "--any-event", is_flag=True, help="Every event about a product proves that it was shown."
)
@click.option(
    "--out",
    type=FILE,
    default=Path("judgments.csv"),
    show_default=True,
    help="CSV, or TREC qrels where it ends in .qrels.",
)
@json_option
@click.pass_obj
def judgments(obj: dict[str, Any], /, events: Path, **options: Any) -> None:
    """Turn EVENTS, a click log, into judgments that are free of the bias of places.

    Example: es-rerank train judgments events.jsonl --searches searches.jsonl --out clicks.csv

    `es-rerank eval --judgments` and `es-rerank train reranker --judgments` read what comes out.
    """
    from es_rerank.training.clicks.attraction import judge_log
    from es_rerank.training.clicks.log import read_log
    from es_rerank.training.judgments import write_judgments

    known = None if options["propensities"] is None else read_places(options["propensities"])
    log = read_log(events, options["searches"], options["any_event"], options["deepest"])
    found = judge_log(
        log,
        options["model"],
        estimator=options["estimator"],
        known=known,
        least_views=options["least_views"],
        smoothing=options["smoothing"],
        scale=options["scale"],
    )
    rows = [asdict(judgment) for judgment in found.judgments]
    for row in rows:
        row["docid"] = row.pop("document")
    files = write_judgments(options["out"], rows)
    places = [
        {"rank": rank, "distance": distance or None, "propensity": round(value, 4)}
        for (rank, distance), value in found.propensities.items()
    ]
    told = {
        "files": [str(file) for file in files],
        "shows": len(log),
        "clicks": int(log.clicked.sum()),
        "judgments": len(rows),
        "propensities": places,
        "notes": list(found.notes),
    }
    if obj["json"]:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    if not obj["quiet"]:
        for note in found.notes:
            click.echo(note, err=True)
    for place in places[:SHOWN_PLACES]:
        after = "" if place["distance"] is None else f", {place['distance']} after a click"
        click.echo(f"place {place['rank']}{after}: seen {place['propensity']:.3f}")
    click.echo(
        f"{len(rows)} judgments from {len(log)} shows and {told['clicks']} clicks are in "
        f"{' and '.join(map(str, files))}."
    )


def read_places(text: str) -> dict[int, float]:
    """`1=1,2=.6` as numbers by place. Raises ConfigError."""
    places = {}
    for part in text.split(","):
        place, _, value = part.partition("=")
        try:
            places[int(place)] = float(value)
        except ValueError:
            raise ConfigError(
                f"--propensities takes place=number, parted by commas, not {part!r}"
            ) from None
    return places
