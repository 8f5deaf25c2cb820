"""Real engines for the tests that ask for one, and an environment without the user's settings."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import pytest
import urllib3

from es_rerank.engine.kinds import KindName
from es_rerank.engine.node import Node, boot

hypothesis.settings.register_profile("shared", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("shared")

ENGINES = ("opensearch", "elasticsearch")
ENGINE_FIXTURES = {*ENGINES, "engine"}
OF_THE_MACHINE = {"ES_RERANK_CACHE", "ES_RERANK_JAVA"}  # where things lie, not what they do
FALLBACKS = {"ELASTICSEARCH_URL", "ES_URL", "OPENSEARCH_URL"}
# Nodes that run already (`es-rerank engine up`) save each session the boot: their addresses.
RUNNING = {kind: os.environ.get(f"ES_RERANK_TEST_{kind.upper()}") for kind in ENGINES}


@dataclass(frozen=True)
class RunningNode:
    """A node that outlives the session."""

    url: str
    kind: KindName
    version: str


def attach(kind: KindName, url: str) -> RunningNode:
    """A node that runs already."""
    info = urllib3.request("GET", url).json()
    return RunningNode(url, kind, info["version"]["number"])


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses an engine `live`."""
    for item in items:
        if ENGINE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("live")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own settings out of every test."""
    for name in list(os.environ):
        ours = name.startswith("ES_RERANK_") and name not in OF_THE_MACHINE
        if ours or name in FALLBACKS or name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def opensearch() -> Iterator[Node | RunningNode]:
    """A real OpenSearch with k-NN, one for the whole session."""
    if url := RUNNING["opensearch"]:
        yield attach("opensearch", url)
        return
    with boot("opensearch", heap="512m") as node:
        yield node


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[Node | RunningNode]:
    """A real Elasticsearch, one for the whole session."""
    if url := RUNNING["elasticsearch"]:
        yield attach("elasticsearch", url)
        return
    with boot("elasticsearch", heap="512m") as node:
        yield node


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Node:
    """Each engine in turn: a test that uses it runs once per engine."""
    node: Node = request.getfixturevalue(request.param)
    return node


@pytest.fixture
def index_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """An unused index name; the test's engines delete what begins with it afterwards."""
    used = [name for name in request.fixturenames if name in ENGINE_FIXTURES]
    nodes: set[str] = {request.getfixturevalue(name).url for name in used}
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    for url in nodes:
        answer = urllib3.request("GET", f"{url}/_cat/indices/{name}*?format=json&h=index")
        for row in answer.json():
            urllib3.request("DELETE", f"{url}/{row['index']}")
