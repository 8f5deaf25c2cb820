"""One process's life: it serves, is told to reload, is told to end, and finishes what it has."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from es_rerank import telemetry
from es_rerank.proxy.server import Served, calm_collector, make_server

CUT_S = 1.0
"""Seconds beyond the grace that the server has to cut what is still under way."""
ENDING = (signal.SIGTERM, signal.SIGINT)
log = telemetry.get_logger()


async def serve_until(
    app: Served,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    on_start: Callable[[], Any],
) -> None:
    """Serve until told to stop; then no connection is taken, and requests under way are finished.

    on_start: called once requests are served. What is not done after `drain_s` is cut.
    """
    server = make_server(app, app.settings)
    app.know_sockets(sockets)
    calm_collector()
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    stopping = asyncio.create_task(stop.wait())
    while not (server.started or serving.done() or stopping.done()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # a server tells no event
    on_start()
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    done, _ = await asyncio.wait({serving}, timeout=app.settings.proxy.drain_s + CUT_S)
    if not done:
        log.warning("requests under way were cut", drain_s=app.settings.proxy.drain_s)
        serving.cancel()
        await asyncio.wait({serving}, timeout=CUT_S)
    elif not serving.cancelled() and (error := serving.exception()) is not None:
        raise error


def on_signals(
    stop: asyncio.Event,
    reload: Callable[[], Coroutine[Any, Any, None]] | None = None,
    at_once: Callable[[int], None] | None = None,
) -> None:
    """Take the signals: SIGTERM and SIGINT stop, SIGHUP reloads.

    at_once: told of the second SIGTERM or SIGINT; without it, that changes nothing.
    """
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()

    def end(number: int) -> None:
        if stop.is_set() and at_once is not None:
            at_once(number)
        stop.set()

    def again() -> None:
        if reload is not None:
            task = asyncio.create_task(reload())
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    for number in ENDING:
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGHUP, again)


def leave(code: int) -> None:
    """End at once: a thread that is stuck in a model must not hold the process up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
