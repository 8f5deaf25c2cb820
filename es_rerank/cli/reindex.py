"""`es-rerank reindex`: from an index or a file to an enriched, versioned index behind an alias."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import orjson

from es_rerank.cli.dead_letter import FailureLog, read_failed
from es_rerank.cli.output import FILE, json_option
from es_rerank.cli.progress import show_progress
from es_rerank.cli.reindex_report import (
    describe_estimate,
    describe_failures,
    describe_leftover,
    describe_plan,
    describe_result,
    plan_keys,
    result_keys,
    sample_keys,
    shown_samples,
)
from es_rerank.cli.reindex_steps import load_steps
from es_rerank.cluster.client import SearchClient, connect_node, connect_upstream, quote
from es_rerank.cluster.source import carry_over, open_source
from es_rerank.config import Settings, load_settings
from es_rerank.enrich.review import ReviewLog
from es_rerank.enrich.run.follow import follow_source
from es_rerank.enrich.run.plan import Plan, make_plan
from es_rerank.enrich.run.reindex import Run, carry_out, sample
from es_rerank.enrich.sources.file import open_file
from es_rerank.enrich.sources.index import IndexSource
from es_rerank.enrich.sources.rows import find_reader
from es_rerank.enrich.sources.source import Source
from es_rerank.enrich.steps.recipe import (
    Recipe,
    default_recipe,
    read_recipe,
    with_flags,
)
from es_rerank.errors import EsRerankError, PartialError

SHOWN_SAMPLES = 3
TIMED_SAMPLES = 64
BATCH = 512  # enough that sorting by length leaves almost no padding
COPY_BATCH = 2000
GENERATED_BATCH = 64  # so that little that was paid for is lost when a run dies


def read_query(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any] | None:
    """A query as JSON."""
    try:
        query = json.loads(value) if value else None
    except ValueError as error:
        raise click.BadParameter(f"that is no JSON: {error}") from None
    if query is not None and not isinstance(query, dict):
        raise click.BadParameter('a query is an object, such as \'{"term": {"brand": "x"}}\'')
    return query


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option("--url", help="Address of the cluster. Default: upstream.url, or ELASTICSEARCH_URL.")
@click.option("--source-url", help="Address of the cluster to read from, where it is another.")
@click.option(
    "--recipe",
    "recipe_file",
    type=FILE,
    help="TOML file that says which enrichers run, and how. Default: vector and summary.",
)
@click.option("--copy", is_flag=True, help="Add nothing: copy the documents as they are.")
@click.option(
    "--text-field",
    "text_fields",
    multiple=True,
    help="A field to embed, the title first; repeatable. Default: found from the mapping.",
)
@click.option(
    "--attribute-field",
    "attribute_fields",
    multiple=True,
    help="A field that makes products alike (brand, type); repeatable. Default: found.",
)
@click.option("--query", callback=read_query, help="Take only what this query (JSON) finds.")
@click.option("--fields", help="Take only these fields of a document, parted by commas.")
@click.option("--id-field", help="Column of a file that is the _id. Default: _id, id, or a hash.")
@click.option(
    "--batch-size",
    type=click.IntRange(1, 10_000),
    help="Documents read, enriched and written at a time at most. Default: 512; copies 2000; "
    "where a generator writes texts 64.",
)
@click.option(
    "--slices",
    type=click.IntRange(1, 64),
    default=3,
    show_default=True,
    help="Batches that are under way at once.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Enrich only so many documents; the alias stays."
)
@click.option(
    "--enricher",
    "enrichers",
    multiple=True,
    help="An enricher plugin to run after our own steps; repeatable. Default: enrich.enrichers.",
)
@click.option("--accept-failures", is_flag=True, help="Move the alias though documents failed.")
@click.option(
    "--retry-failed",
    type=FILE,
    help="Read the documents in this file of failures again.",
)
@click.option("--restart", is_flag=True, help="Begin anew where an earlier run could be gone on.")
@click.option("--follow", is_flag=True, help="Go on enriching what changes, until interrupted.")
@click.option(
    "--poll-s",
    type=click.FloatRange(0.05),
    default=5.0,
    show_default=True,
    help="Seconds between two looks at the source with --follow.",
)
@click.option(
    "--engine",
    "runner",
    type=click.Choice(["threads", "ray"]),
    default="threads",
    show_default=True,
    help="Where batches are worked on: in this process, or by --slices workers on Ray.",
)
@click.option("--ray-address", help="A Ray cluster's address (ray://HOST:10001). Default: local.")
@click.option("--install-templates", is_flag=True, help="Also install the index templates.")
@click.option(
    "--dry-run", is_flag=True, help="Show the plan, 3 samples, time and cost; write nothing."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def command(
    obj: Mapping[str, Any],
    *,
    source: str,
    dest: str,
    url: str | None,
    source_url: str | None,
    recipe_file: Path | None,
    copy: bool,
    text_fields: tuple[str, ...],
    attribute_fields: tuple[str, ...],
    query: dict[str, Any] | None,
    fields: str | None,
    id_field: str | None,
    batch_size: int | None,
    slices: int,
    limit: int | None,
    enrichers: tuple[str, ...],
    accept_failures: bool,
    retry_failed: Path | None,
    restart: bool,
    follow: bool,
    poll_s: float,
    runner: str,
    ray_address: str | None,
    install_templates: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Enrich SOURCE, an index or a file (JSONL, CSV, Parquet), into a new index behind DEST.

    Example: es-rerank reindex products products-reranked

    The new index is DEST-000001, the next time DEST-000002, and so on. The alias DEST moves in one
    step once everything is written; no index is ever deleted, and SOURCE is only read. A run that
    was stopped, however, goes on when the same command is given again.

    Exit codes: 0 done; 1 failure; 2 usage; 3 finished, but documents failed; 4 the cluster cannot
    be reached or refuses; 130 interrupted.
    """
    as_json, quiet = obj["json"], obj["quiet"]
    if runner == "ray" and limit is not None:
        raise click.UsageError("--limit counts documents in this process: leave out --engine ray")
    if copy and (recipe_file or enrichers):
        raise click.UsageError("--copy adds nothing: leave out --recipe and --enricher")
    settings = load_settings(
        obj["config_file"], {"upstream": {"url": url}, "source": {"url": source_url}}
    )
    recipe = read_recipe(recipe_file) if recipe_file else Recipe() if copy else default_recipe()
    recipe = with_flags(
        recipe,
        text_fields=text_fields or (() if recipe.text_fields else settings.rerank.text_fields),
        attribute_fields=attribute_fields
        or (() if recipe.attribute_fields else settings.rerank.attribute_fields),
        price_field=None if recipe.price_field else settings.rerank.price_field,
        query=query,
        fields=[name.strip() for name in fields.split(",")] if fields else (),
        enrichers=() if copy else enrichers or settings.enrich.enrichers,
        options=settings.plugins,
    )
    retried = read_failed(retry_failed) if retry_failed else []
    with ExitStack() as stack:
        client = connect_upstream(settings.upstream)
        stack.callback(client.close)
        reviews = ReviewLog(client, settings.review.index, dest)
        plan = make_plan(
            client,
            open_any(source, client, settings, recipe, id_field, batch_size, stack),
            dest,
            recipe,
            lambda chosen, found: load_steps(chosen, found, settings, reviews),
            limit=limit,
            restart=restart,
            follow=follow,
        )
        if not quiet:
            click.echo(describe_plan(plan, client), err=True)
        if dry_run:
            show_samples(plan, client, as_json=as_json, quiet=quiet)
            return
        if not yes:
            confirm()
        if install_templates:
            install(client, plan, settings, quiet=quiet)
        log = stack.enter_context(FailureLog())
        run = start_run(client, plan, slices, log)
        if runner == "ray":
            from es_rerank.cli.reindex_ray import make_flow

            run.ray = make_flow(recipe, plan, settings, ray_address)
        created = [plan.index] if plan.resumed else []

        def note_created(index: str) -> None:
            created.append(index)
            log.name_after(index)

        run.on_created = note_created
        if recipe.forms:
            run.on_moved = reviews.carry_over
        try:
            with show_progress("reindex", plan.expected, "docs", quiet=quiet) as meter:
                run.on_progress = meter.show
                result = carry_out(run, accept_failures=accept_failures, retried=retried)
        except (EsRerankError, KeyboardInterrupt) as error:
            # An interrupt may fall between the engine's making the index and our hearing of it.
            if not created and isinstance(error, KeyboardInterrupt):
                created += [name for name in [plan.index] if has_index(client, name)]
            if created:
                click.echo(describe_leftover(created[0], plan, client), err=True)
            raise
        if as_json:
            click.echo(
                orjson.dumps({**plan_keys(plan, client, dry_run=False), **result_keys(result, log)})
            )
        elif not quiet:
            click.echo(describe_result(result, plan, client))
        if follow and result.alias_moved:
            follow_source(run, poll_s, lambda said: None if quiet else click.echo(said, err=True))
        if result.failed:
            raise PartialError(describe_failures(result, log))


