"""A child's main: `python -m es_rerank.proxy.process.child`, started by the supervisor alone.

It takes its first order before anything else is imported, since that names its metrics.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from typing import Any

import prometheus_client.values

from es_rerank.proxy.process.orders import Reload, Start, read_order


async def main() -> None:
    """Read the first order, and do that part until the supervisor says so or is gone."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    start = await read_order(reader)
    if not isinstance(start, Start):
        return
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        name = start.name
        # By its name and not its process id: a child that is started again goes on with its counts.
        values: Any = prometheus_client.values
        values.ValueClass = values.MultiProcessValue(lambda: name)
    from es_rerank import telemetry

    level = start.log_level or start.settings.telemetry.log_level
    telemetry.configure_logging(level, start.settings.telemetry.log_format)
    if start.restarted:
        telemetry.RESTARTS.labels(start.part).inc()
    await (be_scorer if start.part == "scorer" else be_worker)(start, reader)


async def be_worker(start: Start, reader: asyncio.StreamReader) -> None:
    """Serve the proxy on the sockets that the supervisor bound."""
    from es_rerank import telemetry
    from es_rerank.proxy.app import ProxyApp
    from es_rerank.proxy.process.life import on_signals, serve_until

    stop = asyncio.Event()
    app = ProxyApp(start.settings, start.scorer)
    sockets = [socket.socket(fileno=number) for number in start.sockets]

    async def obey() -> None:
        while isinstance(order := await read_order(reader), Reload):
            settings = order.settings
            level = start.log_level or settings.telemetry.log_level
            telemetry.configure_logging(level, settings.telemetry.log_format)
            await app.reload(settings, order.scorer)
        stop.set()

    def take_signals() -> None:
        on_signals(stop)

    take_signals()
    obeying = asyncio.create_task(obey())
    await serve_until(app, sockets, stop, take_signals)
    obeying.cancel()


async def be_scorer(start: Start, reader: asyncio.StreamReader) -> None:
    """Keep the model for the workers."""
    from prometheus_client.multiprocess import mark_process_dead

    from es_rerank.proxy.process.life import on_signals
    from es_rerank.proxy.process.scorer import ScorerServer

    stop = asyncio.Event()
    on_signals(stop)
    # Gauges are of workers: a zero of this process would be the least of all.
    mark_process_dead(start.name)  # type: ignore[no-untyped-call]

    async def watch() -> None:
        await read_order(reader)
        stop.set()

    watching = asyncio.create_task(watch())
    if start.scorer is not None:
        await ScorerServer(start.settings).serve(start.scorer, stop)
    watching.cancel()


def run() -> None:
    """Run until told to end; exit with the code of errors.py."""
    from es_rerank.errors import EsRerankError

    code = 0
    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(main())
    except EsRerankError as error:
        sys.stderr.write(f"es-rerank: {error}\n")
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 1
    # A thread that is stuck in a model must not hold the process up.
    sys.stderr.flush()
    os._exit(code)


def make_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, else asyncio's own; server.py's imports the metrics."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    run()
