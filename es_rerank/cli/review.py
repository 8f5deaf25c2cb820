"""`es-rerank review`: generated texts that wait for a person."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import orjson

from es_rerank.cli.index import connected
from es_rerank.cli.output import json_option
from es_rerank.config import load_settings
from es_rerank.enrich.review import sender
from es_rerank.errors import EsRerankError
from es_rerank.review.asking import Steps, carry_out
from es_rerank.review.decide import (
    STATES,
    WAITING,
    decide,
    find_item,
    list_items,
    show_items,
)
from es_rerank.review.document import Item, step_of
from es_rerank.review.log import Decision, Entry, read_log

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])
URL = click.option("--url", help="Address of the cluster. Default: upstream.url.")
ROUTING = click.option("--routing", help="The document's routing, where it has one.")


def deciding(function: Function) -> Function:
    """What the three decisions have in common."""
    for decorate in reversed(
        (
            click.argument("alias"),
            click.argument("document"),
            click.argument("form"),
            click.option("--by", help="Who decides. Default: the name of the user here."),
            ROUTING,
            URL,
            json_option,
            click.pass_obj,
        )
    ):
        function = decorate(function)
    return function


@click.group()
def command() -> None:
    """Show texts that wait for a person, and decide on them.

    Example: es-rerank review list products-reranked
    """


@command.command(name="list")
@click.argument("alias")
@click.option(
    "--state",
    type=click.Choice(STATES),
    default=WAITING,
    show_default=True,
    help="Texts in this state; flagged, blocked and passed are what the check found.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Documents to look at, at most.",
)
@URL
@json_option
@click.pass_obj
def list_(obj: Mapping[str, Any], *, alias: str, state: str, limit: int, url: str | None) -> None:
    """List the texts behind ALIAS that wait, or are in another state.

    Example: es-rerank review list products-reranked --state blocked
    """
    items = _ask(obj, url, list_items(alias, state, limit))
    if obj["json"]:
        click.echo(orjson.dumps({"alias": alias, "state": state, "texts": list(map(_keys, items))}))
    elif items:
        click.echo("\n".join(map(_line, items)))
    else:
        click.echo(f"There is no text behind {alias} that is {state}.")


@command.command()
@click.argument("alias")
@click.argument("document")
@ROUTING
@URL
@json_option
@click.pass_obj
def show(
    obj: Mapping[str, Any], *, alias: str, document: str, routing: str | None, url: str | None
) -> None:
    """Show all generated texts of a document, why they wait, and what they were made of.

    Example: es-rerank review show products-reranked B07XYZ
    """
    items = _ask(obj, url, show_items(alias, document, routing))
    source = dict(items[0].source) if items else {}
    if obj["json"]:
        shown = {"alias": alias, "document": document, "texts": list(map(_keys, items))}
        click.echo(orjson.dumps({**shown, "source": source}))
        return
    click.echo("\n".join(map(_describe, items)) or f"{document} has no generated text.")
    if items:
        click.echo(f"made of:\n{orjson.dumps(source, option=orjson.OPT_INDENT_2).decode()}")


@command.command()
@deciding
def approve(obj: Mapping[str, Any], **given: Any) -> None:
    """Show the text of FORM that waits, or was rejected, as it is.

    Example: es-rerank review approve products-reranked B07XYZ advert
    """
    _decide(obj, "approved", **given)


@command.command()
@deciding
def reject(obj: Mapping[str, Any], **given: Any) -> None:
    """Show no text of FORM.

    Example: es-rerank review reject products-reranked B07XYZ advert
    """
    _decide(obj, "rejected", **given)


@command.command()
@click.option("--text", help="The text; a list has a line for each item. Default: asks an editor.")
@deciding
def edit(obj: Mapping[str, Any], *, text: str | None, **given: Any) -> None:
    """Show another text of FORM: --text, or what you write in $EDITOR.

    Example: es-rerank review edit products-reranked B07XYZ advert --text "Light on the trail."
    """
    seen = None
    if text is None:
        steps = show_items(given["alias"], given["document"], given["routing"])
        items = _ask(obj, given["url"], steps)
        item = find_item(items, step_of(given["form"]), given["document"])
        before = "\n".join(item.text) if isinstance(item.text, list) else item.text or ""
        text, seen = click.edit(before, require_save=True), item.seen
        if text is None:
            raise click.UsageError("nothing was saved: the text stays as it is")
    _decide(obj, "edited", text=text, seen=seen, **given)


@command.command()
@click.argument("alias")
@click.argument("document", required=False)
@URL
@json_option
@click.pass_obj
def log(obj: Mapping[str, Any], *, alias: str, document: str | None, url: str | None) -> None:
    """Show who decided what and when, the latest last; of one document or of all behind ALIAS.

    Example: es-rerank review log products-reranked
    """
    entries = _ask(obj, url, read_log(_log_index(obj), alias, document=document))
    if obj["json"]:
        click.echo(orjson.dumps({"alias": alias, "decisions": entries}))
    else:
        lines = map(_entry_line, entries)
        click.echo("\n".join(lines) or f"Nobody has decided on a text behind {alias}.")


def _decide(
    obj: Mapping[str, Any],
    decision: Decision,
    *,
    alias: str,
    document: str,
    form: str,
    by: str | None,
    routing: str | None,
    url: str | None,
    text: str | None = None,
    seen: str | None = None,
) -> None:
    item = _ask(
        obj,
        url,
        decide(
            _log_index(obj),
            alias,
            document,
            form,
            decision,
            who=by or _user(),
            via="command line",
            routing=routing,
            text=text,
            seen=seen,
        ),
    )
    click.echo(orjson.dumps(_keys(item)) if obj["json"] else _line(item))


def _ask(obj: Mapping[str, Any], url: str | None, steps: Steps[T]) -> T:
    with connected(obj, url) as client:
        return carry_out(steps, sender(client))


def _log_index(obj: Mapping[str, Any]) -> str:
    return load_settings(obj["config_file"]).review.index


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise EsRerankError("who decides? there is no user's name here: say --by NAME") from None


def _keys(item: Item) -> dict[str, Any]:
    return {
        "document": item.id,
        "routing": item.routing,
        "index": item.index,
        "form": item.form,
        "state": item.state,
        "outcome": item.outcome,
        "reasons": list(item.reasons),
        "text": item.text,
        "shown": item.is_shown,
        "by": item.origin.get("by"),
        "decided": item.origin.get("decided"),
        "model": item.origin.get("model"),
        "time": item.origin.get("time"),
    }


def _line(item: Item) -> str:
    text = " / ".join(item.text) if isinstance(item.text, list) else item.text or "(not kept)"
    why = f"  [{'; '.join(item.reasons)}]" if item.reasons else ""
    return f"{item.id}  {item.form}  {item.state}  {text}{why}"


def _describe(item: Item) -> str:
    by = item.origin.get("by")
    lines = [_line(item), f"  shown: {'yes' if item.is_shown else 'no'}; check: {item.outcome}"]
    lines += [f"  {item.state} by {by}, {item.origin.get('decided')}"] if by else []
    return "\n".join([*lines, f"  written by {item.origin.get('model')}, {item.origin['time']}"])


def _entry_line(entry: Entry) -> str:
    text = entry.text if entry.text is not None else entry.before.get("text")
    return (
        f"{entry.when}  {entry.who} ({entry.via})  {entry.document}  "
        f"{entry.step.removeprefix('text-')}  {entry.decision}  {text}"
    )
