"""`es-rerank demo`: before and after, on a real engine that it brings along."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from es_rerank.cli.output import FOLDER, json_option, sayer
from es_rerank.config import load_settings

if TYPE_CHECKING:
    from es_rerank.demo.shops import Shop
    from es_rerank.demo.stack import Stack


@click.command()
@click.option("--once", is_flag=True, help="Print the tables and end.")
@click.option(
    "--dataset",
    type=click.Choice(["sample", "icecat"]),
    default="sample",
    show_default=True,
    help="The bundled catalogue, or Icecat's with human ratings.",
)
@click.option(
    "--data-dir",
    type=FOLDER,
    help="Folder of icecat_products.jsonl.gz and chorus_ratings_dev.csv.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="The proxy's port; 9400 by default.")
@json_option
@click.pass_obj
def command(
    obj: dict[str, Any], once: bool, dataset: str, data_dir: Path | None, port: int | None
) -> None:
    """Boot OpenSearch, fill it, enrich it, start the proxy, and show five searches both ways.

    Example: es-rerank demo

    The first run fetches the engine and enriches the catalogue; later ones reuse both. The engine
    and the proxy stay until Ctrl-C, and then leave nothing behind.
    """
    from es_rerank.demo.shops import load_shop
    from es_rerank.demo.showing import as_json, show_queries
    from es_rerank.demo.stack import open_stack
    from es_rerank.demo.table import make_console, print_showings
    from es_rerank.models.embedder import load_embedder
    from es_rerank.proxy.server import listen, serve_in_thread
    from es_rerank.telemetry import configure_logging

    report = sayer(obj)
    configure_logging("info" if obj["verbose"] else "warning")
    given = {"proxy": {"port": port}}
    wanted = load_settings(obj["config_file"], given).proxy
    listen(wanted.host, wanted.port).close()  # a taken port is told before the long work, not after
    with end_on_sigterm():
        shop = load_shop(dataset, data_dir)
        with open_stack(shop, report) as stack:
            report("Starting the proxy ...")
            flags = {"upstream": {"url": stack.url}, **given}
            settings = load_settings(obj["config_file"], flags)
            with serve_in_thread(settings) as proxy:
                embedder = load_embedder(settings.model.embedder, settings.model.device)
                showings = show_queries(shop, stack, proxy, embedder)
                if obj["json"]:
                    click.echo(json.dumps(as_json(showings), ensure_ascii=False))
                else:
                    print_showings(make_console(), showings, stack.engine, shop.note)
                if not once:
                    click.echo(describe_addresses(proxy, stack, shop), err=True)
                    wait_for_interrupt()


def describe_addresses(proxy: str, stack: Stack, shop: Shop) -> str:
    """Where to look next: the first query as a curl line, and the compare page."""
    text = next(iter(shop.queries.values()))
    shown = {"query": shop.query(text), "_source": ["title", "brand", shop.price]}
    body = json.dumps(shown, ensure_ascii=False)
    page = urlencode({"index": stack.enriched, "q": text, "fields": ",".join(shop.fields)})
    return (
        f"\nSearch it yourself (the same without es-rerank: {stack.url}/{stack.plain}):\n"
        f"  curl -s -D- '{proxy}/{stack.enriched}/_search?pretty' "
        f"-H 'content-type: application/json' -d '{body}'\n"
        f"Compare in the browser:\n  {proxy}/_es_rerank/compare?{page}\n"
        "Ctrl-C ends the proxy and the engine."
    )


def wait_for_interrupt() -> None:
    """Wait until Ctrl-C, which is how a demonstration ends and no failure."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("\nStopping the proxy and the engine ...", err=True)


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demonstration as Ctrl-C does, so that nothing is left running."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
