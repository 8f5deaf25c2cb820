"""Keeps one child running: started, given its orders, started again when it dies, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

import es_rerank
from es_rerank import telemetry
from es_rerank.errors import ConfigError
from es_rerank.proxy.process.orders import Reload, Start, write_order

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
LONG_LIFE_S = 60.0
"""A child that lived so long is started again at once; one that dies young waits longer."""
log = telemetry.get_logger()


class Keeper:
    """One child. metrics: the folder where it keeps its metrics."""

    def __init__(self, start: Start, metrics: Path) -> None:
        self._start = start
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def keep(self) -> None:
        """Keep it running until `stop`. Raises ConfigError when it refuses its first settings."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run()
            mark_process_dead(self._start.name, str(self._metrics))  # type: ignore[no-untyped-call]
            if self._stopping.is_set():
                return
            if code == ConfigError.exit_code and not self._start.restarted:
                raise ConfigError(f"the {self._start.part} cannot start: its message is above")
            pause_s = (
                FIRST_PAUSE_S
                if time.monotonic() - began > LONG_LIFE_S
                else min(2 * pause_s, LONGEST_PAUSE_S)
            )
            self._start = replace(self._start, restarted=True)
            log.error(
                "a process died and is started again",
                part=self._start.part,
                name=self._start.name,
                ended=describe(code),
                pause_s=pause_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run(self) -> int:
        """Start it, give it its first order, and wait for its end. Returns its exit status."""
        self._process = await asyncio.create_subprocess_exec(
            # Its name is for those who look at a list of processes.
            *(sys.executable, "-P", "-m", "es_rerank.proxy.process.child", self._start.name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=child_environment(os.environ, self._metrics),
            pass_fds=self._start.sockets,
            process_group=0,  # a terminal's Ctrl-C is for the supervisor, which passes it on
        )
        self._write(self._start)
        if self._stopping.is_set():
            self.signal(signal.SIGTERM)
        return await self._process.wait()

    def tell(self, order: Reload) -> None:
        """Give it other settings, now and when it is started again."""
        self._start = replace(self._start, settings=order.settings, scorer=order.scorer)
        if self.pid is not None:
            self._write(order)

    def _write(self, order: Start | Reload) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(write_order(order))

    def signal(self, number: int) -> None:
        """Send it a signal, where it runs."""
        if self.pid is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace_s: float) -> None:
        """End it; after the grace, at once."""
        self._stopping.set()
        self.signal(signal.SIGTERM)
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), grace_s)
            except TimeoutError:
                self.signal(signal.SIGKILL)
                await self._process.wait()


def child_environment(environment: Mapping[str, str], metrics: Path) -> dict[str, str]:
    """The environment of a child: this package is found, and metrics are kept in the folder."""
    here = str(Path(es_rerank.__file__).parent.parent)
    path = environment.get("PYTHONPATH")
    return {
        **environment,
        "PYTHONPATH": here if not path else f"{here}{os.pathsep}{path}",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }


def describe(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
