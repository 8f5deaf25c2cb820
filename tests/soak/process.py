"""The proxy and the faulty cluster as processes of their own, and what they hold."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3

from benchmarks.stack import free_port
from es_rerank.demo.stack import clean_environment

ROOT = Path(__file__).parents[2]
START_S = 60.0


@dataclass(frozen=True)
class Running:
    """A process that listens."""

    url: str
    pid: int
    log: Path

    def memory(self) -> int:
        """Resident bytes, those of its children too."""
        return sum(read_memory(pid) for pid in family(self.pid))

    def descriptors(self) -> int:
        """Open file descriptors, those of its children too."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in family(self.pid))


def read_memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


@contextlib.contextmanager
def faulty_cluster(seed: int, folder: Path) -> Iterator[Running]:
    """Run tests.soak.cluster; its log names the searches that it answered whole."""
    log = folder / "answered.log"
    command = [sys.executable, "-m", "tests.soak.cluster", str(seed), str(log)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield Running(f"http://127.0.0.1:{port}", process.pid, log)
        finally:
            process.kill()


@contextlib.contextmanager
def proxy(upstream: str, folder: Path, settings: Mapping[str, str]) -> Iterator[Running]:
    """Run `es-rerank serve`; `settings` are variables without their `ES_RERANK_`.

    Plugins whose metadata lies in the folder are found.
    """
    url = f"http://127.0.0.1:{free_port()}"
    log = folder / "proxy.log"
    command = [sys.executable, "-m", "es_rerank", "serve", "--upstream", upstream]
    command += ["--port", url.rpartition(":")[2]]
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **clean_environment(),
        **{f"ES_RERANK_{name}": value for name, value in settings.items()},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until_ready(process, url, log)
        yield Running(url, process.pid, log)
        assert process.poll() is None, f"the proxy ended: {log.read_text()[-2000:]}"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait for /ready. Raises AssertionError when the proxy ends or takes too long."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            answer = urllib3.request("GET", f"{url}/_es_rerank/ready", timeout=5, retries=False)
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the proxy was not ready: {log.read_text()[-2000:]}")
