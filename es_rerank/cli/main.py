"""The `es-rerank` command. Each command is imported only when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from es_rerank import __version__
from es_rerank.cli.output import FILE
from es_rerank.errors import EsRerankError

INTERRUPTED = 130

COMMANDS = {
    "completion": "completion",
    "config": "config",
    "demo": "demo",
    "engine": "engine",
    "eval": "eval",
    "graph": "graph",
    "index": "index",
    "model": "model",
    "reindex": "reindex",
    "review": "review",
    "serve": "serve",
    "train": "train",
    "try": "try_",
}


class LazyGroup(click.Group):
    """A group whose commands live in `es_rerank.cli.<module>` as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"es_rerank.cli.{COMMANDS[cmd_name]}").command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="es-rerank")
@click.option(
    "--config",
    "config_file",
    type=FILE,
    help="TOML file of settings. Without it, es-rerank.toml is read where it lies here.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--no-color", is_flag=True, help="No colour; NO_COLOR does the same.")
@click.pass_context
def cli(
    ctx: click.Context,
    config_file: Path | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    no_color: bool,
) -> None:
    """Rerank and diversify Elasticsearch and OpenSearch results, without touching the shop's code.

    Example: es-rerank try http://localhost:9200 products "red running shoes"
    """
    if no_color or os.environ.get("NO_COLOR"):
        ctx.color = False
        os.environ["NO_COLOR"] = "1"
    ctx.obj = {
        "config_file": config_file,
        "verbose": verbose,
        "quiet": quiet,
        "json": as_json,
    }


def main(args: list[str] | None = None) -> Any:
    """Run the command line; exit with the code that errors.py and the documentation name."""
    try:
        code = cli.main(args=args, prog_name="es-rerank", standalone_mode=False)
    except EsRerankError as error:
        click.echo(f"es-rerank: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        click.echo("es-rerank: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
