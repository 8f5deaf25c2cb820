"""Serving the scorer: one process, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.proxy.process.life import leave, on_signals, serve_until
from es_rerank.proxy.scorer_only.app import ScorerApp
from es_rerank.proxy.server import address_of, listen_all, run_until_done
from es_rerank.proxy.wire.certificates import make_listener_context

log = telemetry.get_logger()


def serve_scorer(settings: Settings, on_listening: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished. Raises ConfigError.

    `on_listening` is told the address once it is taken. SIGHUP changes nothing, and says so: start
    a second one and let the first drain.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    make_listener_context(settings.proxy)  # what is wrong with a certificate is told here and now
    app = ScorerApp(settings)
    bound = listen_all(settings)
    on_listening(address_of(bound[0], settings))

    async def serve() -> None:
        stop = asyncio.Event()

        async def reload() -> None:
            log.warning("a scorer reads its settings at its start alone", signal="SIGHUP")

        def take_signals() -> None:
            on_signals(stop, reload, lambda number: leave(128 + number))

        take_signals()
        await serve_until(app, bound, stop, take_signals)

    run_until_done(serve())
