"""On a local Ray with two workers a run gives what it gives without: documents, graph, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from es_rerank.cluster.client import SearchClient, connect
from es_rerank.engine.node import Node
from tests.live.conftest import Reindex
from tests.live.test_reindex_graph import PRODUCTS, fill, nodes
from tests.live.test_reindex_killed import read_all

pytest.importorskip("ray", reason="Ray is not installed: pip install 'es-rerank[ray]'")
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of sockets and processes
]
RECIPE = "[graph]\n[summary]\n"
ON_RAY = ("--engine", "ray", "--slices", "2", "--batch-size", "2")


@pytest.fixture(scope="module")
def client(opensearch: Node) -> Iterator[SearchClient]:
    with closing(connect(opensearch.url)) as client:
        yield client


def test_an_index_on_two_workers(
    client: SearchClient, command: Reindex, index_name: str, tmp_path: Path
) -> None:
    fill(client, index_name)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    arguments = ("--url", client.url, "--yes", "--json", "--recipe", str(recipe))
    here = command("reindex", index_name, f"{index_name}-here", *arguments)
    assert here.code == 0, here.err
    far = command("reindex", index_name, f"{index_name}-far", *arguments, *ON_RAY)
    assert far.code == 0, far.err
    assert (far.json["written"], far.json["enriched"]) == (len(PRODUCTS), len(PRODUCTS))
    assert read_all(client, f"{index_name}-far") == read_all(client, f"{index_name}-here")
    graph = nodes(client, f"{index_name}-far-graph")
    assert graph == nodes(client, f"{index_name}-here-graph")
    again = command("reindex", index_name, f"{index_name}-far", *arguments, *ON_RAY)
    assert (again.code, again.json["written"]) == (0, 0), again.err


def test_a_file_and_its_failures(
    client: SearchClient, command: Reindex, index_name: str, tmp_path: Path
) -> None:
    rows = [json.dumps({"id": key, **source}) for key, source in PRODUCTS.items()]
    path = tmp_path / "products.jsonl"
    path.write_text("\n".join([*rows, "no json", json.dumps({"title": "no id"})]))
    arguments = ("--url", client.url, "--yes", "--json", "--copy", "--id-field", "id")
    done = command("reindex", str(path), index_name, *arguments, *ON_RAY)
    assert done.code == 3, done.err
    assert (done.json["written"], done.json["failed"]) == (len(PRODUCTS), 2)
    (failures,) = tmp_path.glob("*-failures.jsonl")
    assert {json.loads(line)["id"] for line in failures.read_text().splitlines()} == {
        "row 6",
        "row 7",
    }
    done = command("reindex", str(path), index_name, *arguments, *ON_RAY, "--accept-failures")
    assert done.json["alias_moved"]
    assert {key for key, _ in read_all(client, index_name)} == set(PRODUCTS)


def test_an_address_where_no_ray_is(
    client: SearchClient, command: Reindex, index_name: str
) -> None:
    fill(client, index_name)
    nowhere = ("--engine", "ray", "--ray-address", "127.0.0.1:1")
    arguments = (index_name, f"{index_name}-er", "--url", client.url, "--copy", "--yes")
    refused = command("reindex", *arguments, *nowhere)
    assert refused.code == 2, refused.err
    assert "no Ray answers" in refused.err
