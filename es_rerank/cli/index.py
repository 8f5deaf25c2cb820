"""`es-rerank index`: the versions that reindex wrote behind an alias."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import orjson

from es_rerank.cli.output import json_option
from es_rerank.cluster.client import SearchClient, connect_upstream
from es_rerank.cluster.templates import swap_alias
from es_rerank.cluster.versions import (
    Version,
    choose_old,
    delete_version,
    find_before,
    find_version,
    list_versions,
)
from es_rerank.config import load_settings
from es_rerank.enrich.run.record import COMPLETE, read_record
from es_rerank.errors import ConfigError

URL = click.option("--url", help="Address of the cluster. Default: upstream.url.")
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group()
def command() -> None:
    """Show and choose the versions of an index that reindex wrote.

    Example: es-rerank index status products-reranked
    """


@contextmanager
def connected(obj: Mapping[str, Any], url: str | None) -> Iterator[SearchClient]:
    """The cluster of the settings, closed afterwards."""
    client = connect_upstream(
        load_settings(obj["config_file"], {"upstream": {"url": url}}).upstream
    )
    try:
        yield client
    finally:
        client.close()


def version_keys(version: Version) -> dict[str, Any]:
    """A version as JSON."""
    record = read_record(version.mappings)
    return {
        "index": version.index,
        "live": version.is_live,
        "documents": version.documents,
        "bytes": version.bytes,
        "state": record.state if record else None,
        "failed": record.failed if record else None,
        "steps": dict(record.recipe) if record else None,
        "source": record.identity.get("index", record.identity.get("file")) if record else None,
        "started": record.started if record else None,
        "updated": record.updated if record else None,
    }


def describe_version(version: Version) -> str:
    """A version as a line for people."""
    keys = version_keys(version)
    mark = "*" if version.is_live else " "
    size = version.bytes / 1e6
    steps = "unknown origin" if keys["steps"] is None else ", ".join(keys["steps"]) or "copy"
    failed = f", {keys['failed']:,} failed" if keys["failed"] else ""
    state = f"{keys['state']}{failed}" if keys["state"] else ""
    origin = f" of {keys['source']}" if keys["source"] else ""
    return (
        f"{mark} {version.index}  {version.documents:,} documents, {size:,.1f} MB  {state}  "
        f"{steps}{origin}  {keys['updated'] or ''}"
    ).rstrip()


@command.command()
@click.argument("alias")
@URL
@json_option
@click.pass_obj
def status(obj: Mapping[str, Any], *, alias: str, url: str | None) -> None:
    """Show the versions behind ALIAS: how far each is, and which one is searched.

    Example: es-rerank index status products-reranked
    """
    with connected(obj, url) as client:
        versions = list_versions(client, alias)
    if obj["json"]:
        shown = {"alias": alias, "versions": [version_keys(version) for version in versions]}
        click.echo(orjson.dumps(shown))
    elif versions:
        click.echo("\n".join(map(describe_version, versions)))
    else:
        click.echo(f"There is no version behind {alias}.")


@command.command()
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--force", is_flag=True, help="Also to a version that is not complete.")
@URL
@json_option
@click.pass_obj
def swap(
    obj: Mapping[str, Any], *, alias: str, version: str | None, force: bool, url: str | None
) -> None:
    """Point ALIAS at VERSION (its name or number), in one step; the newest if none is named.

    Example: es-rerank index swap products-reranked 3
    """
    with connected(obj, url) as client:
        chosen = find_version(list_versions(client, alias), alias, version)
        record = read_record(chosen.mappings)
        if record is not None and record.state != COMPLETE and not force:
            raise ConfigError(
                f"{chosen.index} is not complete ({record.state}, {record.failed:,} documents "
                "failed): run reindex again, which goes on with it, or say --force"
            )
        tell_swap(obj, client, alias, chosen)


@command.command()
@click.argument("alias")
@URL
@json_option
@click.pass_obj
def rollback(obj: Mapping[str, Any], *, alias: str, url: str | None) -> None:
    """Point ALIAS at the version before the one that is searched.

    Example: es-rerank index rollback products-reranked
    """
    with connected(obj, url) as client:
        tell_swap(obj, client, alias, find_before(list_versions(client, alias), alias))


@command.command()
@click.argument("alias")
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Versions before the searched one that stay.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@YES
@URL
@json_option
@click.pass_obj
def prune(
    obj: Mapping[str, Any], *, alias: str, keep: int, dry_run: bool, yes: bool, url: str | None
) -> None:
    """Delete old versions of ALIAS. The searched one and newer ones always stay.

    Example: es-rerank index prune products-reranked --keep 2
    """
    with connected(obj, url) as client:
        old = choose_old(list_versions(client, alias), keep)
        names = [version.index for version in old]
        if old and not dry_run:
            if not yes:
                click.confirm(f"Delete {', '.join(names)}?", abort=True, err=True)
            for version in old:
                delete_version(client, version)
    if obj["json"]:
        click.echo(orjson.dumps({"alias": alias, "deleted": names, "dry_run": dry_run}))
    else:
        would = "Would delete" if dry_run else "Deleted"
        click.echo(f"{would} {', '.join(names)}." if names else "There is nothing to delete.")


def tell_swap(obj: Mapping[str, Any], client: SearchClient, alias: str, version: Version) -> None:
    """Move the alias and say so."""
    before = swap_alias(client, alias, version.index)
    if obj["json"]:
        shown = {"alias": alias, "index": version.index, "before": before}
        click.echo(orjson.dumps(shown))
    else:
        was = f" (before: {', '.join(before)})" if before else ""
        click.echo(f"The alias {alias} stands for {version.index} now{was}.")
