"""Boot a real node on this machine, on the loopback interface alone."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from es_rerank.engine.jars import HERE, TAIL_LINES, Report, compile_launcher, fetch_jars
from es_rerank.engine.java import Java, find_java
from es_rerank.engine.kinds import KINDS, Kind, KindName
from es_rerank.engine.process import end, is_running, started_at
from es_rerank.errors import EngineError

HOST = "127.0.0.1"
POLL_S = 0.1
STOP_GRACE_S = 15.0
NATIVE_ACCESS_SINCE = 22


def tell_stderr(message: str) -> None:
    """The default `report`: one line on stderr."""
    sys.stderr.write(message + "\n")


@dataclass(frozen=True)
class Node:
    """A booted node; stop it, or leave its `with` block, to end it.

    `folder` holds its configuration, data and log; a temporary one goes when the node does.
    """

    url: str
    kind: KindName
    version: str
    port: int
    pid: int
    folder: Path
    log: Path
    temporary: bool
    started: str
    _process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    def stop(self) -> None:
        """End the node; nothing happens if it has ended."""
        if self.temporary:
            self._process.kill()
        elif self._process.poll() is None:
            end(self.pid, self.started, STOP_GRACE_S)
        self._process.wait()
        _close(self._process)
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def boot(
    kind: KindName,
    *,
    port: int | None = None,
    folder: Path | None = None,
    heap: str = "1g",
    watch_parent: bool = True,
    timeout_s: float = 180.0,
    report: Report = tell_stderr,
) -> Node:
    """Boot a single node and wait until it can index.

    Without `port` the node takes a free one. Data in a `folder` the caller names is there at the
    next boot; without one it is temporary. With `watch_parent` the node dies with this process,
    however that ends; without, it outlives it. `heap` is Java's: "512m", "1g".
    Raises EngineError: no Java or Maven, no network at the first boot, a taken port or folder, a
    node that died or was not ready within `timeout_s`; in these last cases its folder stays, for
    the log.
    """
    what = KINDS[kind]
    if port is not None:
        require_free(port)
    java = find_java(what.java_minimum, f"{what.title} {what.version}")
    jars = fetch_jars(what, java, report)
    classes = compile_launcher(what, java, jars, report)
    temporary = folder is None
    home = Path(tempfile.mkdtemp(prefix=f"es-rerank-{kind}-")) if folder is None else folder
    home = home.absolute()
    _require_unused(home)
    write_settings(what, home, port)
    (home / "port").unlink(missing_ok=True)
    log = home / "node.log"
    command = java_command(what, java, f"{classes}{os.pathsep}{jars}/*", home, heap)
    if temporary:
        command.insert(1, "-Des_rerank.temporary=true")
    report(f"Starting {what.title} {what.version} (Java {java.major}), log {log} ...")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            # The node halts when this pipe ends, which it does when our process is gone. It must
            # not be inherited by anybody else, which is Python's default.
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            start_new_session=True,  # Ctrl-C is for us; we end the node in order
        )
    started = started_at(process.pid) or ""
    (home / "process").write_text(f"{process.pid} {started}")
    try:
        bound, version = _wait_until_ready(what, process, home, log, timeout_s)
        if not watch_parent:
            _release(process)
    except BaseException:
        process.kill()
        process.wait()
        _close(process)
        raise
    url = f"http://{HOST}:{bound}"
    report(f"{what.title} {version} is ready at {url}")
    return Node(url, kind, version, bound, process.pid, home, log, temporary, started, process)


def require_free(port: int) -> None:
    """Raise EngineError if something listens on `port` already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EngineError(
                f"Port {port} of {HOST} cannot be taken: {error.strerror}. Name another port, or"
                " none for a free one."
            ) from None


def _require_unused(home: Path) -> None:
    try:
        pid, _, started = (home / "process").read_text().partition(" ")
    except OSError:
        return
    if started and is_running(int(pid), started):
        raise EngineError(
            f"The folder {home} is used by a running node, process {pid}. Stop that, or name"
            " another folder."
        )


def write_settings(kind: Kind, home: Path, port: int | None) -> None:
    """Write the node's YAML file; it takes port 0, any free one, where none is named."""
    name = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    settings: dict[str, Any] = {
        "cluster.name": f"es-rerank-{name}",
        "node.name": "local",
        "discovery.type": "single-node",
        "network.host": HOST,
        "http.port": port or 0,
        "transport.port": 0,
        # A full disk would make indices read-only, a local node's least helpful surprise.
        "cluster.routing.allocation.disk.threshold_enabled": False,
        **kind.settings,
    }
    (home / "config").mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())
    (home / "config" / f"{kind.name}.yml").write_text(lines)


def java_command(kind: Kind, java: Java, class_path: str, home: Path, heap: str) -> list[str]:
    """The command line of the node."""
    modules = [module for module in kind.modules if module in java.modules]
    command = [str(java.executable), f"-Xms{heap}", f"-Xmx{heap}"]
    command += ["-Dfile.encoding=UTF-8", "-Des.distribution.type=tar"]
    command += [f"-Dlog4j2.configurationFile={HERE / 'java' / 'log4j2.xml'}"]
    if java.major >= NATIVE_ACCESS_SINCE:
        command += ["--enable-native-access=ALL-UNNAMED"]
    if modules:
        command += ["--add-modules", ",".join(modules)]
    return [*command, "-cp", class_path, kind.launcher, str(home), *kind.plugins]


def _wait_until_ready(
    kind: Kind, process: subprocess.Popen[bytes], home: Path, log: Path, timeout_s: float
) -> tuple[int, str]:
    """The port the node listens on and the version it names, once its cluster is healthy."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EngineError(
                f"{kind.title} ended with status {process.returncode} while starting. The end of"
                f" {log}:\n{log_tail(log)}"
            )
        if (home / "port").exists():
            port = int((home / "port").read_text())
            health = _get(port, "/_cluster/health?wait_for_status=yellow&timeout=1s")
            if health is not None and health.get("status") in ("yellow", "green"):
                root = _get(port, "/")
                if root is not None:
                    return port, str(root["version"]["number"])
        time.sleep(POLL_S)
    raise EngineError(
        f"{kind.title} was not ready after {timeout_s:.0f} s. The end of {log}:\n{log_tail(log)}"
    )


def _release(process: subprocess.Popen[bytes]) -> None:
    """Tell a node that it may outlive us."""
    assert process.stdin is not None
    process.stdin.write(b"!")
    process.stdin.close()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def log_tail(log: Path) -> str:
    """The last lines of a log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def _get(port: int, path: str) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
