"""Several workers, and the scorer that they share where the model is local."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from es_rerank import telemetry
from es_rerank.config import Settings
from es_rerank.errors import ConfigError
from es_rerank.proxy.process.foreground import Reread, read_again
from es_rerank.proxy.process.keeper import Keeper
from es_rerank.proxy.process.life import leave, on_signals
from es_rerank.proxy.process.orders import Reload, Start
from es_rerank.proxy.process.watch import wait_for_model, watch_scorer
from es_rerank.proxy.scoring.load import local_part

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CUT_S = 5.0
"""Seconds beyond the grace in which a worker cuts what is still under way."""
LONGEST_SOCKET = 100
"""Bytes of a local socket's path, of which a system takes some 104."""
log = telemetry.get_logger()


def supervise(
    settings: Settings,
    sockets: Sequence[socket.socket],
    reread: Reread | None = None,
    log_level: str | None = None,
) -> None:
    """Serve with so many workers until a signal ends it. Raises ConfigError.

    log_level: that of a flag, which goes before the settings'.
    """
    with tempfile.TemporaryDirectory(prefix="es-rerank-") as folder:  # which is its owner's alone
        asyncio.run(Supervisor(settings, sockets, Path(folder), reread, log_level).run())


class Scorer:
    """A scorer process, its socket, and what watches it."""

    def __init__(self, settings: Settings, path: Path, metrics: Path, start: Start) -> None:
        self.path = path
        self.keeper = Keeper(start, metrics)
        self._tasks = [
            asyncio.create_task(self.keeper.keep()),
            asyncio.create_task(watch_scorer(self.keeper, path, settings.rerank.stuck_s)),
        ]

    async def stop(self) -> None:
        """End it: nobody asks it any more."""
        self._tasks[1].cancel()
        await self.keeper.stop(CUT_S)


class Supervisor:
    """Starts the processes, and passes on what it is told. It serves nothing itself."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[socket.socket],
        folder: Path,
        reread: Reread | None,
        log_level: str | None,
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._folder = folder
        self._reread = reread
        self._log_level = log_level
        self._metrics = Path(os.environ.get(METRICS_FOLDER) or folder / "metrics")
        self._scorer: Scorer | None = None
        self._scorers = 0
        self._workers: list[Keeper] = []
        self._reloading = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until told to stop, or until a worker refuses the settings."""
        self._metrics.mkdir(parents=True, exist_ok=True)
        stop = asyncio.Event()
        on_signals(stop, self.reload, at_once=self._end_at_once)
        if local_part(self._settings.model) is not None:
            self._scorer = self._start_scorer(self._settings)
        path = None if self._scorer is None else self._scorer.path
        self._workers = [
            Keeper(
                Start(
                    part="worker",
                    name=self._name(f"worker-{number}"),
                    settings=self._settings,
                    sockets=tuple(each.fileno() for each in self._sockets),
                    scorer=path,
                    log_level=self._log_level,
                ),
                self._metrics,
            )
            for number in range(1, self._settings.proxy.workers + 1)
        ]
        keeping = [asyncio.create_task(worker.keep()) for worker in self._workers]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([*keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
        await self._stop()
        stopping.cancel()
        await asyncio.gather(*keeping)  # raises what a worker refused

    async def reload(self) -> None:
        """Read the settings anew, and have the workers go by them. A new model is loaded first."""
        async with self._reloading:
            if self._reread is None:
                return
            settings = read_again(self._settings, self._reread, self._log_level)
            if settings is None:
                return
            old = self._scorer
            if settings.model != self._settings.model or await self._lacks_model():
                settings = await self._change_model(settings)
            path = None if self._scorer is None else self._scorer.path
            self._settings = settings
            for worker in self._workers:
                worker.tell(Reload(settings, path))
            if old is not None and old is not self._scorer:
                task = asyncio.create_task(self._end_later(old))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def _lacks_model(self) -> bool:
        return self._scorer is not None and await wait_for_model(self._scorer.path) is not None

    async def _change_model(self, settings: Settings) -> Settings:
        """Have a scorer for the new model. Returns the settings, with the old model on failure."""
        if local_part(settings.model) is None:
            self._scorer = None
            return settings
        fresh = self._start_scorer(settings)
        error = await wait_for_model(fresh.path)
        if error is not None and not await self._lacks_model():
            log.error("the new model cannot be loaded: the one in use stays", error=error)
            await fresh.stop()
            return settings.model_copy(update={"model": self._settings.model})
        self._scorer = fresh
        return settings

    async def _end_later(self, scorer: Scorer) -> None:
        """End a scorer once no search that asks it can be under way."""
        await asyncio.sleep(self._settings.rerank.max_timeout_ms / 1000)
        await scorer.stop()

    def _start_scorer(self, settings: Settings) -> Scorer:
        self._scorers += 1
        path = self._folder / f"scorer-{self._scorers}.sock"
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            raise ConfigError(
                f"the path {path} is too long for a socket: set TMPDIR to a short one"
            )
        start = Start(
            part="scorer",
            name=self._name("scorer"),
            settings=settings.model_copy(update={"model": local_part(settings.model)}),
            scorer=path,
            log_level=self._log_level,
        )
        return Scorer(settings, path, self._metrics, start)

    def _name(self, part: str) -> str:
        """A child's name among the metrics; the folder may be shared with others."""
        return f"{os.getpid()}-{part}"

    async def _stop(self) -> None:
        """Drain the workers, then end the scorers."""
        for bound in self._sockets:
            bound.close()  # or connections would be taken that nobody answers
        grace_s = self._settings.proxy.drain_s + CUT_S
        await asyncio.gather(*(worker.stop(grace_s) for worker in self._workers))
        for task in self._ending:
            task.cancel()
        if self._scorer is not None:
            await self._scorer.stop()

    def _end_at_once(self, number: int) -> None:
        scorers = [] if self._scorer is None else [self._scorer.keeper]
        for child in [*self._workers, *scorers]:
            child.signal(signal.SIGKILL)
        leave(128 + number)
