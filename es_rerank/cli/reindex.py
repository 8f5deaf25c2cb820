"""`es-rerank reindex`: enrich an index into a new one behind an alias."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import orjson

from es_rerank.cli.output import json_option
from es_rerank.cli.progress import format_duration, show_progress
from es_rerank.cluster.client import SearchClient, connect_upstream, quote
from es_rerank.cluster.document import Document
from es_rerank.cluster.sink import Failure, encode_patch
from es_rerank.config import load_settings
from es_rerank.enrich.reindex import (
    Plan,
    Result,
    build_enrichers,
    carry_out,
    make_plan,
    sample_documents,
)
from es_rerank.enrich.vector import Encoder
from es_rerank.errors import EsRerankError, PartialError
from es_rerank.plugins import load_plugin

SHOWN_FAILURES = 5


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option("--url", help="Address of the cluster. Default: upstream.url, or ELASTICSEARCH_URL.")
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
@click.option(
    "--batch-size",
    type=click.IntRange(1, 10_000),
    default=512,
    show_default=True,
    help="Documents read, embedded and written at a time.",
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
@click.option("--install-templates", is_flag=True, help="Also install the index templates.")
@click.option(
    "--dry-run", is_flag=True, help="Show the plan and 3 enriched samples; write nothing."
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
    text_fields: tuple[str, ...],
    attribute_fields: tuple[str, ...],
    batch_size: int,
    limit: int | None,
    enrichers: tuple[str, ...],
    accept_failures: bool,
    install_templates: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Enrich the index SOURCE into a new index behind the alias DEST.

    Example: es-rerank reindex products products-reranked

    The new index is DEST-000001, the next time DEST-000002, and so on. The alias moves in one step
    once everything is written; no index is ever deleted, and SOURCE is only read.

    Exit codes: 0 done; 1 failure; 2 usage; 3 finished, but documents failed; 4 the cluster cannot
    be reached or refuses; 130 interrupted.
    """
    as_json, quiet = obj["json"], obj["quiet"]
    settings = load_settings(obj["config_file"], {"upstream": {"url": url}})
    others = [
        load_plugin("enricher", name, settings.plugins)
        for name in enrichers or settings.enrich.enrichers
    ]
    with ExitStack() as stack:
        client = connect_upstream(settings.upstream)
        stack.callback(client.close)
        plan = make_plan(
            client,
            source,
            dest,
            text_fields=text_fields or settings.rerank.text_fields,
            attribute_fields=attribute_fields or settings.rerank.attribute_fields,
            price_field=settings.rerank.price_field,
            limit=limit,
        )
        if not quiet:
            click.echo(describe_plan(plan, client, settings.model.embedder), err=True)
        if not (dry_run or yes):
            confirm()
        from es_rerank.models.embedder import load_embedder

        embedder = load_embedder(settings.model.embedder, device=settings.model.device)
        if dry_run:
            samples = sample_documents(client, plan, build_enrichers(embedder, plan, others))
            shown = [shown_document(sample) for sample in samples]
            if as_json:
                click.echo(
                    orjson.dumps(
                        {**plan_keys(plan, client, embedder, dry_run=dry_run), "samples": shown}
                    )
                )
            else:
                for sample in shown:
                    click.echo(json.dumps(sample, ensure_ascii=False, indent=2))
            return
        if install_templates:
            from es_rerank.cluster import templates

            names = templates.install_templates(client, embedder.dimensions)
            if not quiet:
                click.echo(f"Installed the templates {', '.join(names)}.", err=True)
        log = stack.enter_context(FailureLog())
        created: list[str] = []

        def note_created(index: str) -> None:
            created.append(index)
            log.name_after(index)

        try:
            with show_progress("reindex", plan.expected, "docs", quiet=quiet) as meter:
                result = carry_out(
                    client,
                    plan,
                    embedder,
                    others=others,
                    batch_size=batch_size,
                    accept_failures=accept_failures,
                    on_created=note_created,
                    on_progress=lambda outcome: meter.show(outcome.read),
                    on_failure=log.add,
                )
        except (EsRerankError, KeyboardInterrupt) as error:
            # An interrupt may fall between the engine's making the index and our hearing of it.
            if not created and isinstance(error, KeyboardInterrupt):
                created += [name for name in [plan.next_index] if has_index(client, name)]
            if created:
                click.echo(describe_leftover(created[0], plan, client), err=True)
            raise
    if as_json:
        click.echo(
            orjson.dumps(
                {**plan_keys(plan, client, embedder, dry_run=dry_run), **result_keys(result, log)}
            )
        )
    elif not quiet:
        click.echo(describe_result(result, plan, client))
    if result.outcome.failed:
        raise PartialError(describe_failures(result, log))


def confirm() -> None:
    """Ask; a run that nobody watches has to say --yes. Raises UsageError or Abort."""
    if not sys.stdin.isatty():
        raise click.UsageError("this writes to the cluster: add --yes to go on without being asked")
    click.confirm("Go on?", default=True, abort=True, err=True)


