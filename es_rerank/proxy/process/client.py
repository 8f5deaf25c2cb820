"""The scorer process as a worker sees it: an encoder and a pair model that ask over its socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.proxy.process.frames import (
    LENGTH,
    Answer,
    Describe,
    Described,
    Encode,
    Failed,
    FrameError,
    Request,
    Score,
    Scores,
    Share,
    ShareUnknown,
    Vectors,
    read_answer,
    read_length,
    write_frame,
)
from es_rerank.proxy.scoring.job import (
    LateError,
    NotReadyError,
    OverloadedError,
    ScorerGoneError,
)
from es_rerank.proxy.scoring.thread import DEADLINE
from es_rerank.ranking.score import BiEncoderScorer, Limits, PairScorer, Scorer, VectorCache
from es_rerank.ranking.threads import calm_numpy

Kind = TypeVar("Kind", bound=Answer)
PATIENCE_S = 300.0
"""Seconds that an answer may take where nobody waits for it."""
CALLS = 8
"""Searches of a worker that the scorer may have at one time."""
GRACE_S = 10.0
"""Seconds past a search's time after which its answer is given up: until then it fills caches."""


class ScorerClient:
    """Asks the scorer. Safe to use from several threads; connections are kept."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()

    def __del__(self) -> None:
        """A model that was replaced leaves no connection behind."""
        for connection in self._idle:
            connection.close()

    def ask(self, request: Request, kind: type[Kind]) -> Kind:
        """Ask, and wait for an answer of that kind.

        Raises ScorerGoneError, OverloadedError, NotReadyError, TimeoutError, or ModelError.
        """
        until = min(DEADLINE.get() + GRACE_S, time.monotonic() + PATIENCE_S)
        try:
            frame = write_frame(request)
        except FrameError as error:
            raise ModelError(f"too much text for the scorer: {error}") from None
        try:
            answer = self._exchange(frame, until)
        except (ConnectionError, FileNotFoundError, FrameError) as error:
            raise ScorerGoneError(f"the scorer process is gone: {error or 'it hung up'}") from error
        if isinstance(answer, kind):
            return answer
        if isinstance(answer, Failed):
            if answer.trouble == "overloaded":
                raise OverloadedError
            if answer.trouble == "not-ready":
                raise NotReadyError(answer.message)
            if answer.trouble == "deadline":
                raise TimeoutError(answer.message)
            raise ModelError(answer.message)
        raise ModelError(f"the scorer answered {type(answer).__name__} to {type(request).__name__}")

    def _exchange(self, frame: bytes, until: float) -> Answer:
        """Send a frame and read one. A kept connection that is stale is replaced once."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return self._exchange_on(connection, frame, until)
            except ConnectionError:
                with self._lock:
                    stale, self._idle = self._idle, []
                for other in stale:
                    other.close()
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(max(until - time.monotonic(), 0.001))
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return self._exchange_on(connection, frame, until)

    def _exchange_on(self, connection: socket.socket, frame: bytes, until: float) -> Answer:
        try:
            connection.settimeout(max(until - time.monotonic(), 0.001))
            connection.sendall(frame)
            length = read_length(receive(connection, LENGTH.size, until))
            answer = read_answer(receive(connection, length, until))
        except BaseException:
            connection.close()  # an answer that comes later must not be taken for the next one's
            raise
        with self._lock:
            self._idle.append(connection)
        return answer


def receive(connection: socket.socket, count: int, until: float) -> bytearray:
    """Receive so many bytes. Raises TimeoutError or ConnectionError."""
    received = bytearray(count)
    view, got = memoryview(received), 0
    while got < count:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        part = connection.recv_into(view[got:])
        if not part:
            raise ConnectionResetError
        got += part
    return received


def left_s() -> float | None:
    """Seconds that the job on this thread has left; None where nobody waits."""
    left = DEADLINE.get() - time.monotonic()
    return None if left == float("inf") else left


def mend(text: str) -> str:
    """Lone surrogates are no text that can be sent."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class RemoteEncoder:
    """A TextEncoder in the scorer process."""

    def __init__(self, client: ScorerClient, found: Described) -> None:
        self.name = found.embedder or ""
        self.dimensions = found.dimensions
        self.seconds_per_text = found.seconds_per_text
        self._client = client

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts. Returns (n, d) float32 with rows of length 1."""
        answer = self._client.ask(Encode([mend(text) for text in texts], left_s()), Vectors)
        self.seconds_per_text = answer.seconds_per_text
        rows = np.frombuffer(answer.rows, np.float32).reshape(-1, self.dimensions)
        if len(rows) != len(texts):
            raise ModelError(f"the scorer embedded {len(rows)} of {len(texts)} texts")
        return rows

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the embedder does not know, 0 to 1."""
        return self._client.ask(ShareUnknown(mend(text), embedder=True), Share).share


class SharedVectorCache(VectorCache):
    """A worker's cache before the scorer's own: how fast texts are embedded is known there."""

    def __init__(self, encoder: RemoteEncoder) -> None:
        super().__init__(encoder)
        self._remote = encoder
        self._seconds_per_text = encoder.seconds_per_text

    def _learn_speed(self, count: int, seconds: float) -> None:
        self._seconds_per_text = self._remote.seconds_per_text


class RemotePairs:
    """A PairModel in the scorer process, which has a queue of its own."""

    limits = Limits(calls=CALLS, whole=True)

    def __init__(self, client: ScorerClient, found: Described) -> None:
        self.name = found.name
        self.identity = found.identity
        self.tokens_per_s = found.tokens_per_s
        self._client = client

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score each text for the query. Returns (n,)."""
        (scores,) = self.score_lists([(query, texts)])
        if isinstance(scores, Exception):
            raise scores
        return scores

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        """Score several queries' texts, the first of them first.

        Returns (n,) per query, NaN where there was no time, or what befell it.
        """
        asked = [(mend(query), [mend(text) for text in texts]) for query, texts in lists]
        answer = self._client.ask(Score(asked, left_s()), Scores)
        self.tokens_per_s = answer.tokens_per_s
        results: list[NDArray[np.float64] | Exception] = []
        for raw, error, begun in zip(answer.lists, answer.errors, answer.begun, strict=True):
            scores = np.frombuffer(raw, np.float64)
            if error is not None:
                results.append(ModelError(error))
            elif len(scores) and np.isnan(scores).all():
                results.append(LateError(begun))
            else:
                results.append(scores)
        return results

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the model does not know, 0 to 1."""
        return self._client.ask(ShareUnknown(mend(text), embedder=False), Share).share


def connect(path: Path) -> tuple[Scorer, VectorCache | None]:
    """What the scorer process has. Raises as ScorerClient.ask does."""
    calm_numpy()
    client = ScorerClient(path)
    found = client.ask(Describe(), Described)
    vectors = None if found.embedder is None else SharedVectorCache(RemoteEncoder(client, found))
    if found.kind == "bi-encoder" and vectors is not None:
        return BiEncoderScorer(vectors), vectors
    return PairScorer(RemotePairs(client, found), found.cosine_share), vectors
