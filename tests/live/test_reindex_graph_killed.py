"""A run with a graph that is killed again and again ends as one that was not, its nodes too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from es_rerank.cluster.bulk import send_stream
from es_rerank.cluster.client import SearchClient
from tests.live.conftest import Reindex
from tests.live.test_reindex_graph import RECIPE, fill, product
from tests.live.test_reindex_killed import kill_and_run, read_all

COLOURS = ("black", "white", "red", "green")


@pytest.mark.soak
@pytest.mark.parametrize("kills", [4, 20])
def test_a_graph_that_is_killed(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path, kills: int
) -> None:
    fill(client, index_name)
    rows = [
        product(f"Brand{n % 7} Model X{n % 90} lamp {colour}", type="lamp", color=colour, price=n)
        for n in range(1, 150 * kills)
        for colour in COLOURS[: 1 + n % 4]
    ]
    actions = [
        ({"index": {"_index": index_name, "_id": f"q{n}"}}, json.dumps(row))
        for n, row in enumerate(rows)
    ]
    assert all(ok for ok, _ in send_stream(client, actions, chunk_size=1000))
    client.request("POST", f"/{index_name}/_refresh")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    alias, whole = f"{index_name}-er", f"{index_name}-whole"
    arguments = ("--recipe", str(recipe), "--batch-size", "20", "--slices", "2")
    fell = kill_and_run(client.url, tmp_path, kills, 12.0, index_name, alias, *arguments)
    assert fell >= kills // 2
    assert reindex(index_name, whole, "--yes", *arguments).code == 0
    assert read_all(client, alias) == read_all(client, whole)
    held = client.request("GET", f"/{alias}-graph/_count")["count"]
    assert held == client.request("GET", f"/{whole}-graph/_count")["count"]