class FailureLog:
    """Every refused document as a line of JSON, in a file that is made with the first."""

    def __init__(self) -> None:
        self.first: list[Failure] = []
        self.path = Path("reindex-failures.jsonl")
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> FailureLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def name_after(self, index: str) -> None:
        """Name the file after the index that refuses."""
        self.path = Path(f"{index}-failures.jsonl")

    def add(self, failure: Failure) -> None:
        """Write one failure."""
        if self._file is None:
            self._file = self._stack.enter_context(self.path.open("wb"))
        if len(self.first) < SHOWN_FAILURES:
            self.first.append(failure)
        self._file.write(orjson.dumps(failure, option=orjson.OPT_APPEND_NEWLINE))


def plan_keys(
    plan: Plan, client: SearchClient, encoder: Encoder, *, dry_run: bool
) -> dict[str, Any]:
    """The keys of --json that say what was to be done."""
    return {
        "engine": client.kind,
        "engine_version": ".".join(map(str, client.version)),
        "source": plan.source.index,
        "alias": plan.alias,
        "alias_before": list(plan.before),
        "index": plan.next_index,
        "documents": plan.expected,
        "text_fields": list(plan.fields.text),
        "attribute_fields": list(plan.fields.attributes),
        "price_field": plan.fields.price,
        "model": encoder.name,
        "dimensions": encoder.dimensions,
        "dry_run": dry_run,
    }


def result_keys(result: Result, log: FailureLog) -> dict[str, Any]:
    """The keys of --json that say what was done."""
    outcome = result.outcome
    return {
        "index": result.index,
        "read": outcome.read,
        "written": outcome.written,
        "failed": outcome.failed,
        "failures": [orjson.Fragment(orjson.dumps(failure)) for failure in log.first],
        "failures_file": str(log.path) if outcome.failed else None,
        "alias_moved": result.alias_moved,
        "alias_kept_because": result.why_not,
        "duration_s": round(result.duration_s, 3),
        "documents_per_s": round(outcome.read / max(result.duration_s, 1e-9), 1),
    }


def shown_document(document: Document) -> dict[str, Any]:
    """A sample for people: the patch with its vector cut short."""
    patch = json.loads(encode_patch(document.patch))
    if "vector" in patch:
        patch["vector"] = [*patch["vector"][:3], f"... {len(patch['vector'])} numbers"]
        patch["code"] = f"{patch['code'][:24]}..."
    return {"_id": document.id, "_source": {**document.source, "es_rerank": patch}}


def describe_plan(plan: Plan, client: SearchClient, model: str) -> str:
    """Say what will be done."""
    now = f"{', '.join(plan.before)} now" if plan.before else "new"
    fields = plan.fields
    then = f"then move the alias {plan.alias} there ({now})"
    if plan.is_cut:
        then = f"and leave the alias {plan.alias} alone ({now}), since --limit cuts the source off"
    return (
        f"{client.name} at {client.url}\n"
        f"  read    {plan.source.index} ({plan.expected:,} of {plan.total:,} documents)\n"
        f"  write   {plan.next_index}, {then}\n"
        f"  text    {', '.join(fields.text)}, embedded by {model}\n"
        f"  alike   {', '.join(fields.attributes) or 'no attribute field found'}"
        f"{f'; price {fields.price}' if fields.price else ''}"
    )


def describe_result(result: Result, plan: Plan, client: SearchClient) -> str:
    """Say what was done, and what to do next."""
    outcome = result.outcome
    rate = outcome.read / max(result.duration_s, 1e-9)
    lines = [
        f"{outcome.written:,} documents written to {result.index} in "
        f"{format_duration(result.duration_s)} ({rate:,.0f} docs/s), {outcome.failed:,} failed."
    ]
    if result.alias_moved:
        lines.append(f"The alias {plan.alias} stands for {result.index} now.")
        kept = [name for name in plan.before if name != plan.source.index]
        if kept:
            lines.append(
                f"Still there: {', '.join(kept)}. Once you need it no more: "
                f"curl -X DELETE '{client.url}/{kept[0]}'"
            )
    else:
        lines.append(f"The alias {plan.alias} was left as it was: {result.why_not}.")
    return "\n".join(lines)


def has_index(client: SearchClient, index: str) -> bool:
    """Whether the index is there, as far as the cluster still answers."""
    try:
        return bool(client.request("GET", f"/{quote(index)}", allow=(404,)))
    except EsRerankError:
        return False


def describe_leftover(index: str, plan: Plan, client: SearchClient) -> str:
    """Say what a run that ended early has left behind."""
    return (
        f"{index} is incomplete; the alias {plan.alias} was not touched. Remove what was written: "
        f"curl -X DELETE '{client.url}/{index}'"
    )


def describe_failures(result: Result, log: FailureLog) -> str:
    """Name the first refused documents, where the rest stand, and what can be done."""
    lines = [f"{result.outcome.failed:,} documents failed:"]
    lines += [f"  {failure.id}: {failure.type}: {failure.reason}" for failure in log.first]
    lines.append(f"All of them: {log.path}")
    if not result.alias_moved:
        lines.append(
            f"Mend them in the source and run again, or move the alias as it is: --accept-failures "
            f"({result.index} stays either way)."
        )
    return "\n".join(lines)
