"""Nodes that outlive the command that booted them: start one, list them, stop them.

Each has a folder below the cache, `engines/<kind>` or `engines/<kind>-<port>`, whose data stay
when it is stopped; `node.json` in it records a running node.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from es_rerank.engine.cache import cache_folder, locked
from es_rerank.engine.jars import Report
from es_rerank.engine.kinds import KindName
from es_rerank.engine.node import STOP_GRACE_S, boot, require_free, tell_stderr
from es_rerank.engine.process import end, is_running
from es_rerank.errors import EngineError

USUAL_PORT = 9200  # where a client looks for an engine


@dataclass(frozen=True)
class Detached:
    """A running node; `started` tells its process from a later one of the same id."""

    kind: KindName
    version: str
    url: str
    port: int
    pid: int
    started: str
    folder: str
    log: str


def start(
    kind: KindName, port: int | None = None, heap: str = "1g", report: Report = tell_stderr
) -> tuple[Detached, bool]:
    """The node of this kind (on `port`, if named), and whether it had to be booted.

    Without `port`, any running node of the kind will do, else one is booted on the usual port
    9200, or on a free one where that is taken. Raises EngineError as `boot` does.
    """
    with locked(_engines()):
        for node in running(kind, port):
            return node, False
        folder = _engines() / (kind if port is None else f"{kind}-{port}")
        chosen = _usual_port_if_free() if port is None else port
        booted = boot(
            kind, port=chosen, folder=folder, heap=heap, watch_parent=False, report=report
        )
        node = Detached(
            kind=kind,
            version=booted.version,
            url=booted.url,
            port=booted.port,
            pid=booted.pid,
            started=booted.started,
            folder=str(booted.folder),
            log=str(booted.log),
        )
        _record(folder).write_text(json.dumps(asdict(node), indent=2) + "\n")
        return node, True


def running(kind: KindName | None = None, port: int | None = None) -> list[Detached]:
    """The detached nodes that run now, of this kind and on this port where named."""
    nodes = []
    for path in sorted(_engines().glob("*/node.json")):
        node = _read(path)
        if node is None or not is_running(node.pid, node.started):
            path.unlink(missing_ok=True)  # it died without us, or the machine was restarted
        elif kind in (None, node.kind) and port in (None, node.port):
            nodes.append(node)
    return nodes


def stop(node: Detached, grace_s: float = STOP_GRACE_S) -> None:
    """End a detached node: asked first, killed if it has not ended after `grace_s` seconds."""
    end(node.pid, node.started, grace_s)
    if is_running(node.pid, node.started):
        raise EngineError(f"The process {node.pid} of {node.kind} cannot be ended; see {node.log}.")
    _record(Path(node.folder)).unlink(missing_ok=True)


def _engines() -> Path:
    return cache_folder() / "engines"


def _record(folder: Path) -> Path:
    return folder / "node.json"


def _read(path: Path) -> Detached | None:
    try:
        return Detached(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _usual_port_if_free() -> int | None:
    try:
        require_free(USUAL_PORT)
    except EngineError:
        return None
    return USUAL_PORT
