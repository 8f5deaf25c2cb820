"""Watches the scorer process from outside: one that is stuck or silent is killed."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from es_rerank import telemetry
from es_rerank.proxy.process.frames import LENGTH, Ping, Pong, read_answer, read_length, write_frame
from es_rerank.proxy.process.keeper import Keeper

PING_S = 0.5
ANSWER_S = 1.0
LOADING = 6
"""How many times longer a scorer may be silent while it loads its model."""
log = telemetry.get_logger()


async def ping(path: Path) -> Pong | None:
    """Ask a scorer how it is; None where it does not answer in time."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(write_frame(Ping()))
                head = await reader.readexactly(LENGTH.size)
                answer = read_answer(await reader.readexactly(read_length(head)))
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
    return answer if isinstance(answer, Pong) else None


async def watch_scorer(keeper: Keeper, path: Path, stuck_s: float) -> None:
    """Kill the scorer when a job of it is over time by `stuck_s`, or when it is silent so long."""
    heard, pid, loaded = time.monotonic(), keeper.pid, False
    while True:
        await asyncio.sleep(PING_S)
        pong, now = await ping(path), time.monotonic()
        if keeper.pid != pid:
            heard, pid, loaded = now, keeper.pid, False
            continue
        if pong is not None:
            heard, loaded = now, pong.ready or pong.error is not None
        silent_s = (now - heard) / (1 if loaded else LOADING)
        overdue_s = 0.0 if pong is None else pong.overdue_s
        if pid is not None and max(silent_s, overdue_s) > stuck_s:
            log.error("the scorer is stuck and is killed", overdue_s=overdue_s, silent_s=silent_s)
            keeper.signal(signal.SIGKILL)
            heard = now


async def wait_for_model(path: Path) -> str | None:
    """Wait until a scorer has loaded its model; what went wrong, or None."""
    while True:
        pong = await ping(path)
        if pong is not None and (pong.ready or pong.error is not None):
            return pong.error
        await asyncio.sleep(PING_S / 5)
