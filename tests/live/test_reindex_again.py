"""Run again: only what has changed; versions behind the alias; following; other sources."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from es_rerank.cluster.client import SearchClient, connect
from es_rerank.cluster.source import open_source
from es_rerank.engine.node import Node
from es_rerank.enrich.run.follow import follow_source
from es_rerank.enrich.run.plan import make_plan
from es_rerank.enrich.run.reindex import Run, carry_out
from es_rerank.enrich.sources.index import IndexSource
from es_rerank.enrich.steps.recipe import Recipe
from tests.live.conftest import Reindex
from tests.live.test_reindex_trouble import fill, numbers

VECTOR = "[vector]\n"


def enriched(client: SearchClient, index: str) -> dict[str, Any]:
    """Documents by id, without the times."""
    found = numbers(client, index)
    for document in found.values():
        for origin in document["es_rerank"]["provenance"].values():
            del origin["time"]
    return found


def test_only_what_has_changed(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path
) -> None:
    fill(client, index_name)
    alias, recipe = f"{index_name}-er", tmp_path / "recipe.toml"
    recipe.write_text(VECTOR)
    arguments = (index_name, alias, "--yes", "--json", "--recipe", str(recipe))
    first = reindex(*arguments)
    assert (first.code, first.json["enriched"], first.json["reused"]) == (0, 60, 0), first.err
    time.sleep(1.1)  # provenance counts whole seconds
    client.request("PUT", f"/{index_name}/_doc/3", {"n": 3, "title": "another title"})
    client.request("PUT", f"/{index_name}/_doc/4", {"n": 400, "title": "t 4"})  # no new text
    client.request("DELETE", f"/{index_name}/_doc/5")
    second = reindex(*arguments)
    assert (second.code, second.json["enriched"], second.json["reused"]) == (0, 1, 1), second.err
    assert (second.json["read"], second.json["removed"]) == (2, 1)  # a clone, and what changed
    assert second.json["index"] == f"{alias}-000002"
    anew = reindex(index_name, f"{index_name}-anew", *arguments[2:])
    assert anew.json["enriched"] == 59
    assert enriched(client, alias) == enriched(client, f"{index_name}-anew")
    # Begun anew, it reads all of them, and takes over what was made of the same text.
    restarted = reindex(*arguments, "--restart")
    assert (restarted.json["enriched"], restarted.json["reused"]) == (0, 59)
    assert enriched(client, alias) == enriched(client, f"{index_name}-anew")
    settings = client.request("GET", f"/{alias}-000001")[f"{alias}-000001"]["settings"]["index"]
    assert "blocks" not in settings  # that cloning it needed
    # Another recipe keeps the vectors, with the times they were made at, and adds the summaries.
    recipe.write_text(VECTOR + "[summary]\n")
    third = reindex(*arguments)
    assert third.json["enriched"] == 59
    found = numbers(client, alias)
    assert all("summary" in document["es_rerank"] for document in found.values())
    times = {
        name: {document["es_rerank"]["provenance"][name]["time"] for document in found.values()}
        for name in ("vector", "summary")
    }
    assert len(times["vector"]) == 2
    assert len(times["summary"]) == 1


def test_versions(
    client: SearchClient, command: Reindex, reindex: Reindex, index_name: str
) -> None:
    fill(client, index_name)
    alias, url = f"{index_name}-er", ("--url", client.url)
    empty = command("index", "status", alias, *url)
    assert (empty.code, "no version behind" in empty.out) == (0, True)
    for _ in range(3):
        assert reindex(index_name, alias, "--copy", "--yes").code == 0
    told = command("index", "status", alias, *url, "--json").json["versions"]
    assert [(v["index"], v["live"], v["state"]) for v in told] == [
        (f"{alias}-00000{n}", n == 3, "complete") for n in (1, 2, 3)
    ]
    assert (told[0]["source"], told[0]["documents"], told[0]["steps"]) == (index_name, 60, {})
    shown = command("index", "status", alias, *url).out.splitlines()
    assert [line[0] for line in shown] == [" ", " ", "*"]
    assert command("index", "rollback", alias, *url, "--json").json == {
        **{"alias": alias, "index": f"{alias}-000002", "before": [f"{alias}-000003"]}
    }
    assert "stands for" in command("index", "swap", alias, "3", *url).out
    assert "no version '9'" in command("index", "swap", alias, "9", *url).err
    would = command("index", "prune", alias, "--dry-run", *url)
    assert would.out == f"Would delete {alias}-000001.\n"
    assert command("index", "prune", alias, "--yes", "--json", *url).json["deleted"] == [
        f"{alias}-000001"
    ]
    assert "nothing to delete" in command("index", "prune", alias, "--yes", *url).out
    limited = reindex(index_name, alias, "--copy", "--yes", "--limit", "5")
    assert limited.code == 0
    refused = command("index", "swap", alias, *url)
    assert (refused.code, "is not complete" in refused.err) == (2, True)
    assert command("index", "swap", alias, "--force", *url).code == 0


def test_a_source_is_followed(client: SearchClient, index_name: str) -> None:
    """New, changed and deleted documents, with no run in between."""
    fill(client, index_name)
    source = IndexSource(client, open_source(client, index_name), 50)
    plan = make_plan(client, source, f"{index_name}-er", Recipe(), lambda *_: [], follow=True)
    run = Run(client, plan, 2)
    carry_out(run)
    said: list[str] = []
    thread = threading.Thread(
        target=follow_source, args=(run, 0.05, said.append), kwargs={"looks": 40}
    )
    thread.start()
    for number in range(30):
        client.request("PUT", f"/{index_name}/_doc/new{number}", {"n": number})
        client.request("PUT", f"/{index_name}/_doc/{number}", {"n": -number})
        client.request("DELETE", f"/{index_name}/_doc/{number + 30}", allow=(404,))
    thread.join(60)
    assert not thread.is_alive()
    follow_source(run, 0.05, said.append, looks=1)
    assert numbers(client, f"{index_name}-er") == numbers(client, index_name)
    assert any("carried" in line for line in said)
    # A later process goes on with the same version.
    client.request("PUT", f"/{index_name}/_doc/later", {"n": 1})
    again = make_plan(client, source, f"{index_name}-er", Recipe(), lambda *_: [], follow=True)
    assert (again.index, again.resumed is not None) == (run.index, True)
    result = carry_out(Run(client, again, 2))
    assert (result.read, result.alias_moved) == (1, True)
    assert numbers(client, f"{index_name}-er") == numbers(client, index_name)


def test_part_of_an_index(client: SearchClient, reindex: Reindex, index_name: str) -> None:
    fill(client, index_name)
    alias = f"{index_name}-er"
    query = json.dumps({"range": {"n": {"lt": 10}}})
    run = reindex(index_name, alias, "--copy", "--yes", "--query", query, "--fields", "n")
    assert run.code == 0, run.err
    assert numbers(client, alias) == {str(n): {"n": n} for n in range(10)}
    wrong = reindex(index_name, alias, "--copy", "--yes", "--query", "{")
    assert (wrong.code, "no JSON" in wrong.err) == (2, True)


def test_a_file(client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path) -> None:
    rows = [{"sku": f"s{n % 50}", "title": f"Shoe {n}", "price": n / 4} for n in range(70)]
    file = tmp_path / "shop.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"title": "no sku"}]))
    alias = f"{index_name}-er"
    arguments = (str(file), alias, "--copy", "--yes", "--id-field", "sku", "--json")
    run = reindex(*arguments)
    assert (run.code, run.json["failed"], run.json["held"]) == (3, 1, 50), run.err
    assert "row 71: unreadable_row: it has no value in 'sku'" in run.err
    accepted = reindex(*arguments, "--accept-failures")
    assert (accepted.code, accepted.json["alias_moved"], accepted.json["read"]) == (3, True, 0)
    latest = {row["sku"]: row for row in rows}
    assert numbers(client, alias) == latest
    mapping = client.request("GET", f"/{alias}-000001")[f"{alias}-000001"]["mappings"]
    assert mapping["properties"]["price"] == {"type": "double"}


def test_another_cluster(
    opensearch: Node, elasticsearch: Node, command: Reindex, index_name: str
) -> None:
    """From OpenSearch to Elasticsearch, with what changes meanwhile and is gone later."""
    with closing(connect(opensearch.url)) as origin, closing(connect(elasticsearch.url)) as there:
        mappings = {"properties": {"title": {"type": "text"}, "n": {"type": "long"}}}
        fill(origin, index_name, mappings=mappings)
        alias = f"{index_name}-er"
        arguments = ("reindex", index_name, alias, "--yes", "--copy", "--json")
        urls = ("--url", elasticsearch.url, "--source-url", opensearch.url)
        run = command(*arguments, *urls)
        assert (run.code, run.json["held"]) == (0, 60), run.err
        assert numbers(there, alias) == numbers(origin, index_name)
        assert there.request("GET", f"/{index_name}", allow=(404,)) is None
