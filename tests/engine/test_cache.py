from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from es_rerank.engine.cache import cache_folder, locked
from es_rerank.errors import EngineError

TRY_LOCK = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("held")
else:
    print("free")
"""


def test_the_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ES_RERANK_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("ES_RERANK_CACHE", "~/there")
    assert cache_folder() == Path.home() / "there"


def test_without_the_variable_it_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ES_RERANK_CACHE", raising=False)
    assert cache_folder() == user_cache_path("es-rerank")


def test_a_lock_keeps_other_processes_out(tmp_path: Path) -> None:
    def seen_from_outside() -> str:
        command = [sys.executable, "-c", TRY_LOCK, str(folder / ".lock")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    folder = tmp_path / "jars"
    with locked(folder):
        assert seen_from_outside() == "held"
    assert seen_from_outside() == "free"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EngineError, match="ES_RERANK_CACHE"),
        locked(tmp_path / "file" / "engines"),
    ):
        pass
