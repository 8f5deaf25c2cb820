"""What is to be asked of the cluster, one thing after another, whoever asks it and how."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from es_rerank.errors import EsRerankError

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One request. allow: statuses besides 2xx that are an answer; others are an error."""

    method: str
    path: str
    body: bytes | None = None
    allow: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body) if self.body else None


Steps = Generator[Ask, Reply, T]


class ReviewError(EsRerankError):
    """A decision cannot be carried out; the message says why."""


class GoneError(ReviewError):
    """There is no such text."""


class ChangedError(ReviewError):
    """The text is not the one that was looked at any more, or somebody else decided."""


def carry_out(steps: Steps[T], send: Callable[[Ask], Reply]) -> T:
    """Ask all of it, and return what comes of it."""
    try:
        ask = next(steps)
        while True:
            ask = steps.send(send(ask))
    except StopIteration as stop:
        result: T = stop.value
        return result


async def carry_out_async(steps: Steps[T], send: Callable[[Ask], Awaitable[Reply]]) -> T:
    """Ask all of it without blocking, and return what comes of it."""
    try:
        ask = next(steps)
        while True:
            ask = steps.send(await send(ask))
    except StopIteration as stop:
        result: T = stop.value
        return result


def ask(
    method: str, *path: str, body: Any = None, allow: tuple[int, ...] = (), **params: Any
) -> Ask:
    """A request. path: its parts, not quoted yet; the first names indices."""
    index, *others = path
    where = "/".join(["", quote(index, safe=",*"), *(quote(part, safe="") for part in others)])
    told = {key: value for key, value in params.items() if value is not None}
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return Ask(method, where + (f"?{urlencode(told)}" if told else ""), sent, frozenset(allow))
