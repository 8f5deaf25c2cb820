"""`es-rerank try` on an index that nobody has enriched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import urllib3

from es_rerank.demo import sample
from es_rerank.engine.node import Node

PRODUCTS = 150


def fill(engine: Node, index: str) -> None:
    products = sample.load_products(with_reviews=False)[:PRODUCTS]
    lines = []
    for product in products:
        lines += [json.dumps({"index": {"_index": index, "_id": product["id"]}})]
        lines += [json.dumps(product)]
    urllib3.request("PUT", f"{engine.url}/{index}", json={"mappings": sample.MAPPING})
    answer = urllib3.request(
        "POST",
        f"{engine.url}/_bulk?refresh=true",
        body="\n".join(lines) + "\n",
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.json()["errors"] is False


def run_try(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "es_rerank", "try", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_before_and_after_without_configuration(
    engine: Node, index_name: str, tmp_path: Path
) -> None:
    fill(engine, index_name)
    done = run_try(tmp_path, engine.url, index_name, "black running shoes", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["fields"] == ["title", "description"]
    assert shown["before"]["mark"] == "skipped; reason=disabled"
    assert shown["after"]["mark"] == "applied"
    assert len(shown["before"]["hits"]) == len(shown["after"]["hits"]) == 10
    before = [hit["_id"] for hit in shown["before"]["hits"]]
    assert before != [hit["_id"] for hit in shown["after"]["hits"]]
    straight = urllib3.request(
        "POST",
        f"{engine.url}/{index_name}/_search",
        json={
            "query": {"multi_match": {"query": "black running shoes", "fields": shown["fields"]}}
        },
    ).json()
    assert before == [hit["_id"] for hit in straight["hits"]["hits"]]


def test_the_lists_stand_beside_each_other(engine: Node, index_name: str, tmp_path: Path) -> None:
    fill(engine, index_name)
    done = run_try(tmp_path, engine.url, index_name, "black running shoes", "--size", "3")
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert "after" in done.stdout
    assert "applied" in done.stdout


def test_an_index_that_is_not_there(engine: Node, tmp_path: Path) -> None:
    done = run_try(tmp_path, engine.url, "no-such-index", "shoes")
    assert done.returncode == 4
    assert "there is no index 'no-such-index'" in done.stderr
    assert "_cat/indices" in done.stderr
