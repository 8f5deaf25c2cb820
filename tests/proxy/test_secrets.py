"""What callers prove themselves with, and what they look for, is written nowhere."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.proxy.wire import Request, answer, ask, reranker, upstream

SECRETS = (b"Bearer caller-secret", b"proxy-password", b"session=cookie-secret", b"secret-words")
HITS = [
    {"_index": "shop", "_id": str(i), "_score": 9.0 - i, "_source": {"title": f"shoe {i}"}}
    for i in range(3)
]
FOUND = {"took": 1, "hits": {"total": {"value": 3, "relation": "eq"}, "max_score": 9, "hits": HITS}}
MAPPING = {"shop": {"mappings": {"properties": {"title": {"type": "text"}}}}}


def cluster(request: Request, connection: socket.socket) -> None:
    """Answers searches and mappings, and breaks off in some other answers."""
    if request.target.endswith(b"_mapping"):
        answer(connection, 200, json.dumps(MAPPING).encode())
    elif b"broken" in request.target:
        answer(connection, 200, b"{", length=100)
        connection.shutdown(socket.SHUT_RDWR)
    elif b"_search" in request.target:
        answer(connection, 200, json.dumps(FOUND).encode(), {"Content-Type": "application/json"})
    else:
        answer(connection, 401, b"{}")


def break_down(query: str, text: str) -> float:
    raise ValueError(f"this server dislikes {len(text)} characters")


def test_neither_credentials_nor_query_text_are_logged_or_shown(tmp_path: Path) -> None:
    with upstream(cluster) as raw, reranker(break_down) as model:
        environment = os.environ | {
            "ES_RERANK_UPSTREAM__URL": raw.url.replace("//", "//proxy:proxy-password@"),
            "ES_RERANK_MODEL__KIND": "remote",
            "ES_RERANK_MODEL__URL": model.url,
        }
        log = tmp_path / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "es_rerank", "--verbose", "serve", "--port", "0"],
                env=environment,
                cwd=tmp_path,
                stderr=stderr,
            )
        try:
            url = wait_for_address(log)
            shown = b""
            credentials = (b"Authorization: Bearer caller-secret", b"Cookie: session=cookie-secret")
            kind = b"Content-Type: application/json"
            body = json.dumps({"query": {"match": {"title": "secret-words"}}}).encode()
            for line in (
                b"POST /shop/_search",
                b"POST /shop/_search?q=secret-words",
                b"POST /broken/_search?q=secret-words",
                b"POST /shop/_msearch",
                b"POST /shop/_doc?pipeline=secret-words",
                b"POST /broken/_doc?pipeline=secret-words",
                b"POST /shop/_search?size=-1&q=secret-words",
            ):
                sent = body if b"msearch" not in line else b"{}\n" + body + b"\n"
                status, _, _ = ask(url, line, *credentials, kind, body=sent)
                assert status in {200, 401, 502}
            for page in (b"live", b"ready", b"metrics", b"info?index=shop"):
                shown += ask(url, b"GET /_es_rerank/" + page, *credentials)[2]
            assert b"es_rerank_fallbacks_total" in shown
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert any(r.headers("authorization") == [b"Bearer caller-secret"] for r in raw.requests)
    written = log.read_bytes()
    assert b"kept the engine's order" in written  # the scorer's failure, at least
    for secret in SECRETS:
        assert secret not in written + shown, secret


def wait_for_address(log: Path) -> str:
    """The address that a proxy tells in its log, once it can be reached."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for line in log.read_bytes().splitlines():
            try:
                address = json.loads(line).get("address")
            except ValueError:
                continue
            if address:
                return str(address)
        time.sleep(0.05)
    raise AssertionError(log.read_text())
