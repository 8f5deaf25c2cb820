from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3

from es_rerank.engine.cache import cache_folder
from es_rerank.engine.node import Node
from es_rerank.engine.process import started_at

Run = Callable[..., subprocess.CompletedProcess[str]]
T = TypeVar("T")
COMMAND = (sys.executable, "-m", "es_rerank")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run the real command line with a cache of its own that has the jars where there are any."""
    cache = tmp_path / "cache"
    cache.mkdir()
    if (cache_folder() / "jars").is_dir():
        (cache / "jars").symlink_to(cache_folder() / "jars")
    environment = {**os.environ, "ES_RERANK_CACHE": str(cache)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    yield run
    run("engine", "down")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answer_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_nothing_runs(run: Run) -> None:
    done = run("engine", "status")
    assert (done.returncode, done.stdout) == (0, "")
    assert "es-rerank engine up" in done.stderr
    assert answer_of(run("--json", "engine", "status")) == {"nodes": []}


def test_stopping_nothing_is_no_failure(run: Run) -> None:
    done = run("engine", "down")
    assert (done.returncode, done.stdout) == (0, "")
    assert "No such node is running." in done.stderr
    assert run("--quiet", "engine", "down").stderr == ""
    assert answer_of(run("--json", "engine", "down", "--kind", "opensearch")) == {"stopped": []}


@pytest.mark.parametrize("wrong", [("--kind", "solr"), ("--port", "0"), ("--port", "65536")])
def test_a_wrong_option_is_a_usage_error(run: Run, wrong: tuple[str, str]) -> None:
    assert run("engine", "up", *wrong).returncode == 2


def test_a_taken_port_is_a_failure_that_says_so(run: Run) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = run("engine", "up", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"es-rerank: Port {port} of 127.0.0.1 cannot be taken")


def test_up_status_down(run: Run, opensearch: Node, tmp_path: Path) -> None:
    """Beside the session's own OpenSearch, whose boot has put the jars in the cache."""
    port = free_port()
    done = run("engine", "up", "--port", str(port), "--heap", "512m")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"http://127.0.0.1:{port}\n"
    url = done.stdout.strip()
    urllib3.request("PUT", f"{url}/kept/_doc/1?refresh=true", json={"title": "red shoes"})

    again = run("engine", "up")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "OpenSearch 2.19.1 is already running" in again.stderr

    (node,) = answer_of(run("--json", "engine", "status"))["nodes"]
    assert node.keys() == {"kind", "version", "url", "port", "pid", "folder", "log"}
    assert (node["kind"], node["url"], node["port"]) == ("opensearch", url, port)
    assert Path(node["log"]).is_relative_to(tmp_path)
    assert url in run("engine", "status").stdout
    assert run("engine", "status", "--kind", "elasticsearch").stdout == ""

    stopped = answer_of(run("--json", "engine", "down"))["stopped"]
    assert [stop["pid"] for stop in stopped] == [node["pid"]]
    assert started_at(node["pid"]) is None
    assert answer_of(run("--json", "engine", "status")) == {"nodes": []}

    back = answer_of(run("--json", "engine", "up", "--port", str(port), "--heap", "512m"))
    assert back["booted"] is True
    assert urllib3.request("GET", f"{url}/kept/_count").json()["count"] == 1
    assert answer_of(run("--json", "engine", "up"))["booted"] is False


def test_up_that_is_killed_while_booting_leaves_no_node(
    run: Run, elasticsearch: Node, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with subprocess.Popen(
        [*COMMAND, "engine", "up", "--kind", "elasticsearch", "--port", str(free_port())],
        env={**os.environ, "ES_RERANK_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        log = next(iter(wait_for(lambda: list(cache.glob("engines/*/node.log")))))
        wait_for(lambda: log.stat().st_size > 0)
        assert str(cache) in processes()
        up.send_signal(signal.SIGKILL)
    wait_for(lambda: str(cache) not in processes())
    assert answer_of(run("--json", "engine", "status")) == {"nodes": []}


def processes() -> str:
    listed = subprocess.run(
        ["ps", "-axww", "-o", "command"], capture_output=True, text=True, check=True
    )
    return listed.stdout


def wait_for(condition: Callable[[], T]) -> T:
    """What `condition` gives, once that is true."""
    deadline = time.monotonic() + 30
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return result
