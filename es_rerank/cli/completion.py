"""`es-rerank completion`: print the shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of bash, zsh or fish.

    Example: eval "$(es-rerank completion bash)"
    """
    completion = get_completion_class(shell)
    if completion is None:  # click knows all three; a newer click might drop one
        raise click.UsageError(f"this click has no completion for {shell}")
    root = ctx.find_root().command
    click.echo(completion(root, {}, "es-rerank", "_ES_RERANK_COMPLETE").source())
