"""Serving the proxy until a signal ends it: here, or in workers."""

from __future__ import annotations

import signal
from collections.abc import Callable

from es_rerank.config import Settings
from es_rerank.proxy.app import ProxyApp
from es_rerank.proxy.process.foreground import serve_here
from es_rerank.proxy.process.supervisor import supervise
from es_rerank.proxy.server import address_of, listen_all, run_until_done
from es_rerank.proxy.wire.certificates import make_listener_context


def serve(
    settings: Settings,
    on_listening: Callable[[str], None] = lambda _: None,
    reread: Callable[[], Settings] | None = None,
    log_level: str | None = None,
) -> None:
    """Serve until a signal ends it; requests under way are finished.

    `on_listening` is told the address once it is taken. reread: reads the settings anew, as SIGHUP
    asks for. log_level: that of a flag, which goes before the settings'. Raises ConfigError.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it would end a proxy that is not up yet
    make_listener_context(settings.proxy)  # what is wrong with a certificate is told here and now
    app = ProxyApp(settings) if settings.proxy.workers == 1 else None
    bound = listen_all(settings)
    on_listening(address_of(bound[0], settings))
    if app is None:
        supervise(settings, bound, reread, log_level)
    else:
        run_until_done(serve_here(app, bound, reread, log_level))
