"""What the demonstration and the benchmarks run on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import es_rerank
from es_rerank.demo.stack import clean_environment, digest_code


def test_the_digest_of_the_code_is_stable() -> None:
    assert digest_code() == digest_code()
    assert len(digest_code()) == 16


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
