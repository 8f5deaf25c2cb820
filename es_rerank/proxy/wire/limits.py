"""How much of a client's patience and bytes is borne."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a client may send, in bytes, and how long it may take, in seconds.

    head_s runs from a head's first byte to its last. A body may rest for body_s and must keep
    BODY_RATE on the whole; an answer's reader may rest for send_s. connections: the most at one
    time; further ones wait in the listening socket's queue.
    """

    line_bytes: int = 16_384
    head_bytes: int = 65_536
    headers: int = 256
    head_s: float = 30.0
    body_s: float = 60.0
    send_s: float = 60.0
    idle_s: float = 75.0
    connections: int = 10_000


BODY_RATE = 500
"""Bytes a second that a body must bring, once its first seconds are used up."""
LINGER_S = 3.0
"""How long a refused client is read on, unheard: bytes left unread would reset the connection, and
with it the answer (RFC 9112, 9.6)."""
HELD_BYTES = 65_536
"""Bytes of a body, or of requests sent ahead, that wait before the client is read no further."""