def open_any(
    name: str,
    client: SearchClient,
    settings: Settings,
    recipe: Recipe,
    id_field: str | None,
    batch_size: int | None,
    stack: ExitStack,
) -> Source:
    """The source: a file where the name is one's, else an index, of another cluster if one is set.

    Raises ConfigError when it will not do.
    """
    usual = GENERATED_BATCH if recipe.generates else COPY_BATCH if recipe.is_copy else BATCH
    size = batch_size or usual
    if settings.source.url is None and find_reader(Path(name)) is not None:
        if recipe.query is not None or recipe.fields is not None:
            raise click.UsageError("--query and --fields are for an index: a file is taken whole")
        return open_file(Path(name), id_field=id_field, page_size=size)
    if id_field is not None:
        raise click.UsageError("--id-field is for a file: an index's documents keep their _id")
    if settings.source.url is None:
        described, origin = open_source(client, name), client
    else:
        origin = connect_node(settings.source.url, settings.source)
        stack.callback(origin.close)
        same = origin.kind == client.kind
        described = carry_over(open_source(origin, name), same_kind=same)
    return IndexSource(origin, described, size, recipe.query, recipe.fields)


def start_run(client: SearchClient, plan: Plan, slices: int, log: FailureLog) -> Run:
    """The run, with its failures going to the log."""
    if plan.resumed:
        log.name_after(plan.index)
    return Run(client, plan, slices, on_failure=log.add)


