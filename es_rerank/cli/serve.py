"""`es-rerank serve`: the rerank proxy."""

from __future__ import annotations

import click

from es_rerank.config import load_settings
from es_rerank.errors import ConfigError


@click.command()
@click.option("--upstream", help="Address of the cluster, such as http://localhost:9200.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--model",
    help="Folder or hub id of a cross-encoder that scores: kind = 'cross-encoder' and its name.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that serve; several share one scorer where the model is local.",
)
@click.option(
    "--scorer-only",
    is_flag=True,
    help="Serve the model alone, for proxies with [model] kind = 'remote'; no cluster is needed.",
)
@click.pass_context
def command(
    ctx: click.Context,
    upstream: str | None,
    host: str | None,
    port: int | None,
    model: str | None,
    workers: int | None,
    scorer_only: bool,
) -> None:
    """Stand between clients and the cluster: searches come back reranked and diversified.

    Example: es-rerank serve --upstream http://localhost:9200

    SIGTERM and SIGINT end it once the requests under way are answered, a second one at once; SIGHUP
    reads the configuration anew.
    """
    from es_rerank.proxy.process.life import leave
    from es_rerank.proxy.process.serving import serve
    from es_rerank.telemetry import configure_logging, get_logger

    flags = {
        "upstream": {"url": upstream},
        "proxy": {"host": host, "port": port, "workers": workers},
        "model": {"kind": None if model is None else "cross-encoder", "name": model},
    }
    config_file = ctx.obj["config_file"]
    settings = load_settings(config_file, flags)
    level = "error" if ctx.obj["quiet"] else "debug" if ctx.obj["verbose"] else None
    configure_logging(level or settings.telemetry.log_level, settings.telemetry.log_format)

    if scorer_only:
        from es_rerank.proxy.scorer_only.serving import serve_scorer

        if upstream is not None or settings.proxy.workers > 1:
            raise ConfigError(
                "--scorer-only has no cluster and one process: leave --upstream and --workers away"
            )
        serve_scorer(
            settings, lambda address: get_logger().info("es-rerank listens", address=address)
        )
        leave(0)

    def tell(address: str) -> None:
        compare = f"{address}/_es_rerank/compare"
        get_logger().info("es-rerank listens", address=address, compare=compare)

    serve(settings, tell, lambda: load_settings(config_file, flags), level)
    leave(0)
