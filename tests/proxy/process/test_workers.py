"""Several workers: on one socket, watched, their metrics added up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from es_rerank.telemetry import METRICS
from tests.proxy.process.faulty_scorer import install
from tests.proxy.process.proxies import Proxy, running, tables
from tests.proxy.search.test_handler import Cluster
from tests.proxy.wire import upstream

CLOSED = 'es_rerank_breaker_state{state="closed"}'
APPLIED = 'es_rerank_requests_total{outcome="applied",route="search"}'


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with upstream(Cluster()) as raw:
        yield raw.url


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("workers")
    with running(folder, tables(url), "--workers", "2") as proxy:
        proxy.wait_until_applied()  # by one of them
        proxy.wait_for(lambda: proxy.metric(CLOSED) == 2, "two workers are up")
        proxy.wait_for(lambda: len(proxy.logged("model ready")) >= 2, "both have the model")
        yield proxy


def test_metrics_add_up(proxy: Proxy) -> None:
    before = proxy.metric(APPLIED)
    with ThreadPoolExecutor(8) as clients:
        marks = Counter(mark for _, mark, _ in clients.map(lambda _: proxy.find(), range(40)))
    assert marks == {"applied": 40}
    # The last ones are counted a moment after they are answered.
    proxy.wait_for(lambda: proxy.metric(APPLIED) >= before + 40, "not all are counted")
    seen = {proxy.metric(APPLIED) for _ in range(6)}  # whichever worker answers
    assert seen == {before + 40}
    assert proxy.metric(CLOSED) == 2
    assert proxy.metric("es_rerank_score_queue_depth") == 0


def test_a_worker_that_dies_is_started_again(proxy: Proxy) -> None:
    counted = proxy.metric(APPLIED)
    workers = proxy.children("worker")
    assert sorted(name.partition("-")[2] for name in workers.values()) == ["worker-1", "worker-2"]
    for victim in workers:
        os.kill(victim, signal.SIGKILL)
    proxy.wait_for(lambda: len(proxy.children("worker").keys() - workers.keys()) == 2, "not again")
    # The socket is the supervisor's: what connects meanwhile waits, and is answered.
    status, mark, _ = proxy.find()
    assert (status, mark) in {(200, "applied"), (200, "fallback; reason=model-not-ready")}
    proxy.wait_until_applied()
    proxy.wait_for(lambda: proxy.metric(APPLIED) > counted, "the search is not counted")
    assert proxy.metric('es_rerank_restarts_total{part="worker"}') == 2
    assert {line["ended"] for line in proxy.logged("a process died")} == {"SIGKILL"}


def test_settings_that_no_worker_takes_end_it(tmp_path: Path, url: str) -> None:
    settings = tables(url, proxy={"workers": 2}, rerank={"signals": {"nobody": 1.0}})
    with running(tmp_path, settings) as proxy:
        assert proxy.process.wait(60) == 2
        assert proxy.logged("nobody")


def test_a_folder_for_metrics_is_used_where_it_is_named(tmp_path: Path, url: str) -> None:
    (tmp_path / "metrics").mkdir()
    place = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    with running(tmp_path, tables(url), "--workers", "2", environment=place) as proxy:
        proxy.wait_until_applied()
        proxy.wait_for(lambda: proxy.metric(APPLIED) >= 1, "the search is not counted")
        assert len(list((tmp_path / "metrics").glob("counter_*worker-?.db"))) == 2
    with running(tmp_path, tables(url), environment=place) as proxy:
        proxy.wait_until_applied()
        # One process alone keeps its metrics there as well.
        proxy.wait_for(lambda: proxy.metric(APPLIED) >= 2, "the search is not counted")


def test_plugins_are_each_workers_own(tmp_path: Path, url: str) -> None:
    install(tmp_path)
    (tmp_path / "fault").write_text("")
    settings = tables(
        url,
        model={"kind": "plugin", "name": "faulty"},
        plugins={"faulty": {"file": str(tmp_path / "fault")}},
    )
    with running(tmp_path, settings, "--workers", "2") as proxy:
        assert proxy.wait_until_applied()[0] == 30
        assert not proxy.children("scorer")


def test_every_gauge_says_how_workers_add_up() -> None:
    modes = {getattr(each, "_multiprocess_mode", None) for each in METRICS._collector_to_names}
    assert modes == {None, "livesum", "livemin", "livemax"}


def test_without_a_model_torch_is_not_imported(url: str) -> None:
    program = f"""
import sys
from es_rerank.config import load_settings
from es_rerank.proxy.server import serve_in_thread
from es_rerank.telemetry import configure_logging
import es_rerank.proxy.process.supervisor, es_rerank.proxy.process.scorer
import es_rerank.proxy.process.client, urllib3
configure_logging("error")
for model in ({{"kind": "lexical"}}, {{"kind": "remote", "url": "http://127.0.0.1:9"}}):
    tables = {{"upstream": {{"url": {url!r}}}, "proxy": {{"port": 0}}, "model": model}}
    with serve_in_thread(load_settings(None, tables)) as proxy:
        body = {{"query": {{"match": {{"title": "shoes"}}}}}}
        answer = urllib3.request("POST", proxy + "/shop/_search", json=body, timeout=60)
        print(answer.headers["x-es-rerank"])
print(sorted({{"torch", "transformers", "tokenizers"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    lines = done.stdout.splitlines()
    assert lines == [
        "applied; reason=nothing-to-diversify-by",
        "fallback; reason=ranking-error",
        "[]",
    ], done.stderr
