"""Ending in good order, with real signals."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.proxy.process.proxies import refused, running, tables
from tests.proxy.search.test_handler import Cluster
from tests.proxy.wire import Request, upstream


@dataclass
class SlowCluster:
    """Answers searches once it may."""

    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def broken(self, request: Request, connection: socket.socket) -> bool:
        if request.target.startswith(b"/shop/_search"):  # not what the proxy asks for itself
            self.asked.set()
            self.go.wait(20)
        return False


@pytest.fixture
def slow() -> Iterator[tuple[SlowCluster, str]]:
    slow = SlowCluster()
    with upstream(Cluster(broken=slow.broken)) as raw:
        yield slow, raw.url
        slow.go.set()


@pytest.mark.parametrize(
    ("workers", "number"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)]
)
def test_requests_under_way_are_answered(
    tmp_path: Path, slow: tuple[SlowCluster, str], workers: int, number: int
) -> None:
    cluster, url = slow
    settings = tables(url, proxy={"workers": workers, "drain_s": 20})
    with ThreadPoolExecutor(1) as clients, running(tmp_path, settings) as proxy:
        under_way = clients.submit(proxy.find)
        assert cluster.asked.wait(20)
        proxy.signal(number)
        proxy.wait_for(lambda: refused(proxy.url), "it still listens", 10)
        assert proxy.process.poll() is None
        cluster.go.set()
        assert under_way.result(20)[0] == 200
        assert proxy.process.wait(20) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, slow: tuple[SlowCluster, str], workers: int
) -> None:
    cluster, url = slow
    settings = tables(url, proxy={"workers": workers, "drain_s": 60})
    with ThreadPoolExecutor(1) as clients, running(tmp_path, settings) as proxy:
        children = proxy.wait_for(proxy.children, "no worker") if workers > 1 else {}
        under_way = clients.submit(proxy.find)
        assert cluster.asked.wait(20)
        proxy.signal(signal.SIGTERM)
        proxy.wait_for(lambda: refused(proxy.url), "it still listens", 10)
        proxy.signal(signal.SIGTERM)
        assert proxy.process.wait(10) == 128 + signal.SIGTERM
        proxy.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "left")
        assert under_way.exception(20) is not None


def test_what_takes_longer_than_the_grace_is_cut(
    tmp_path: Path, slow: tuple[SlowCluster, str]
) -> None:
    cluster, url = slow
    settings = tables(url, proxy={"drain_s": 0.3})
    with ThreadPoolExecutor(1) as clients, running(tmp_path, settings) as proxy:
        under_way = clients.submit(proxy.find)
        assert cluster.asked.wait(20)
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.process.wait(15) == 0
        assert 0.3 <= time.monotonic() - began < 15
        assert under_way.exception(20) is not None


def test_a_model_that_is_stuck_does_not_hold_the_end_up(tmp_path: Path) -> None:
    from tests.proxy.process.faulty_scorer import install

    install(tmp_path)
    (tmp_path / "fault").write_text("hangs")
    with upstream(Cluster()) as raw:
        settings = tables(
            raw.url,
            model={"kind": "plugin", "name": "faulty"},
            plugins={"faulty": {"file": str(tmp_path / "fault")}},
            rerank={"timeout_ms": 300},
        )
        with running(tmp_path, settings) as proxy:
            proxy.wait_for(lambda: proxy.find()[1] == "fallback; reason=deadline", "no hang")
            proxy.signal(signal.SIGTERM)
            assert proxy.process.wait(10) == 0


def test_workers_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with upstream(Cluster()) as raw:
        settings = tables(raw.url, proxy={"workers": 2})
        with running(tmp_path, settings) as proxy:
            proxy.wait_until_applied()
            children = proxy.children("worker")
            assert len(children) == 2
            proxy.signal(signal.SIGKILL)
            proxy.process.wait(10)
            proxy.wait_for(lambda: not any(alive(pid) for pid in children), "orphans", 20)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"es_rerank" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with upstream(Cluster()) as raw:
        settings = tables(raw.url, proxy={"workers": 2})
        place = {"TMPDIR": str(tmp_path / "tmp")}
        with running(tmp_path, settings, environment=place) as proxy:
            (folder,) = (tmp_path / "tmp").iterdir()
            assert folder.stat().st_mode & 0o777 == 0o700
            proxy.wait_until_applied()
            proxy.signal(signal.SIGTERM)
            assert proxy.process.wait(20) == 0
    assert not list((tmp_path / "tmp").iterdir())
