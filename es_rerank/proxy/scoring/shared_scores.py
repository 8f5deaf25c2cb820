"""Scores in Redis, which several proxies share. Whatever is wrong with it, searches go on."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from es_rerank import telemetry
from es_rerank.config import ScoreCacheSettings
from es_rerank.errors import ConfigError
from es_rerank.proxy.scoring.thread import JobThread

PREFIX = b"es-rerank:scores:1:"
"""The number is that of this layout: a hash for each model and query, a double for each text."""
NUMBER = struct.Struct("<d")
FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0
"""For how long it is left alone after a failure, doubled with each that follows."""
MAX_WRITES = 256
"""Writes that may wait; what comes on top is not written."""
log = telemetry.get_logger()


class SharedScores:
    """Reads within `redis_timeout_ms`, writes in the background. Safe to use from several threads.

    Raises ConfigError when the library is not installed or the address is none.
    """

    def __init__(self, settings: ScoreCacheSettings) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ConfigError(
                "[score_cache] redis_url needs the extra redis: pip install 'es-rerank[redis]'"
            ) from None
        timeout_s = settings.redis_timeout_ms / 1000
        secret = settings.redis_password
        options: dict[str, Any] = {"username": settings.redis_username}
        if secret is not None:
            options["password"] = secret.get_secret_value()
        try:
            self._redis: Any = redis.Redis.from_url(
                settings.redis_url or "",
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
                **options,
            )
        except ValueError as error:
            raise ConfigError(
                f"[score_cache] redis_url is no address ({error}): give one such as "
                "redis://localhost:6379/0"
            ) from None
        self._life_s = max(int(settings.keep_s), 1)
        self._writer = JobThread("redis")
        self._writes = 0
        self._lock = threading.Lock()
        self._rest_s = 0.0
        self._quiet_until = 0.0

    def find(self, name: bytes, keys: Sequence[bytes]) -> list[float | None]:
        """The scores of a query's texts, None where there is none or Redis does not answer."""
        nothing: list[float | None] = [None] * len(keys)
        if time.monotonic() < self._quiet_until:
            return nothing
        try:
            found = self._redis.hmget(PREFIX + name, list(keys))
        except Exception as error:  # the library's own classes, and the system's
            self._fail(error)
            return nothing
        self._rest_s = 0.0
        scores = [
            NUMBER.unpack(raw)[0] if raw is not None and len(raw) == NUMBER.size else None
            for raw in found
        ]
        hits = sum(score is not None for score in scores)
        telemetry.count_lookups("redis", hits, len(scores) - hits)
        return [
            score if score is not None and abs(score) < float("inf") else None for score in scores
        ]

    def keep(self, name: bytes, scores: Mapping[bytes, float]) -> None:
        """Write a query's scores, some time soon."""
        with self._lock:
            if self._writes >= MAX_WRITES or time.monotonic() < self._quiet_until:
                return
            self._writes += 1
        written = {key: NUMBER.pack(score) for key, score in scores.items()}
        self._writer.submit(lambda: self._write(PREFIX + name, written))

    def close(self) -> None:
        """Let the writer end, and the connections go."""
        self._writer.close()
        self._redis.close()

    def _write(self, name: bytes, written: dict[bytes, bytes]) -> None:
        try:
            if time.monotonic() >= self._quiet_until:
                with self._redis.pipeline(transaction=False) as pipeline:
                    pipeline.hset(name, mapping=written)
                    pipeline.expire(name, self._life_s)
                    pipeline.execute()
        except Exception as error:
            self._fail(error)
        finally:
            with self._lock:
                self._writes -= 1

    def _fail(self, error: Exception) -> None:
        """Leave it alone for a while: searches shall not wait for it one after the other."""
        telemetry.CACHE_LOOKUPS.labels("redis", "error").inc()
        with self._lock:
            if time.monotonic() < self._quiet_until:
                return
            self._rest_s = min(max(2 * self._rest_s, FIRST_REST_S), LONGEST_REST_S)
            self._quiet_until = time.monotonic() + self._rest_s
        log.warning(
            "the score cache in Redis does not answer: searches go on without it",
            error=f"{type(error).__name__}: {error}",
            for_s=self._rest_s,
        )
