"""What the supervisor tells its children: pickled, with its length, over their standard input."""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from es_rerank.config import Settings

LENGTH = struct.Struct(">I")
Part = Literal["worker", "scorer"]


@dataclass(frozen=True)
class Start:
    """The first order. name: of this child's metrics. sockets: descriptors to listen on.

    scorer: the scorer's socket, where there is one. log_level: a flag's, before the settings'.
    """

    part: Part
    name: str
    settings: Settings
    sockets: tuple[int, ...] = ()
    scorer: Path | None = None
    log_level: str | None = None
    restarted: bool = False


@dataclass(frozen=True)
class Reload:
    """Go by these settings from now on."""

    settings: Settings
    scorer: Path | None = None


def write_order(order: Start | Reload) -> bytes:
    """An order as bytes; it holds secrets, and goes through a pipe alone."""
    body = pickle.dumps(order)
    return LENGTH.pack(len(body)) + body


async def read_order(reader: asyncio.StreamReader) -> Start | Reload | None:
    """The next order; None when the supervisor has gone."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    order: Start | Reload = pickle.loads(body)  # noqa: S301 - from the process that started this one
    return order
