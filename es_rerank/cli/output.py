"""What commands share: types of options, `--json`, and what is said on stderr."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def json_option(function: Function) -> Function:
    """`--json`, so that it may stand after the command as well as before it."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.obj["json"] = True

    option = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Print one JSON object on stdout.",
    )
    return option(function)


def sayer(obj: Mapping[str, Any]) -> Callable[[str], None]:
    """What tells how far it is, on stderr; nothing with --quiet."""

    def say(text: str) -> None:
        if not obj["quiet"]:
            click.echo(text, err=True)

    return say
