"""`es-rerank serve`: the rerank proxy."""

from __future__ import annotations

import click

from es_rerank.config import load_settings


@click.command()
@click.option("--upstream", help="Address of the cluster, such as http://localhost:9200.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.pass_context
def command(ctx: click.Context, upstream: str | None, host: str | None, port: int | None) -> None:
    """Stand between clients and the cluster: searches come back reranked and diversified.

    Example: es-rerank serve --upstream http://localhost:9200
    """
    from es_rerank.proxy.server import serve
    from es_rerank.telemetry import configure_logging, get_logger

    settings = load_settings(
        ctx.obj["config_file"],
        {"upstream": {"url": upstream}, "proxy": {"host": host, "port": port}},
    )
    level = "debug" if ctx.obj["verbose"] else settings.telemetry.log_level
    configure_logging("error" if ctx.obj["quiet"] else level, settings.telemetry.log_format)

    def tell(address: str) -> None:
        compare = f"{address}/_es_rerank/compare"
        get_logger().info("es-rerank listens", address=address, compare=compare)

    serve(settings, tell)
