"""What workers and the scorer say to each other: length-prefixed msgpack over a local socket.

A frame is four bytes of length, most significant first, and so many bytes of msgpack. One request
and its answer at a time are under way on a connection.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

LENGTH = struct.Struct(">I")
MAX_BYTES = 64 * 1024 * 1024

Trouble = Literal["overloaded", "not-ready", "deadline", "broken"]


class FrameError(Exception):
    """What was received is no frame of ours, or a frame would be too large."""


class Describe(msgspec.Struct, tag="describe"):
    """Which model is there?"""


class Encode(msgspec.Struct, tag="encode"):
    """Embed texts, within `left_s` seconds where somebody waits."""

    texts: list[str]
    left_s: float | None = None


class Score(msgspec.Struct, tag="score"):
    """Score each query's texts, the first of them first, within `left_s` seconds."""

    lists: list[tuple[str, list[str]]]
    left_s: float | None = None


class ShareUnknown(msgspec.Struct, tag="unknown"):
    """Which share of the text's words does the scorer not know, or the embedder?"""

    text: str
    embedder: bool


class Ping(msgspec.Struct, tag="ping"):
    """How are you?"""


Request = Describe | Encode | Score | ShareUnknown | Ping


class Described(msgspec.Struct, tag="described"):
    """The model. embedder: what embeds, of so many dimensions; seconds_per_text: how fast.

    identity: another one whenever scores may be. tokens_per_s: how fast pairs are read; 0 while
    that is not known. cosine_share: what the cosine of vectors counts beside scores of pairs.
    """

    kind: str
    name: str
    embedder: str | None
    dimensions: int
    seconds_per_text: float
    identity: str = ""
    tokens_per_s: float = 0.0
    cosine_share: float = 0.0


class Vectors(msgspec.Struct, tag="vectors"):
    """(n, dimensions) float32, row by row."""

    rows: bytes
    seconds_per_text: float


class Scores(msgspec.Struct, tag="scores"):
    """Per list (n,) float64, NaN where there was no time, and what went wrong where something did.

    begun: per list, whether any of it was.
    """

    lists: list[bytes]
    errors: list[str | None]
    begun: list[bool]
    tokens_per_s: float = 0.0


class Share(msgspec.Struct, tag="share"):
    """0 to 1."""

    share: float


class Pong(msgspec.Struct, tag="pong"):
    """Whether the model is loaded or why not, and by how much its job is over time."""

    ready: bool
    error: str | None
    overdue_s: float


class Failed(msgspec.Struct, tag="failed"):
    """It could not be done."""

    trouble: Trouble
    message: str


Answer = Described | Vectors | Scores | Share | Pong | Failed

ENCODER = msgspec.msgpack.Encoder()
REQUESTS = msgspec.msgpack.Decoder(Request)
ANSWERS = msgspec.msgpack.Decoder(Answer)


def write_frame(message: Request | Answer) -> bytes:
    """A message as a frame. Raises FrameError when it is too large."""
    body = ENCODER.encode(message)
    if len(body) > MAX_BYTES:
        raise FrameError(f"{len(body)} bytes are more than the {MAX_BYTES} of a frame")
    return LENGTH.pack(len(body)) + body


def read_length(head: bytes | bytearray) -> int:
    """The length that a frame's first four bytes tell. Raises FrameError."""
    length: int = LENGTH.unpack(head)[0]
    if length > MAX_BYTES:
        raise FrameError(f"a frame of {length} bytes is more than {MAX_BYTES}")
    return length


def read_request(body: bytes) -> Request:
    """Raises FrameError."""
    try:
        request: Request = REQUESTS.decode(body)
    except msgspec.DecodeError as error:
        raise FrameError(str(error)) from None
    return request


def read_answer(body: bytes | bytearray) -> Answer:
    """Raises FrameError."""
    try:
        answer: Answer = ANSWERS.decode(body)
    except msgspec.DecodeError as error:
        raise FrameError(str(error)) from None
    return answer