def show_samples(plan: Plan, client: SearchClient, *, as_json: bool, quiet: bool) -> None:
    """Enrich a few documents, and say what all would take."""
    wanted = SHOWN_SAMPLES if plan.is_paid else TIMED_SAMPLES
    page, bodies, failures, seconds = sample(plan, wanted)
    keys = [record.id for record in page.records]
    shown = shown_samples(keys, bodies)
    # Those to which most is added: a document without any text shows nothing.
    shown.sort(key=lambda sample: -len(sample["_source"].get("es_rerank", {})))
    shown = shown[:SHOWN_SAMPLES]
    if as_json:
        said = {
            **plan_keys(plan, client, dry_run=True),
            **sample_keys(plan, len(keys), seconds),
            "samples": orjson.Fragment(json.dumps(shown, ensure_ascii=False)),  # any big number
        }
        click.echo(orjson.dumps(said))
        return
    for document in shown:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    if not quiet:
        for failure in failures:
            click.echo(f"would fail: {failure.described}", err=True)
        click.echo(describe_estimate(plan, len(keys), seconds), err=True)


def install(client: SearchClient, plan: Plan, settings: Settings, *, quiet: bool) -> None:
    """Install the index templates, for vectors of the model's length."""
    from es_rerank.cluster.templates import install_templates
    from es_rerank.models.embedder import load_embedder

    name = plan.model or settings.model.embedder
    embedder = load_embedder(name, device=settings.model.device)
    names = install_templates(client, embedder.dimensions)
    if not quiet:
        click.echo(f"Installed the templates {', '.join(names)}.", err=True)


def confirm() -> None:
    """Ask; a run that nobody watches has to say --yes. Raises UsageError or Abort."""
    if not sys.stdin.isatty():
        raise click.UsageError("this writes to the cluster: add --yes to go on without being asked")
    click.confirm("Go on?", default=True, abort=True, err=True)


def has_index(client: SearchClient, index: str) -> bool:
    """Whether the index is there, as far as the cluster still answers."""
    try:
        return bool(client.request("GET", f"/{quote(index)}", allow=(404,)))
    except EsRerankError:
        return False
