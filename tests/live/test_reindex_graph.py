"""The graph step against both engines: documents, the graph beside them, and runs that go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rdflib import Graph

from es_rerank.cluster.client import SearchClient
from tests.live.conftest import Reindex
from tests.live.test_reindex_killed import read_all

RECIPE = "[graph]\n"


def product(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "brand": title.split(maxsplit=1)[0], "price": 100.0, **more}


PRODUCTS: dict[str, dict[str, Any]] = {
    "p1": product("Acme Nova 5 Phone Black 64 GB", type="phone", color="black", size="64 GB"),
    "p2": product("Acme Nova 5 Phone White 128 GB", type="phone", color="white", size="128 GB"),
    "p3": product("Zeta Orbit 7 Phone Black 64 GB", type="phone", color="black", size="64 GB"),
    "p4": product("Case for Acme Nova 5, Red", type="case", brand="Hull", color="red"),
    "p5": product("Zeta Kettle 1.5 l", type="kettle", price=30.0),
}


def fill(client: SearchClient, index: str) -> None:
    keyword = {"type": "keyword"}
    properties = dict.fromkeys(("brand", "type", "color", "size"), keyword)
    mappings = {"properties": {**properties, "title": {"type": "text"}, "price": {"type": "float"}}}
    settings = {"number_of_shards": 2, "number_of_replicas": 0}
    client.request("PUT", f"/{index}", {"settings": settings, "mappings": mappings})
    for key, source in PRODUCTS.items():
        client.request("PUT", f"/{index}/_doc/{key}", source)
    client.request("POST", f"/{index}/_refresh")


def edges(found: dict[Any, Any], key: str) -> dict[str, list[str]]:
    own = found[key, None]["es_rerank"]["graph"]
    return {
        name: own[name]
        for name in ("variant_of", "similar_to", "accessory_of", "goes_with")
        if name in own
    }


def nodes(client: SearchClient, index: str) -> dict[str, Any]:
    client.request("POST", f"/{index}/_refresh")
    hits = client.search(index, {"size": 1000, "query": {"match_all": {}}}).hits
    return {hit.id: json.loads(bytes(hit.source)) for hit in hits}  # type: ignore[arg-type]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_documents_and_nodes(
    client: SearchClient, reindex: Reindex, index_name: str, recipe: Path
) -> None:
    fill(client, index_name)
    alias = f"{index_name}-er"
    arguments = (index_name, alias, "--yes", "--json", "--recipe", str(recipe))
    first = reindex(*arguments)
    assert first.code == 0, first.err
    found = read_all(client, alias)
    assert edges(found, "p1") == {
        "variant_of": ["p2"],
        "similar_to": ["p3"],
        "goes_with": ["p4"],
    }
    assert edges(found, "p4") == {"accessory_of": ["p1"]}
    reasons = {
        edge["predicate"]: edge["reason"]
        for edge in found["p1", None]["es_rerank"]["graph"]["edges"]
    }
    assert "colour white, here black" in reasons["variant_of"]
    assert reasons["goes_with"] == "it is made for Acme Nova 5"
    graph = nodes(client, f"{alias}-graph")
    assert set(graph) == {
        *(f"product:{key}" for key in PRODUCTS),
        *(f"brand:{name}" for name in ("acme", "zeta", "hull")),
        *(f"type:{name}" for name in ("phone", "case", "kettle")),
        *(f"attribute:{name}" for name in ("colour", "size")),
    }
    assert graph["brand:zeta"]["products"] == 2
    fits = {"term": {"triples": "accessory_of product:p1"}}
    assert [hit.id for hit in client.search(f"{alias}-graph", {"query": fits}).hits] == [
        "product:p4"
    ]


def test_a_second_run_writes_nothing_and_a_change_reaches_its_neighbours(
    client: SearchClient, reindex: Reindex, index_name: str, recipe: Path
) -> None:
    fill(client, index_name)
    alias = f"{index_name}-er"
    arguments = (index_name, alias, "--yes", "--json", "--recipe", str(recipe))
    assert reindex(*arguments).code == 0
    before = client.request("GET", f"/{alias}-graph/_stats/docs")["indices"]
    second = reindex(*arguments)
    assert (second.code, second.json["written"], second.json["enriched"]) == (0, 0, 0), second.err
    (name,) = client.request("GET", f"/_alias/{alias}-graph")
    assert name == f"{alias}-graph-000002"
    assert list(before) == [f"{alias}-graph-000001"]
    client.request("DELETE", f"/{index_name}/_doc/p2")
    client.request("PUT", f"/{index_name}/_doc/p5", product("Zeta Jug 2 l", type="jug"))
    third = reindex(*arguments)
    assert third.code == 0, third.err
    found = read_all(client, alias)
    assert edges(found, "p1") == {"similar_to": ["p3"], "goes_with": ["p4"]}
    graph = nodes(client, f"{alias}-graph")
    assert "product:p2" not in graph
    assert "type:kettle" not in graph
    assert graph["type:jug"]["products"] == 1
    anew = reindex(index_name, f"{index_name}-anew", *arguments[2:])
    assert anew.code == 0
    assert read_all(client, f"{index_name}-anew") == found
    assert nodes(client, f"{index_name}-anew-graph") == graph


def test_the_graph_goes_with_its_version(
    client: SearchClient, reindex: Reindex, command: Reindex, index_name: str, recipe: Path
) -> None:
    fill(client, index_name)
    alias = f"{index_name}-er"
    arguments = (index_name, alias, "--yes", "--json")
    assert reindex(*arguments, "--recipe", str(recipe)).code == 0
    assert reindex(*arguments, "--copy").code == 0
    assert client.request("GET", f"/_alias/{alias}-graph", allow=(404,)) is None
    url = ("--url", client.url)
    assert command("index", "rollback", alias, *url).code == 0
    assert list(client.request("GET", f"/_alias/{alias}-graph")) == [f"{alias}-graph-000001"]
    assert command("index", "swap", alias, "2", *url).code == 0
    assert command("index", "prune", alias, "--keep", "0", "--yes", *url).code == 0
    assert client.request("GET", f"/{alias}-graph-000001", allow=(404,)) is None


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_shown_and_exported(
    client: SearchClient, reindex: Reindex, command: Reindex, index_name: str, recipe: Path
) -> None:
    fill(client, index_name)
    alias, url = f"{index_name}-er", ("--url", client.url)
    nothing = command("graph", "show", alias, "p1", *url)
    assert nothing.code == 2
    assert "no graph" in nothing.err
    assert reindex(index_name, alias, "--yes", "--json", "--recipe", str(recipe)).code == 0
    shown = command("graph", "show", alias, "p1", *url)
    assert shown.code == 0, shown.err
    assert "Acme Nova 5 Phone White 128 GB" in shown.out
    assert "it is made for Acme Nova 5" in shown.out
    told = command("graph", "show", alias, "p1", "--json", *url).json
    assert {edge["object"] for edge in told["edges"]} >= {"product:p2", "brand:acme"}
    assert command("graph", "show", alias, "p9", *url).code == 2
    sizes = set()
    for form, parsed in (("turtle", "turtle"), ("ntriples", "nt"), ("jsonld", "json-ld")):
        done = command("graph", "export", alias, "--format", form, *url)
        assert done.code == 0, done.err
        sizes.add(len(Graph().parse(data=done.out, format=parsed)))
    assert len(sizes) == 1
    assert min(sizes) > 50
