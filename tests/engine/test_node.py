from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from es_rerank.engine.java import Java
from es_rerank.engine.kinds import KINDS
from es_rerank.engine.node import boot, java_command, log_tail, require_free, write_settings
from es_rerank.errors import EngineError


def settings_of(home: Path, name: str) -> dict[str, object]:
    lines = (home / "config" / f"{name}.yml").read_text().splitlines()
    return {key: json.loads(value) for key, value in (line.split(": ") for line in lines)}


def test_a_taken_port_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(EngineError, match=f"Port {port} .* in use.*Name another port"):
            boot("opensearch", port=port, folder=tmp_path / "node")
    assert not (tmp_path / "node").exists()
    require_free(port)


def test_nodes_are_kept_to_this_machine_and_apart(tmp_path: Path) -> None:
    names = set()
    for folder in ("a", "b"):
        write_settings(KINDS["opensearch"], tmp_path / folder, None)
        settings = settings_of(tmp_path / folder, "opensearch")
        assert settings["network.host"] == "127.0.0.1"
        assert settings["http.port"] == settings["transport.port"] == 0
        names.add(settings["cluster.name"])
    assert len(names) == 2


def test_a_named_port_and_the_kinds_own_settings_are_written(tmp_path: Path) -> None:
    write_settings(KINDS["elasticsearch"], tmp_path, 9210)
    settings = settings_of(tmp_path, "elasticsearch")
    assert settings["http.port"] == 9210
    assert settings["http.type"] == "netty4"


@pytest.mark.parametrize(
    ("modules", "major", "native", "vector"),
    [
        (frozenset({"jdk.incubator.vector"}), 21, False, True),
        (frozenset({"jdk.incubator.vector"}), 25, True, True),
        (frozenset({"java.base"}), 25, True, False),  # as in the bundled runtime
    ],
)
def test_the_command_suits_the_runtime(
    modules: frozenset[str], major: int, native: bool, vector: bool
) -> None:
    java = Java(Path("/jdk/bin/java"), major, modules)
    kind = KINDS["elasticsearch"]
    command = java_command(kind, java, "classes:jars/*", Path("/node"), "512m")
    assert command[:3] == ["/jdk/bin/java", "-Xms512m", "-Xmx512m"]
    assert ("--add-modules" in command) == vector
    assert ("--enable-native-access=ALL-UNNAMED" in command) == native
    assert command[command.index("-cp") :] == [
        *("-cp", "classes:jars/*", kind.launcher, "/node"),
        *kind.plugins,
    ]


def test_opensearch_needs_no_incubator_module() -> None:
    java = Java(Path("/jdk/bin/java"), 17, frozenset({"jdk.incubator.vector"}))
    command = java_command(KINDS["opensearch"], java, "jars/*", Path("/node"), "1g")
    assert "--add-modules" not in command


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    assert log_tail(log) == ""
    log.write_text("".join(f"{n}\n" for n in range(100)))
    assert log_tail(log).splitlines()[-1] == "99"
    assert len(log_tail(log).splitlines()) == 15
