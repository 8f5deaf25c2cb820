"""Requests and answers bent at random: their JSON, their bytes, their parameters."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

SOAK_S = float(os.environ.get("SOAK_SECONDS", "600"))
"""Seconds that all long fuzzers together may take."""
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 10, 100, 10_000, 2**31, 2**63, 2**64, 10**40, -0.0, 1e308, 0.5),
    *("", "x", "10", "_score", "desc", "a.b", "*", "\u0000", "é", "深红色 鞋", "😀", "x" * 300),
    *([], {}, [[]], [{}], {"": ""}, [None], {"query": {}}, ["_score"], [1, "a", {}]),
]
RAW_ODD = (
    *(b"1e400", b"-0", b"01", b"1.", b"NaN", b"Infinity", b"1E-5", b"123456789012345678901234567"),
    *(b'"\\ud800"', b'"\\u0000"', b'"\xff"', b"'x'", b"//", b"{", b"}", b"]", b",", b":", b'"'),
    *(b" \t\r\n ", b"\xef\xbb\xbf", b"null", b"tru", b'{"a":1,"a":2}', b"[" * 200, b"\\", b"\x00"),
)


def bend_value(rng: random.Random, value: Any, names: Sequence[str]) -> Any:
    """A JSON value with one thing changed somewhere in it; `names` are keys that mean something."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        bent = dict(value)
        key = rng.choice(list(bent))
        kind = rng.random()
        if kind < 0.6:
            bent[key] = bend_value(rng, bent[key], names)
        elif kind < 0.7:
            del bent[key]
        elif kind < 0.85:
            bent[rng.choice(names)] = rng.choice(ODD)
        else:
            bent[rng.choice(names)] = bent.pop(key)
        return bent
    if isinstance(value, list) and value and rng.random() < 0.7:
        listed = list(value)
        place = rng.randrange(len(listed))
        kind = rng.random()
        if kind < 0.6:
            listed[place] = bend_value(rng, listed[place], names)
        elif kind < 0.8:
            listed.insert(place, rng.choice([*ODD, listed[place]]))
        else:
            del listed[place]
        return listed
    kind = rng.random()
    if kind < 0.7:
        return rng.choice(ODD)
    return [value] if kind < 0.85 else {rng.choice(names): value}


def bend_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with a piece changed, cut, doubled or put in."""
    at = rng.randrange(len(data) + 1)
    upto = min(len(data), at + rng.choice([1, 1, 1, 2, 5, 30]))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + bytes([rng.randrange(256)]) + data[upto:]
    if kind == 1:
        return data[:at] + data[upto:]
    if kind == 2:
        return data[:upto] + data[at:]
    if kind == 3:
        return data[:at]
    return data[:at] + rng.choice(RAW_ODD) + data[at if kind == 4 else upto :]


def write_json(rng: random.Random, value: Any) -> bytes:
    """A value as JSON, in one of the ways it may be written."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1]))
    return text.encode("utf-8", "surrogatepass")


class TooSlowError(Exception):
    """One example took longer than it may."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlowError in what takes longer, were it in an endless loop."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TooSlowError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def examples(seconds: float) -> Iterator[int]:
    """Count until the time is over."""
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        yield number
        number += 1
