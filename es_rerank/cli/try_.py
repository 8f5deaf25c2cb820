"""`es-rerank try`: one query, before and after, with nothing to configure."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from es_rerank.cli.output import json_option
from es_rerank.config import Settings, load_settings
from es_rerank.errors import ClusterError, ConfigError

TIMEOUT_MS = 60_000
TOP = 10


@click.command()
@click.argument("url")
@click.argument("index")
@click.argument("query")
@click.option("--diversity", type=click.FloatRange(0, 1), help="0 pure relevance, 1 pure variety.")
@click.option(
    "--field",
    "text_fields",
    multiple=True,
    help="A text field to search in and to read, the title first; repeatable. Default: found.",
)
@click.option(
    "--size", type=click.IntRange(1, 100), default=TOP, show_default=True, help="Hits to show."
)
@json_option
@click.pass_obj
def command(
    obj: dict[str, Any],
    url: str,
    index: str,
    query: str,
    diversity: float | None,
    text_fields: tuple[str, ...],
    size: int,
) -> None:
    """Search INDEX of the cluster at URL for QUERY, straight and reranked.

    Example: es-rerank try http://localhost:9200 products "red running shoes"

    Nothing is written. Documents that were never enriched are read and embedded on the fly.
    """
    from es_rerank.proxy.server import serve_in_thread
    from es_rerank.telemetry import configure_logging

    configure_logging("info" if obj["verbose"] else "error")
    settings = load_settings(
        obj["config_file"],
        {
            "upstream": {"url": url},
            "proxy": {"host": "127.0.0.1", "port": 0},
            "rerank": {
                "timeout_ms": TIMEOUT_MS,
                "text_fields": list(text_fields) or None,
                "diversify": {"diversity": diversity},
            },
        },
    )
    names = find_text_fields(settings, index, text_fields)
    if not obj["quiet"]:
        click.echo(f"Searching {', '.join(names)} of {index}; loading the model ...", err=True)
    body = {"query": {"multi_match": {"query": query, "fields": names}}, "size": size}
    with serve_in_thread(settings) as proxy:
        before = search(f"{proxy}/{quote(index, safe=',*')}", body, settings, enabled=False)
        after = search(f"{proxy}/{quote(index, safe=',*')}", body, settings, enabled=True)
    if obj["json"]:
        shown = {"query": query, "index": index, "fields": names, "before": before, "after": after}
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        print_lists(before, after, names)


def find_text_fields(settings: Settings, index: str, named: tuple[str, ...]) -> list[str]:
    """The fields to search in: those named, else those found in the mapping.

    Raises ClusterError when the cluster or index cannot be read, ConfigError when none is found.
    """
    from es_rerank.cluster.client import connect_upstream, quote
    from es_rerank.cluster.fields import find_fields, has_field, merge_fields

    client = connect_upstream(settings.upstream)
    try:
        mappings = client.request("GET", f"/{quote(index)}/_mapping", allow=(404,))
    finally:
        client.close()
    if not mappings:
        raise ClusterError(
            f"there is no index {index!r} at {settings.upstream.url}: check the name "
            f"(curl '{settings.upstream.url}/_cat/indices?v' lists them)"
        )
    for name in named:
        if not any(has_field(entry["mappings"], name.split("^")[0]) for entry in mappings.values()):
            raise ConfigError(f"{index} has no field {name!r} in its mapping")
    found = merge_fields([find_fields(entry["mappings"]) for entry in mappings.values()])
    fields = list(named) or list(found.text)
    if not fields:
        raise ConfigError(
            f"no text field was found in the mapping of {index}: name one with --field, "
            "the title first"
        )
    return fields


def search(
    where: str, body: dict[str, Any], settings: Settings, *, enabled: bool
) -> dict[str, Any]:
    """Search through the proxy; reranking off gives the engine's own answer."""
    import urllib3

    from es_rerank.proxy.upstream import Upstream

    credentials = Upstream(settings.upstream).own_credentials()
    answer = urllib3.request(
        "POST",
        f"{where}/_search",
        json={**body, "ext": {"es_rerank": {"enabled": enabled}}},
        headers={name.decode(): value.decode() for name, value in credentials},
        timeout=settings.upstream.timeout_s + TIMEOUT_MS / 1000,
    )
    value = answer.json()
    if answer.status != 200:
        raise ClusterError(f"the search failed ({answer.status}): {value['error']['reason']}")
    mark = answer.headers.get("x-es-rerank", "")
    return {"hits": value["hits"]["hits"], "mark": mark, "total": value["hits"].get("total")}


def print_lists(before: dict[str, Any], after: dict[str, Any], fields: list[str]) -> None:
    """Print both lists beside each other, and where each hit of the second stood in the first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not before["hits"]:
        click.echo(f"No hits in {', '.join(fields)}.")
        return
    table = Table(box=None, expand=True, padding=(0, 1))
    table.add_column("", justify="right", style="dim")
    table.add_column("before", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("after", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("was", justify="right", style="green")
    places = {(hit["_index"], hit["_id"]): i for i, hit in enumerate(before["hits"], 1)}
    for row in range(max(len(before["hits"]), len(after["hits"]))):
        left = before["hits"][row] if row < len(before["hits"]) else None
        right = after["hits"][row] if row < len(after["hits"]) else None
        was = places.get((right["_index"], right["_id"])) if right else None
        moved = "" if right is None else str(was or f">{len(before['hits'])}")
        table.add_row(
            str(row + 1), escape(title(left, fields)), escape(title(right, fields)), moved
        )
    console = Console()
    console.print(table)
    console.print(f"[dim]{escape(after['mark'])}[/dim]")


def title(hit: dict[str, Any] | None, fields: list[str]) -> str:
    """What a hit is called: its first text field, else its id."""
    from es_rerank.cluster.document import read_text

    if hit is None:
        return ""
    return read_text(hit.get("_source", {}), fields[0].split("^")[0]) or str(hit["_id"])
