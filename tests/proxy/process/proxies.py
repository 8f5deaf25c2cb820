"""The proxy as a user runs it: real processes, real signals, a file of settings."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proxy.search.test_handler import search
from tests.proxy.wire import ask

START_S = 60.0
RERANK: dict[str, Any] = {
    "timeout_ms": 20_000,
    "relevance_weight": 1.0,
    "first_stage_weight": 0.0,
    "order_cache_s": 0,
    "diversify": {"diversity": 0.0},
}
ENGINE_ORDER = list(range(1, 11))


@dataclass
class Proxy:
    """A proxy that runs."""

    process: subprocess.Popen[str]
    file: Path
    url: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)

    def logged(self, words: str) -> list[dict[str, Any]]:
        """The lines of the log whose event, or other text, has the words."""
        return [line for line in list(self.log) if words in json.dumps(line)]

    def wait_for(self, done: Callable[[], Any], what: str, timeout_s: float = START_S) -> Any:
        """Wait until something is so; what it is."""
        until = time.monotonic() + timeout_s
        while not (found := done()):
            assert time.monotonic() < until, f"{what}\n{self.log}"
            time.sleep(0.05)
        return found

    def find(self, words: str = "shoes", **more: Any) -> tuple[int, str, list[int]]:
        """Search. Returns status, X-Es-Rerank, and the ids."""
        body = {"query": {"match": {"title": words}}, **more}
        status, mark, ids, *_ = search(self.url, body)
        return status, mark, ids

    def wait_until_applied(self, **more: Any) -> list[int]:
        """Wait until searches are reranked; the ids."""

        def applied() -> list[int] | None:
            status, mark, ids = self.find(**more)
            assert status == 200
            return ids if mark == "applied" else None

        found: list[int] = self.wait_for(applied, "searches are not reranked")
        return found

    def metric(self, name: str) -> float:
        """The value of one sample, by its name and labels as written; 0 where there is none."""
        text = ask(self.url, b"GET /_es_rerank/metrics")[2].decode()
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0

    def ready(self) -> tuple[int, dict[str, Any]]:
        status, _, body = ask(self.url, b"GET /_es_rerank/ready")
        return status, json.loads(body)

    def children(self, part: str = "") -> dict[int, str]:
        """The children by process id, with the last word of their command."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if parent == self.process.pid and words[-2].decode().rpartition("-")[0]:
                    found[int(entry.name)] = words[-2].decode()
        return {pid: name for pid, name in found.items() if part in name}

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def write(self, tables: Mapping[str, Any]) -> None:
        """Write the file of settings anew."""
        self.file.write_text(write_toml(tables))

    def reload(self, tables: Mapping[str, Any]) -> None:
        """Write the file anew and wait until every process goes by it."""
        before = len(self.logged("was read again"))
        processes = max(len(self.children("worker")), 1)
        self.write(tables)
        self.signal(signal.SIGHUP)
        self.wait_for(lambda: len(self.logged("was read again")) >= before + processes, "no reload")


def write_toml(tables: Mapping[str, Any], path: str = "") -> str:
    """Tables as TOML."""
    lines = [
        f"{key} = {json.dumps(value)}"
        for key, value in tables.items()
        if not isinstance(value, Mapping)
    ]
    text = "\n".join([f"[{path}]" if path else "", *lines, ""])
    for key, value in tables.items():
        if isinstance(value, Mapping):
            text += write_toml(value, f"{path}.{key}" if path else key)
    return text


def tables(url: str, **more: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a proxy that needs no model, with more in any table."""
    base: dict[str, Any] = {
        "upstream": {"url": url},
        "proxy": {"port": 0},
        "model": {"kind": "lexical"},
        "rerank": RERANK,
    }
    return base | {name: {**base.get(name, {}), **table} for name, table in more.items()}


@contextlib.contextmanager
def running(
    folder: Path,
    settings: Mapping[str, Any],
    *flags: str,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Proxy]:
    """Run `es-rerank serve`. before: the words of a command that runs it."""
    file = folder / "es-rerank.toml"
    file.write_text(write_toml(settings))
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join([str(folder), root])
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "es_rerank", "--config", str(file), "serve", *flags],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
    )
    proxy = Proxy(process, file)

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                proxy.log.append(json.loads(line))
            except ValueError:
                proxy.log.append({"event": line.rstrip()})

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        listening = proxy.wait_for(
            lambda: proxy.logged("listens") or process.poll() is not None, "it does not start"
        )
        assert listening is not True, proxy.log
        proxy.url = listening[0]["address"]
        yield proxy
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reading.join(20)
        assert process.stderr is not None
        process.stderr.close()


def refused(url: str) -> bool:
    """Whether nobody listens any more."""
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except ConnectionRefusedError:
        return True
    return False
