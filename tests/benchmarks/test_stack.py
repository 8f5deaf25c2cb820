from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import es_rerank
from benchmarks.stack import Stack, clean_environment, free_port, proxy
from es_rerank.errors import EsRerankError


def test_subprocesses_see_no_settings_but_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_RERANK_RERANK__ENABLED", "false")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://elsewhere:9200")
    monkeypatch.setenv("ES_RERANK_CACHE", "/some/cache")
    found = clean_environment()
    assert "ES_RERANK_RERANK__ENABLED" not in found
    assert "ELASTICSEARCH_URL" not in found
    assert found["ES_RERANK_CACHE"] == "/some/cache"
    assert found["PATH"] == os.environ["PATH"]


def test_subprocesses_run_this_package_from_another_folder(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import es_rerank; print(es_rerank.__file__)"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == es_rerank.__file__


def test_a_free_port_can_be_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))


def test_a_proxy_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    stack = Stack("http://127.0.0.1:9", "OpenSearch", "plain", "enriched", tmp_path)
    wrong = {"ES_RERANK_RERANK__RANK_WINDOW_SIZE": "0"}
    complaint = r"ended with status 2[\s\S]*rank_window_size"
    with pytest.raises(EsRerankError, match=complaint), proxy(stack, wrong):
        pass
