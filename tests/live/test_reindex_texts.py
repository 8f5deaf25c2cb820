"""Forms of text on a real engine: written, budgeted, gone on with, mapped as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from es_rerank.cluster.client import SearchClient
from tests.live.conftest import Reindex
from tests.live.test_reindex_trouble import numbers
from tests.models.writer.chat_server import ChatServer, serving

RECIPE = """\
text_fields = ["title", "description"]
attribute_fields = ["brand"]

[[text]]
form = "tags"

[[text]]
form = "advert"
backend = "shop"

[generators.shop]
kind = "endpoint"
model = "m"
url = "{url}"
price_in = 1.0
price_out = 10.0
"""
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "title": {"type": "text"},
        "description": {"type": "text"},
        "brand": {"type": "keyword"},
    },
}


def fill(client: SearchClient, index: str, count: int = 20) -> None:
    client.request("PUT", f"/{index}", {"mappings": MAPPING})
    for n in range(count):
        source = {
            "title": f"Trail shoe model {n}",
            "description": f"A light shoe for the trail. It comes in size {30 + n}.",
            "brand": "Acme",
        }
        client.request("PUT", f"/{index}/_doc/{n}", source)
    client.request("POST", f"/{index}/_refresh")


def write(body: dict[str, Any]) -> str:
    title = body["messages"][1]["content"].partition("Title: ")[2].splitlines()[0]
    return f"{title}, light for the trail."


def test_texts_cost_and_budget(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path
) -> None:
    fill(client, index_name)
    alias, recipe = f"{index_name}-er", tmp_path / "recipe.toml"
    arguments = (index_name, alias, "--yes", "--json", "--recipe", str(recipe))
    with serving(ChatServer(write)) as server:
        recipe.write_text(RECIPE.format(url=server.url))
        dry = reindex(*arguments, "--dry-run").json
        assert len(server.bodies) == 4  # three samples, the first of them twice
        assert dry["estimated_cost"] == 20 * 0.0002
        assert dry["estimated_tokens"] == 20 * 110
        assert dry["samples"][0]["_source"]["es_rerank"]["text"]["advert"].startswith("Trail shoe")
        recipe.write_text(RECIPE.format(url=server.url) + "budget_tokens = 1400\n")
        server.bodies.clear()
        first = reindex(*arguments, "--batch-size", "5")
        assert (first.code, "budget of m is used up" in first.err) == (1, True), first.err
        done = len(server.bodies)
        assert 5 <= done <= 12
        assert client.request("GET", f"/_alias/{alias}", allow=(404,)) is None
        second = reindex(*arguments, "--batch-size", "5")
        assert (second.code, second.json["resumed"]) == (0, True), second.err
        assert len(server.bodies) == 20  # each was asked for once
        again = reindex(*arguments)
        assert (again.code, len(server.bodies)) == (0, 20)
    found = numbers(client, alias)
    assert len(found) == 20
    own = found["3"]["es_rerank"]
    assert own["text"]["advert"] == "Trail shoe model 3, light for the trail."
    assert "Acme" in own["text"]["tags"]
    assert own["provenance"]["text-advert"]["model"] == "m"
    query = {"query": {"match": {"es_rerank.text.tags": "acme"}}}
    assert client.request("POST", f"/{alias}/_count", query)["count"] == 20
