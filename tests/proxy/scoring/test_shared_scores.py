"""Scores in a real Redis: shared by proxies, and missed by nobody when it is away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_rerank.config import ScoreCacheSettings, load_settings
from es_rerank.errors import ConfigError
from es_rerank.proxy.scoring.score_cache import ScoreCache
from es_rerank.proxy.scoring.shared_scores import SharedScores

redis = pytest.importorskip("redis", reason="the extra redis is not installed")
SERVER = shutil.which("redis-server")
needs_server = pytest.mark.skipif(SERVER is None, reason="there is no redis-server")
NAME, KEYS = b"n" * 16, [b"a" * 16, b"b" * 16]


class Server:
    """A redis-server of our own, which keeps nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *options]
        self.process = subprocess.Popen(
            [str(SERVER), *words, "--dir", str(folder)], stdout=subprocess.DEVNULL
        )
        self.url = f"redis://127.0.0.1:{self.port}/0"
        wait_for(self._listens)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def wait_for(done: Callable[[], Any]) -> Any:
    until = time.monotonic() + 20
    while not (found := done()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.end()


def connect(url: str, **more: Any) -> SharedScores:
    return SharedScores(ScoreCacheSettings(redis_url=url, redis_timeout_ms=300, **more))


@needs_server
def test_one_proxy_finds_what_another_has_written(server: Server) -> None:
    first, second = connect(server.url), connect(server.url)
    assert second.find(NAME, KEYS) == [None, None]
    first.keep(NAME, {KEYS[1]: -1.25})
    assert wait_for(lambda: second.find(NAME, KEYS)[1]) == -1.25
    assert second.find(NAME, KEYS) == [None, -1.25]
    assert second.find(b"another", KEYS) == [None, None]
    first.close()
    second.close()


@needs_server
def test_what_is_written_has_an_end(server: Server) -> None:
    shared = connect(server.url, keep_s=100)
    shared.keep(NAME, {KEYS[0]: 1.0})
    client = redis.Redis.from_url(server.url)
    (key,) = wait_for(client.keys)
    assert 0 < wait_for(lambda: max(client.ttl(key), 0)) <= 100
    client.close()
    shared.close()


@needs_server
def test_what_is_no_score_of_ours_is_none(server: Server) -> None:
    shared = connect(server.url)
    shared.keep(NAME, {KEYS[0]: 1.0})
    wait_for(lambda: shared.find(NAME, KEYS)[0])
    client = redis.Redis.from_url(server.url)
    (key,) = client.keys()
    client.hset(key, mapping={KEYS[0]: b"odd", KEYS[1]: np.array([np.inf]).tobytes()})
    assert shared.find(NAME, KEYS) == [None, None]
    client.delete(key)
    client.set(key, "no hash")
    assert shared.find(NAME, KEYS) == [None, None]
    client.close()
    shared.close()


@needs_server
def test_a_redis_that_goes_or_hangs_is_left_alone_and_found_again(server: Server) -> None:
    shared = connect(server.url)
    shared.keep(NAME, {KEYS[0]: 1.0})
    wait_for(lambda: shared.find(NAME, KEYS)[0])
    os.kill(server.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert shared.find(NAME, KEYS) == [None, None]
    asked_once = time.monotonic() - began
    for _ in range(100):
        assert shared.find(NAME, KEYS) == [None, None]
    shared.keep(NAME, {KEYS[1]: 2.0})
    assert time.monotonic() - began < asked_once + 1, "a hundred searches wait for it once"
    os.kill(server.process.pid, signal.SIGCONT)
    assert wait_for(lambda: shared.find(NAME, KEYS)[0]) == 1.0
    server.end()
    assert shared.find(NAME, KEYS) == [None, None]
    shared.close()


@needs_server
def test_a_password_is_shown_to_it_and_in_no_address(tmp_path: Path) -> None:
    server = Server(tmp_path, "--requirepass", "hunter2")
    try:
        refused = connect(server.url)
        assert refused.find(NAME, KEYS) == [None, None]
        assert time.monotonic() < refused._quiet_until
        shared = connect(server.url, redis_password="hunter2")
        shared.keep(NAME, {KEYS[0]: 3.0})
        assert wait_for(lambda: shared.find(NAME, KEYS)[0]) == 3.0
        refused.close()
        shared.close()
    finally:
        server.end()
    with pytest.raises(ConfigError, match="REDIS_PASSWORD"):
        load_settings(None, {"score_cache": {"redis_url": "redis://:hunter2@localhost"}})


@needs_server
def test_two_caches_meet_in_redis(server: Server) -> None:
    one, other = (ScoreCache("m", 100_000, 60, connect(server.url)) for _ in range(2))
    keys = one.hash_texts(["a", "b"])
    one.keep("red", keys, np.array([1.0, 2.0]))
    wait_for(lambda: np.isfinite(other.find("red", keys)).all())
    server.end()
    assert other.find("red", keys).tolist() == [1.0, 2.0], "kept here too by now"
    assert np.isnan(ScoreCache("m 2", 100_000, 60).find("red", keys)).all()
    one.close()
    other.close()


def test_nobody_there_costs_nothing_but_a_line_in_the_log() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        shared = connect(f"redis://127.0.0.1:{closed.getsockname()[1]}")
        assert shared.find(NAME, KEYS) == [None, None]
        shared.keep(NAME, {KEYS[0]: 1.0})
        shared.close()


def test_what_is_no_address() -> None:
    with pytest.raises(ConfigError, match="redis://localhost"):
        connect("nonsense")
