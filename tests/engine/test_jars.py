from __future__ import annotations

from pathlib import Path

import pytest

from es_rerank.engine.jars import fetch_jars
from es_rerank.engine.java import Java
from es_rerank.engine.kinds import KINDS
from es_rerank.errors import EngineError

JAVA = Java(Path("/opt/jdk/bin/java"), 25, frozenset())
KIND = KINDS["opensearch"]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ES_RERANK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put_maven(folder: Path, script: str) -> str:
    """A PATH whose `mvn` is this shell script."""
    folder.mkdir()
    mvn = folder / "mvn"
    mvn.write_text(f"#!/bin/sh\n{script}\n")
    mvn.chmod(0o755)
    return f"{folder}:/bin:/usr/bin"


def test_without_maven_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"no 'mvn' was found on the PATH\. Install it"):
        fetch_jars(KIND, JAVA, report=lambda _: None)


def test_a_failed_fetch_shows_mavens_words_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    script = "for n in $(seq 100); do echo line $n; done; echo '[ERROR] Unknown host'; exit 1"
    monkeypatch.setenv("PATH", put_maven(tmp_path / "bin", script))
    said: list[str] = []
    with pytest.raises(EngineError) as caught:
        fetch_jars(KIND, JAVA, said.append)
    message = str(caught.value)
    assert "could not fetch OpenSearch 2.19.1. Is there a network connection?" in message
    assert message.endswith("[ERROR] Unknown host")
    assert "line 100" in message
    assert "line 50\n" not in message
    assert len(said) == 1
    assert [path.name for path in (cache / "jars").iterdir()] == [".lock"]


def test_maven_that_fetches_nothing_has_failed(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", put_maven(tmp_path / "bin", "exit 0"))
    with pytest.raises(EngineError, match="could not fetch"):
        fetch_jars(KIND, JAVA, report=lambda _: None)


def test_maven_is_given_a_java_where_it_would_find_none(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    put_maven(tmp_path / "bin", 'echo "home: $JAVA_HOME"; exit 1')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(EngineError, match=r"home: /opt/jdk$"):
        fetch_jars(KIND, JAVA, report=lambda _: None)


def test_what_a_killed_fetch_left_is_cleared(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    half = cache / "jars" / ".half-abandoned"
    half.mkdir(parents=True)
    monkeypatch.setenv("PATH", put_maven(tmp_path / "bin", "exit 1"))
    with pytest.raises(EngineError):
        fetch_jars(KIND, JAVA, report=lambda _: None)
    assert not half.exists()
