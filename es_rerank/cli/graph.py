"""`es-rerank graph`: the product graph that reindex wrote beside an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from es_rerank.cli.index import URL, connected
from es_rerank.cli.output import json_option
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.shards import look_up, read_shards, read_span
from es_rerank.cluster.source import open_source
from es_rerank.errors import ConfigError

PAGE = 500


@click.group()
def command() -> None:
    """Show and export the product graph beside an index.

    Example: es-rerank graph show products-reranked 17
    """


@command.command()
@click.argument("alias")
@click.argument("product")
@URL
@json_option
@click.pass_obj
def show(obj: Mapping[str, Any], *, alias: str, product: str, url: str | None) -> None:
    """Show what PRODUCT (its id) of ALIAS is to others, and why.

    Example: es-rerank graph show products-reranked 17
    """
    with connected(obj, url) as client:
        index = find_graph_index(client, alias)
        key = f"product:{product}"
        node = read_nodes(client, index, [key]).get(key)
        if node is None:
            raise ConfigError(f"{index} has no product {product!r}")
        wanted = [str(edge["object"]) for edge in node["edges"]]
        others = read_nodes(client, index, list(dict.fromkeys(wanted))) if wanted else {}
    labels = {other: str(found.get("label", "")) for other, found in others.items()}
    if obj["json"]:
        edges = [{**edge, "label": labels.get(edge["object"], "")} for edge in node["edges"]]
        click.echo(orjson.dumps({"index": index, **node, "edges": edges}))
        return
    click.echo(describe_node(node, labels))


@command.command()
@click.argument("alias")
@click.option(
    "--format",
    "form",
    type=click.Choice(["turtle", "ntriples", "jsonld"]),
    default="turtle",
    show_default=True,
    help="How the triples are written.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: stdout.",
)
@click.option("--base", help="What addresses begin with. Default: urn:es-rerank:ALIAS:")
@click.option("--reasons", is_flag=True, help="Also each edge's confidence and reason.")
@URL
@click.pass_obj
def export(
    obj: Mapping[str, Any],
    *,
    alias: str,
    form: Any,
    out: Path | None,
    base: str | None,
    reasons: bool,
    url: str | None,
) -> None:
    """Write the graph of ALIAS as RDF, in schema.org's terms where they fit. Needs extra graph.

    Example: es-rerank graph export products-reranked --format jsonld --out products.jsonld
    """
    from es_rerank.enrich.graph.rdf import write_graph

    with connected(obj, url) as client:
        index = find_graph_index(client, alias)
        chunks = write_graph(
            read_all(client, index), form, base or f"urn:es-rerank:{alias}:", reasons=reasons
        )
        if out is None:
            for chunk in chunks:
                click.echo(chunk, nl=False)
            return
        with out.open("w", encoding="utf-8") as file:
            file.writelines(chunks)
    if not obj["quiet"]:
        click.echo(f"Wrote {out}.", err=True)


def find_graph_index(client: SearchClient, alias: str) -> str:
    """The graph's index behind an alias. Raises ConfigError where there is none."""
    found = client.request("GET", f"/_alias/{alias}-graph", allow=(404,))
    if not found:
        raise ConfigError(
            f"there is no graph beside {alias!r}: give es-rerank reindex a recipe with [graph]"
        )
    return str(min(found))


def read_nodes(client: SearchClient, index: str, keys: list[str]) -> dict[str, dict[str, Any]]:
    """The nodes with these ids that are there."""
    found = look_up(client, index, [(key, None) for key in keys])
    return {key: orjson.loads(raw) for (key, _), raw in found.items()}


def read_all(client: SearchClient, index: str) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """All nodes with their ids, in pages."""
    for shard in read_shards(client, open_source(client, index)):
        for hits in read_span(client, index, shard.number, (0, shard.until), size=PAGE):
            yield [
                (orjson.loads(bytes(hit.id)), orjson.loads(bytes(hit.source)))  # type: ignore[arg-type]
                for hit in hits
            ]


def describe_node(node: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A product for people: what it is, and each edge with its reason."""
    told = ", ".join(filter(None, [node.get("type"), node.get("brand")]))
    lines = [f"{node['id']}  {node.get('label', '')}" + (f"  ({told})" if told else "")]
    lines += [f"  {attribute}" for attribute in node.get("attributes", ())]
    last = ""
    for edge in node["edges"]:
        if "reason" not in edge:
            continue
        if edge["predicate"] != last:
            last = edge["predicate"]
            lines.append(last)
        other = edge["object"].partition(":")[2]
        label = labels.get(edge["object"], "")
        lines.append(f"  {edge['confidence']:.2f}  {other}  {label}".rstrip())
        lines.append(f"        {edge['reason']}")
    return "\n".join(lines)
