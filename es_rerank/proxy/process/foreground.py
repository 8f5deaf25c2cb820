"""The whole proxy in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.errors import ConfigError
from es_rerank.proxy.app import ProxyApp
from es_rerank.proxy.process.life import leave, on_signals, serve_until
from es_rerank.proxy.process.reload import join_settings

log = telemetry.get_logger()
Reread = Callable[[], Settings]


async def serve_here(
    app: ProxyApp,
    sockets: Sequence[socket.socket],
    reread: Reread | None = None,
    log_level: str | None = None,
) -> None:
    """Serve until a signal ends it. reread: reads the settings anew, as SIGHUP asks for."""
    stop = asyncio.Event()

    async def reload() -> None:
        if reread is None:
            return
        settings = read_again(app.settings, reread, log_level)
        if settings is not None:
            await app.reload(settings)

    def take_signals() -> None:  # twice, since the server may take them as it starts
        on_signals(stop, reload, lambda number: leave(128 + number))

    take_signals()
    await serve_until(app, sockets, stop, take_signals)


def read_again(old: Settings, reread: Reread, log_level: str | None) -> Settings | None:
    """The settings that hold from now on; None, and an error in the log, when they are wrong.

    log_level: that of a flag, which goes before the settings'.
    """
    try:
        settings, waiting = join_settings(old, reread())
    except ConfigError as error:
        log.error("the configuration is wrong: the one in use stays", error=str(error))
        return None
    telemetry.configure_logging(
        log_level or settings.telemetry.log_level, settings.telemetry.log_format
    )
    if waiting:
        log.warning("some settings need a restart", settings=waiting)
    return settings
