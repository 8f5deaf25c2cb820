"""The demonstration from an empty cache, again from a full one, and its end by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from es_rerank.demo import sample
from es_rerank.engine.cache import cache_folder
from es_rerank.engine.jars import fetch_jars
from es_rerank.engine.java import find_java
from es_rerank.engine.kinds import KINDS

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

MEASURES = {"ndcg10", "ild10", "brands10"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A cache with nothing in it but the engine's jars, which all tests share."""
    kind = KINDS["opensearch"]
    fetch_jars(kind, find_java(kind.java_minimum, kind.title), print)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "jars").symlink_to(cache_folder() / "jars")
    return {**os.environ, "ES_RERANK_CACHE": str(cache)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "es_rerank", "demo", *arguments]


def run_once(environment: Mapping[str, str], cwd: Path) -> tuple[dict[str, Any], str, float]:
    """Run `demo --once --json`. Returns what it printed, what it said, and the seconds."""
    command = demo("--once", "--json", "--port", str(free_port()))
    started = time.monotonic()
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr, time.monotonic() - started


@pytest.fixture(scope="module")
def first(environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run_once(environment, tmp_path_factory.mktemp("work"))


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_of(folder: str) -> Iterator[int]:
    """The processes whose command line names a folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if folder in (entry / "cmdline").read_bytes().decode("utf-8", "replace"):
                    yield int(entry.name)
            except OSError:
                continue


def test_it_prints_one_object_with_both_sides_of_five_queries(first: Any) -> None:
    shown, said, _ = first
    assert len(shown["queries"]) == 5
    known = {product["id"] for product in sample.load_products(with_reviews=False)}
    for query in shown["queries"]:
        assert set(query) == {"query", "before", "after", "added_ms"}
        for side in (query["before"], query["after"]):
            assert set(side) == {"hits", *MEASURES}
            assert len(side["hits"]) == 10
            assert all(set(hit) == {"id", "title", "brand", "price"} for hit in side["hits"])
            assert {hit["id"] for hit in side["hits"]} <= known
            assert 0 <= side["ndcg10"] <= 1
            assert side["brands10"] == len({hit["brand"] for hit in side["hits"]})
    assert set(shown["means"]) == {"before", "after", "added_ms"}
    assert set(shown["means"]["before"]) == set(shown["means"]["after"]) == MEASURES
    assert "Indexing" in said
    assert "100%" in said


def test_reranking_makes_the_sample_better_and_more_varied(first: Any) -> None:
    before, after = first[0]["means"]["before"], first[0]["means"]["after"]
    assert after["ndcg10"] > before["ndcg10"]
    assert after["brands10"] > before["brands10"]


def test_a_second_run_reuses_the_cache(
    first: Any, environment: Mapping[str, str], tmp_path: Path
) -> None:
    shown, said, _ = run_once(environment, tmp_path)
    assert "Indexing" not in said
    assert "Enriching" not in said
    for query, again in zip(first[0]["queries"], shown["queries"], strict=True):
        assert query["before"]["hits"] == again["before"]["hits"]
        assert query["after"]["hits"] == again["after"]["hits"]


def test_ctrl_c_leaves_no_process_and_no_port(
    first: Any, environment: Mapping[str, str], tmp_path: Path
) -> None:
    port = free_port()
    said = tmp_path / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            demo("--port", str(port)),
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while "Ctrl-C" not in said.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, said.read_text()
            time.sleep(0.2)
        page = f"http://127.0.0.1:{port}/_es_rerank/compare"
        assert page in said.read_text()
        assert f"curl -s -D- 'http://127.0.0.1:{port}/products/_search?pretty'" in said.read_text()
        with urllib.request.urlopen(page) as answer:
            assert answer.status == 200
        node = str(Path(environment["ES_RERANK_CACHE"]) / "demo" / "products" / "node")
        assert list(processes_of(node))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0, said.read_text()
        assert not is_listening(port)
        assert not list(processes_of(node))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_taken_port_is_told_at_once(environment: Mapping[str, str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            demo("--port", str(port)),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Starting OpenSearch" not in done.stderr
