"""Scores that a model gave lately, by query and text, in memory and where it is set in Redis.

A score depends on the model, the query and the text alone, never on who asks: sharing it over
callers tells nobody anything that the documents he was shown do not.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.models.runtime import hash_text
from es_rerank.proxy.scoring.shared_scores import SharedScores

QUERY_BYTES = 700
SCORE_BYTES = 170
"""What an entry takes in memory, about: key, number and their place in the table."""
Kept = dict[bytes, float]


class ScoreCache:
    """Scores by model, query and text, the queries that were asked least lately out first.

    identity: of the model; scores of another one are never found. max_bytes: about what it takes at
    most, 0 keeps none. life_s: for how long a query's scores are kept. Safe to use from several
    threads.
    """

    def __init__(
        self,
        identity: str,
        max_bytes: int,
        life_s: float,
        shared: SharedScores | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = identity
        self._max_bytes = max_bytes
        self._life_s = life_s
        self._shared = shared
        self._clock = clock
        self._lock = threading.Lock()
        self._queries: OrderedDict[bytes, tuple[float, Kept]] = OrderedDict()
        self._bytes = 0

    @property
    def on(self) -> bool:
        """Whether scores are kept at all."""
        return self._max_bytes > 0

    @property
    def size(self) -> int:
        """About how many bytes it takes now."""
        return self._bytes

    def hash_texts(self, texts: Sequence[str]) -> list[bytes]:
        """The texts' keys."""
        return [hash_text(text) for text in texts] if self.on else [b""] * len(texts)

    def find(self, query: str, keys: Sequence[bytes]) -> NDArray[np.float64]:
        """The scores that are known, (n,), NaN for the others."""
        scores = np.full(len(keys), np.nan)
        if not self.on or not keys:
            return scores
        name = self._name(query)
        with self._lock:
            entry = self._queries.get(name)
            if entry is not None and entry[0] + self._life_s <= self._clock():
                self._drop(name)
                entry = None
            if entry is not None:
                self._queries.move_to_end(name)
                get = entry[1].get
                scores[:] = [get(key, np.nan) for key in keys]
        missing = np.flatnonzero(np.isnan(scores)).tolist()
        telemetry.count_lookups("score", len(keys) - len(missing), len(missing))
        if missing and self._shared is not None:
            found = self._shared.find(name, [keys[i] for i in missing])
            known = [
                (i, score) for i, score in zip(missing, found, strict=True) if score is not None
            ]
            if known:
                scores[[i for i, _ in known]] = [score for _, score in known]
                self._put(name, {keys[i]: score for i, score in known})
        return scores

    def keep(self, query: str, keys: Sequence[bytes], scores: NDArray[np.float64]) -> None:
        """Keep scores, (n,); NaN is none."""
        if not self.on:
            return
        fresh = {
            key: score
            for key, score in zip(keys, scores.tolist(), strict=True)
            if score == score  # noqa: PLR0124 - not NaN
        }
        if not fresh:
            return
        name = self._name(query)
        self._put(name, fresh)
        if self._shared is not None:
            self._shared.keep(name, fresh)

    def close(self) -> None:
        """Let go of Redis."""
        if self._shared is not None:
            self._shared.close()

    def _name(self, query: str) -> bytes:
        text = query.encode("utf-8", "replace")
        return hashlib.blake2b(self.identity.encode() + b"\0" + text, digest_size=16).digest()

    def _put(self, name: bytes, fresh: Kept) -> None:
        with self._lock:
            entry = self._queries.get(name)
            if entry is None:
                entry = self._queries[name] = (self._clock(), {})
                self._bytes += QUERY_BYTES
            before = len(entry[1])
            entry[1].update(fresh)
            self._bytes += SCORE_BYTES * (len(entry[1]) - before)
            self._queries.move_to_end(name)
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._queries)))
            telemetry.CACHE_BYTES.labels("score").set(self._bytes)

    def _drop(self, name: bytes) -> None:
        _, kept = self._queries.pop(name)
        self._bytes -= QUERY_BYTES + SCORE_BYTES * len(kept)
