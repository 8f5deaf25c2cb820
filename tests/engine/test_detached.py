from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from es_rerank.engine.detached import Detached, running, start, stop
from es_rerank.engine.kinds import KindName
from es_rerank.engine.process import started_at


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ES_RERANK_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a node; what is tested is the book-keeping."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def record(cache: Path, pid: int, started: str, port: int = 9200) -> Detached:
    kind: KindName = "opensearch"
    folder = cache / "engines" / f"{kind}-{port}"
    folder.mkdir(parents=True)
    node = Detached(
        kind=kind,
        version="2.19.1",
        url=f"http://127.0.0.1:{port}",
        port=port,
        pid=pid,
        started=started,
        folder=str(folder),
        log=str(folder / "node.log"),
    )
    (folder / "node.json").write_text(json.dumps(asdict(node)))
    return node


def test_nothing_runs_in_an_empty_cache(cache: Path) -> None:
    assert running() == []


def test_a_recorded_node_is_listed_and_found(cache: Path, process: subprocess.Popen[bytes]) -> None:
    node = record(cache, process.pid, started_at(process.pid) or "")
    assert running() == running("opensearch") == running(port=9200) == [node]
    assert running("elasticsearch") == running(port=9201) == []
    assert running() == [node]  # looking for another has not made us forget this one
    assert start("opensearch") == (node, False)
    assert start("opensearch", 9200) == (node, False)


def test_stopping_ends_the_process_and_its_record(
    cache: Path, process: subprocess.Popen[bytes]
) -> None:
    node = record(cache, process.pid, started_at(process.pid) or "")
    stop(node)
    assert process.wait(10) == -15
    assert running() == []
    assert Path(node.folder).is_dir()


def test_a_later_process_of_the_same_id_is_neither_listed_nor_ended(
    cache: Path, process: subprocess.Popen[bytes]
) -> None:
    node = record(cache, process.pid, "an earlier start")
    assert running() == []
    assert not (Path(node.folder) / "node.json").exists()
    stop(node)
    assert process.poll() is None


def test_a_damaged_record_is_dropped(cache: Path) -> None:
    folder = cache / "engines" / "opensearch"
    folder.mkdir(parents=True)
    for text in ("", "{", "[]", '{"pid": 1}'):
        (folder / "node.json").write_text(text)
        assert running() == []
        assert not (folder / "node.json").exists()
