"""Killed at any moment, a run ends as one that was not: every document once, and the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from es_rerank.cluster.bulk import send_stream
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.shards import read_shards, read_span
from es_rerank.cluster.source import open_source
from es_rerank.enrich.run.record import COMPLETE, read_record

SETTINGS = {"number_of_shards": 2, "number_of_replicas": 0}
MAPPINGS: dict[str, dict[str, Any]] = {
    "properties": {
        "title": {"type": "text"},
        "part": {"type": "join", "relations": {"product": "offer"}},
        "sizes": {"type": "nested", "properties": {"size": {"type": "keyword"}}},
    }
}


def fill(client: SearchClient, index: str, count: int) -> None:
    """Products with offers as their children where the engine has joins; nested sizes."""
    known = dict(MAPPINGS["properties"])
    if client.kind == "elasticsearch":  # a module that our Elasticsearch lacks
        del known["part"]
    mappings = {"properties": known}
    client.request("PUT", f"/{index}", {"settings": SETTINGS, "mappings": mappings})
    actions = []
    for number in range(count):
        head = {"_index": index, "_id": f"p{number}"}
        source: dict[str, Any] = {"title": f"Shoe {number}", "sizes": [{"size": str(number % 9)}]}
        if client.kind == "opensearch":
            source["part"] = "product"
            if number % 3 == 0 and number:
                head["routing"] = f"p{number - 1}"
                source["part"] = {"name": "offer", "parent": f"p{number - 1}"}
        actions.append(({"index": head}, json.dumps(source)))
    assert all(ok for ok, _ in send_stream(client, actions, chunk_size=1000))
    client.request("POST", f"/{index}/_refresh")


def read_all(client: SearchClient, index: str) -> dict[tuple[str, str | None], Any]:
    """Every document by id and routing, its `es_rerank` with it, but for the times."""
    source = open_source(client, index)
    found: dict[tuple[str, str | None], Any] = {}
    for shard in read_shards(client, source):
        for hits in read_span(client, source.index, shard.number, (0, shard.until), size=1000):
            for hit in hits:
                routing = None if hit.routing is UNSET else json.loads(bytes(hit.routing))
                key = json.loads(bytes(hit.id)), routing
                assert key not in found
                assert hit.source is not UNSET
                found[key] = json.loads(bytes(hit.source))
    for document in found.values():
        for origin in document.get("es_rerank", {}).get("provenance", {}).values():
            del origin["time"]
    return found


def start(url: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "es_rerank", "reindex", *arguments, "--yes", "--url", url]
    return subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_and_run(url: str, folder: Path, kills: int, wait_s: float, *arguments: str) -> int:
    """Kill so many runs, each after a random while, and let the next one end; how many fell."""
    rng = random.Random(kills)
    fell = 0
    for _ in range(kills):
        process = start(url, folder, *arguments)
        try:
            process.communicate(timeout=rng.uniform(0.3, wait_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            fell += 1
        finally:
            process.kill()
            process.communicate()
    process = start(url, folder, *arguments)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return fell


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.soak)])
def test_a_copy_that_is_killed(
    client: SearchClient, index_name: str, tmp_path: Path, kills: int
) -> None:
    fill(client, index_name, 1500 * kills)  # more than a run gets through before it is killed
    alias = f"{index_name}-er"
    arguments = (index_name, alias, "--copy", "--batch-size", "4", "--slices", "2")
    fell = kill_and_run(client.url, tmp_path, kills, 4.0, *arguments)
    assert fell >= kills // 2
    (index,) = client.request("GET", f"/_alias/{alias}")
    if fell == kills:
        assert index == f"{alias}-000001"  # each went on with the first one's
    assert read_all(client, alias) == read_all(client, index_name)
    described = client.request("GET", f"/{index}")[index]
    record = read_record(described["mappings"])
    assert record is not None
    assert record.state == COMPLETE
    assert described["settings"]["index"].get("refresh_interval") is None


def test_an_enrichment_that_is_killed(
    client: SearchClient, index_name: str, tmp_path: Path
) -> None:
    """Equal to a run that was not, vectors and all, and no document is computed anew in vain."""
    fill(client, index_name, 120)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[vector]\n")
    common = ("--recipe", str(recipe), "--batch-size", "3", "--slices", "2")
    kill_and_run(client.url, tmp_path, 2, 8.0, index_name, f"{index_name}-a", *common)
    kill_and_run(client.url, tmp_path, 0, 0, index_name, f"{index_name}-b", *common)
    killed, whole = (read_all(client, f"{index_name}-{name}") for name in "ab")
    assert killed == whole
    assert all(len(source["es_rerank"]["vector"]) == 384 for source in killed.values())


def test_what_is_written_meanwhile_is_caught_up_with(
    client: SearchClient, index_name: str, tmp_path: Path
) -> None:
    """New, changed and deleted documents, all of them while the copy is under way."""
    fill(client, index_name, 2000)
    alias = f"{index_name}-er"
    arguments = (index_name, alias, "--copy", "--batch-size", "4", "--slices", "1")
    process = start(client.url, tmp_path, *arguments)
    try:
        deadline = time.monotonic() + 60
        number = 0
        while process.poll() is None:
            assert time.monotonic() < deadline
            if not client.request("GET", f"/{alias}-000001", allow=(404,)):
                time.sleep(0.02)
                continue
            if number == 40:
                break
            source = {"title": f"Written late {number}"}
            client.request("PUT", f"/{index_name}/_doc/late{number}", source)
            source = {"title": f"Changed {number}"}
            client.request("PUT", f"/{index_name}/_doc/p{3 * number + 1}", source)
            client.request("DELETE", f"/{index_name}/_doc/p{3 * number + 1202}", allow=(404,))
            number += 1
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert number == 40, "the copy was over before the writes were"
    client.request("POST", f"/{index_name}/_refresh")
    client.request("POST", f"/{alias}/_refresh")
    assert read_all(client, alias) == read_all(client, index_name)


def test_a_second_run_that_is_killed(client: SearchClient, index_name: str, tmp_path: Path) -> None:
    """It begins with a clone of the first one's index, whose blocks do not stay."""
    fill(client, index_name, 300)
    alias = f"{index_name}-er"
    arguments = (index_name, alias, "--copy", "--batch-size", "2", "--slices", "1")
    kill_and_run(client.url, tmp_path, 0, 0, *arguments)
    for number in range(1, 150, 3):
        client.request("PUT", f"/{index_name}/_doc/p{number}", {"title": f"Changed {number}"})
    client.request("DELETE", f"/{index_name}/_doc/p200")
    kill_and_run(client.url, tmp_path, 3, 3.0, *arguments)
    client.request("POST", f"/{alias}/_refresh")
    assert read_all(client, alias) == read_all(client, index_name)
    for described in client.request("GET", f"/{alias}-*").values():
        blocks = described["settings"]["index"].get("blocks", {})
        assert blocks.get("write") in (None, "false")
