"""The command line against a real engine, and a front before it that can misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from es_rerank.cli.main import main
from es_rerank.cluster.client import SearchClient, connect
from es_rerank.engine.node import Node


@dataclass
class Run:
    """One call of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


Reindex = Callable[..., Run]
Hook = Callable[[str, str, int], "tuple[int, dict[str, Any]] | None"]


@pytest.fixture
def client(engine: Node) -> Iterator[SearchClient]:
    with closing(connect(engine.url)) as client:
        yield client


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Reindex:
    """Run `es-rerank ARGUMENTS` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Run:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([*arguments])
        captured = capsys.readouterr()
        assert isinstance(exited.value.code, int)
        return Run(exited.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def reindex(engine: Node, command: Reindex) -> Reindex:
    """Run `es-rerank reindex --url ... ARGUMENTS`."""
    return lambda *arguments: command("reindex", "--url", engine.url, *arguments)


@pytest.fixture
def front(engine: Node) -> Iterator[Callable[[Hook], str]]:
    """Start a front before the engine; returns its address.

    The hook is told method, path and how many bulk requests came before; what it returns is
    answered, None lets the request pass.
    """
    servers: list[ThreadingHTTPServer] = []
    pool = urllib3.PoolManager(maxsize=8)

    def start(hook: Hook) -> str:
        bulks = 0
        turn = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                nonlocal bulks
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with turn:
                    answer = hook(self.command, self.path, bulks)
                    bulks += "_bulk" in self.path
                kind = self.headers.get("Content-Type", "application/json")
                if answer is None:
                    passed = pool.request(
                        self.command,
                        f"{engine.url}{self.path}",
                        body=body or None,
                        headers={"content-type": kind},
                    )
                    status, data = passed.status, passed.data
                else:
                    status, data = answer[0], json.dumps(answer[1]).encode()
                self.send_response(status)
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    pool.clear()
