"""Out of file descriptors: the proxy waits for some, idles meanwhile, and serves again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.proxy.wire import ask

LIMIT = 48
PROGRAM = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT}))
from es_rerank.config import load_settings
from es_rerank.proxy.process.serving import serve
serve(load_settings(None, {{
    "upstream": {{"url": "http://127.0.0.1:9"}},
    "proxy": {{"port": 0, "connections": 10_000, "idle_timeout_s": 60}},
    "model": {{"kind": "remote", "url": "http://127.0.0.1:9"}},
}}), lambda address: print(address, flush=True))
"""


def used_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
def test_a_lack_of_descriptors_passes() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            host, port = url.removeprefix("http://").split(":")
            assert ask(url, b"GET /_es_rerank/live")[0] == 200
            with contextlib.ExitStack() as stack:
                # Heads that are begun and not ended: none of these connections can make room.
                for _ in range(3 * LIMIT):
                    held = stack.enter_context(socket.create_connection((host, int(port)), 5))
                    held.sendall(b"GET / HTTP/1.1\r\n")
                time.sleep(0.5)
                before = used_s(process.pid)
                time.sleep(1.5)
                assert used_s(process.pid) - before < 0.5
                assert process.poll() is None
            until = time.monotonic() + 10
            status = 0
            while status != 200 and time.monotonic() < until:
                with contextlib.suppress(OSError, IndexError):
                    status = ask(url, b"GET /_es_rerank/live")[0]
                time.sleep(0.1)
            assert status == 200
        finally:
            process.terminate()
            process.wait(15)
