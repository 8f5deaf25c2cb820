"""`es-rerank config`: what is set, and where it comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from es_rerank.cli.output import json_option
from es_rerank.config import Settings, flatten, list_settings, trace_settings


@click.group()
def command() -> None:
    """Look at the settings.

    Example: es-rerank config show --origin
    """


@command.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@json_option
@click.pass_context
def show(ctx: click.Context, origin: bool) -> None:
    """Print every setting as it holds now, secrets masked.

    Example: es-rerank --config shop.toml config show --origin
    """
    settings, origins = trace_settings(ctx.obj["config_file"])
    values = read_values(settings)
    if ctx.obj["json"]:
        shown: dict[str, Any] = {
            key: {"value": value, "origin": origins.get(key, "default")} if origin else value
            for key, value in values.items()
        }
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        click.echo(f"{line}  # {origins.get(key, 'default')}" if origin else line)


def read_values(settings: Settings) -> dict[str, Any]:
    """Every setting's value by dotted key, also those at their default."""
    given = settings.model_dump(mode="json")
    values = {".".join(path): value for path, value in flatten(given)}
    for key, _ in list_settings():
        if ".NAME." not in key:
            values.setdefault(key, None)
    return dict(sorted(values.items()))
