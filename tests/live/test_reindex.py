"""`es-rerank reindex` against real engines: nothing lost, nothing changed, the alias last."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.bulk import send_stream
from es_rerank.cluster.client import SearchClient, connect
from es_rerank.cluster.fields import find_fields
from es_rerank.cluster.source import count_documents, open_source, read_documents
from es_rerank.engine.node import boot
from tests.live.conftest import Reindex

SHARDS = 5
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "title": {"type": "text", "analyzer": "shop"},
        "description": {"type": "text"},
        "brand": {"type": "keyword"},
        "price": {"type": "float"},
        "version": {"type": "keyword"},
        "offers": {"type": "nested", "properties": {"seller": {"type": "keyword"}}},
    },
}
SETTINGS: dict[str, Any] = {
    "number_of_shards": SHARDS,
    "number_of_replicas": 0,
    "refresh_interval": "7s",
    "analysis": {"analyzer": {"shop": {"type": "custom", "tokenizer": "standard"}}},
}
SOURCES = (
    '{"title":"Red running shoe %d","brand":"Aurora","price":10.50,"version":1.10}',
    '{"title":"红色跑鞋 %d 号","description":"轻便。防滑！舒适。","brand":null}',
    '{"title":["Zapato rojo %d",null,"für Läufer"],"offers":[{"seller":"a"},{}]}',
    '{"description":"<p>no title</p> %d"}',
    '{"price":%d}',
    '{"title":null,"description":[],"version":1234567890123456789012345678901%d}',
)


# The keys of --json are a contract.
PLAN_KEYS = {
    "engine",
    "engine_version",
    "source",
    "alias",
    "alias_before",
    "index",
    "documents",
    "text_fields",
    "attribute_fields",
    "price_field",
    "model",
    "dry_run",
    "resumed",
    "steps",
}
RESULT_KEYS = {
    "read",
    "written",
    "failed",
    "enriched",
    "reused",
    "removed",
    "held",
    "failures",
    "failures_file",
    "alias_moved",
    "alias_kept_because",
    "duration_s",
    "documents_per_s",
}
SAMPLE_KEYS = {
    *("samples", "estimated_s", "estimated_cost", "estimated_tokens", "documents_per_s"),
}


TEMPLATES = ("/_index_template/es-rerank", "/_component_template/es-rerank-fields")


def _fill(client: SearchClient, index: str, count: int, **changed: Any) -> dict[str, str]:
    """Make an index of `count` documents; a third with a routing. Returns sources by id."""
    settings = {**SETTINGS, **changed.get("settings", {})}
    mappings = changed.get("mappings", MAPPINGS)
    client.request("PUT", f"/{index}", {"settings": settings, "mappings": mappings})
    sources = {f"id {n}/é": SOURCES[n % len(SOURCES)] % n for n in range(count)}
    actions = []
    for number, (key, source) in enumerate(sources.items()):
        routing = {"routing": f"r{number % 11}"} if number % 3 == 0 else {}
        actions.append(({"index": {"_index": index, "_id": key, **routing}}, source))
    assert all(ok for ok, _ in send_stream(client, actions, chunk_size=1000))
    client.request("POST", f"/{index}/_refresh")
    return sources


def _aliased(client: SearchClient, alias: str) -> list[str]:
    return sorted(client.request("GET", f"/_alias/{alias}", allow=(404,)) or {})


def _indices(client: SearchClient, start: str) -> list[str]:
    return sorted(client.request("GET", f"/{start}*") or {})


@pytest.mark.parametrize("page_size", [97, 1000])
def test_every_document_of_five_shards_is_read_once(
    client: SearchClient, index_name: str, page_size: int
) -> None:
    sources = _fill(client, index_name, 4001)
    source = open_source(client, index_name)
    assert source.shards == SHARDS
    reader = read_documents(client, source, page_size=page_size)
    read = [next(reader)]
    # What happens after the point in time was opened must not be seen.
    other = {"index": {"_index": index_name, "_id": "late"}}
    gone = f"/{index_name}/_delete_by_query" if client.kind == "opensearch" else None
    assert all(ok for ok, _ in send_stream(client, [(other, '{"price": 1}')], chunk_size=1))
    if gone:
        query = {"query": {"match_all": {}}, "max_docs": 500}
        client.request("POST", gone, query, params={"refresh": True})
    client.request("POST", f"/{index_name}/_refresh")
    read += list(reader)
    assert len(read) == len(sources)
    assert {document.id: document.raw.decode() for document in read} == sources
    routed = [document for document in read if document.routing is not None]
    assert len(routed) == (len(sources) + 2) // 3


def test_enriched_and_otherwise_unchanged(
    client: SearchClient, reindex: Reindex, index_name: str
) -> None:
    alias = f"{index_name}-er"
    sources = _fill(client, index_name, 300)
    run = reindex(index_name, alias, "--yes", "--json", "--batch-size", "64")
    assert run.code == 0, run.err
    index = f"{alias}-000001"
    answer = run.json
    assert {key: answer[key] for key in ("source", "alias", "index", "alias_before")} == {
        "source": index_name,
        "alias": alias,
        "index": index,
        "alias_before": [],
    }
    assert (answer["read"], answer["written"], answer["failed"]) == (300, 300, 0)
    assert (answer["alias_moved"], answer["failures_file"]) == (True, None)
    assert set(answer) == PLAN_KEYS | RESULT_KEYS
    assert _aliased(client, alias) == [index]
    assert count_documents(client, alias) == 300

    # Every document: its own bytes, its id, its routing.
    before = {d.id: d for d in read_documents(client, open_source(client, index_name))}
    after = {d.id: d for d in read_documents(client, open_source(client, alias))}
    assert {key: document.raw.decode() for key, document in after.items()} == sources
    assert {k: d.routing for k, d in after.items()} == {k: d.routing for k, d in before.items()}

    # The mapping and the settings came along; what the proxy needs stands in `_meta`.
    described = client.request("GET", f"/{index}", params={"flat_settings": True})[index]
    assert described["settings"]["index.number_of_shards"] == str(SHARDS)
    assert described["settings"]["index.refresh_interval"] == "7s"
    mappings = described["mappings"]
    assert mappings["properties"]["title"] == {"type": "text", "analyzer": "shop"}
    meta = mappings["_meta"]["es_rerank"]
    assert meta["text_fields"] == ["title", "description"]
    assert meta["template"] == "{title}. {description}"
    assert (meta["dimensions"], meta["source"]) == (384, index_name)
    fields = find_fields(mappings)
    assert fields.attributes == ("brand", "offers.seller")
    assert (fields.price, fields.vector) == ("price", "es_rerank.vector")
    assert (fields.code, fields.model) == ("es_rerank.code", "all-MiniLM-L6-v2")

    # The vector is there, searchable, and the same as the code.
    body = {
        "size": 200,
        "query": {"exists": {"field": "es_rerank.vector"}},
        "docvalue_fields": ["es_rerank.code"],
        "_source": ["es_rerank"],
    }
    hits = _raw_search(client, alias, body)
    assert len(hits) == 200  # four of each six have text
    for hit in hits[:10]:
        vector = hit["_source"]["es_rerank"]["vector"]
        code = base64.b64decode(hit["fields"]["es_rerank.code"][0])
        signed = [value - 256 if value > 127 else value for value in code]
        largest = max(map(abs, vector))
        assert [round(127 * value / largest) for value in vector] == pytest.approx(signed, abs=1)
    wanted = hits[0]["_source"]["es_rerank"]["vector"]
    found = _raw_search(client, alias, {"size": 1, **_knn(client, wanted)})
    assert found[0]["_source"]["es_rerank"]["vector"] == wanted


def _knn(client: SearchClient, vector: list[float]) -> dict[str, Any]:
    if client.kind == "opensearch":
        return {"query": {"knn": {"es_rerank.vector": {"vector": vector, "k": 5}}}}
    field = "es_rerank.vector"
    return {"knn": {"field": field, "query_vector": vector, "k": 5, "num_candidates": 50}}


def _raw_search(client: SearchClient, index: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All of each hit, also what the client does not read."""
    import urllib3

    answer = urllib3.request("POST", f"{client.url}/{index}/_search", json=body)
    assert answer.status == 200, answer.data
    hits: list[dict[str, Any]] = answer.json()["hits"]["hits"]
    return hits


def test_again_and_again(client: SearchClient, reindex: Reindex, index_name: str) -> None:
    alias = f"{index_name}-er"
    _fill(client, index_name, 30)
    assert reindex(index_name, alias, "--yes").code == 0
    client.request("PUT", f"/{index_name}/_doc/new", {"title": "New"}, params={"refresh": True})
    second = reindex(index_name, alias, "--yes")
    assert second.code == 0
    assert f"The alias {alias} stands for {alias}-000002 now." in second.out
    assert f"curl -X DELETE '{client.url}/{alias}-000001'" in second.out
    assert _aliased(client, alias) == [f"{alias}-000002"]
    assert count_documents(client, alias) == 31
    # From the alias to itself: enriched anew, not twice.
    third = reindex(alias, alias, "--yes", "--json", "--text-field", "title")
    assert third.code == 0, third.err
    assert third.json["alias_before"] == [f"{alias}-000002"]
    versions = [f"{alias}-00000{number}" for number in (1, 2, 3)]
    assert _indices(client, alias) == versions  # none deleted
    assert [count_documents(client, name) for name in versions] == [30, 31, 31]
    meta = client.request("GET", f"/{versions[2]}")[versions[2]]["mappings"]["_meta"]["es_rerank"]
    assert meta["text_fields"] == ["title"]


def test_failed_documents(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path
) -> None:
    """A date that is malformed, from when the mapping still let it pass."""
    alias = f"{index_name}-er"
    lenient = {"type": "date", "ignore_malformed": True}
    mappings = {"properties": {"title": {"type": "text"}, "released": lenient}}
    _fill(client, index_name, 0, mappings=mappings)
    actions = [
        ({"index": {"_index": index_name, "_id": str(n)}}, json.dumps({"title": f"t{n}", **extra}))
        for n, extra in enumerate([{}, {"released": "soon"}] * 8)
    ]
    assert all(ok for ok, _ in send_stream(client, actions, chunk_size=100))
    strict = {"properties": {"released": {**lenient, "ignore_malformed": False}}}
    client.request("PUT", f"/{index_name}/_mapping", strict)
    client.request("POST", f"/{index_name}/_refresh")

    run = reindex(index_name, alias, "--yes", "--json", "--batch-size", "5")
    assert run.code == 3
    answer = run.json
    assert (answer["read"], answer["written"], answer["failed"]) == (16, 8, 8)
    assert answer["alias_moved"] is False
    assert _aliased(client, alias) == []
    assert len(answer["failures"]) == 5
    assert answer["failures"][0]["field"] == "released"
    assert "8 documents failed" in run.err
    first = answer["failures"][0]
    assert f"{first['id']}: document_parsing_exception" in run.err or "mapper_parsing" in run.err
    lines = (tmp_path / answer["failures_file"]).read_text().splitlines()
    failures = [json.loads(line) for line in lines]
    assert {failure["id"] for failure in failures} == {str(n) for n in range(1, 16, 2)}
    assert all("released" in failure["reason"] for failure in failures)
    assert all(failure["status"] == 400 for failure in failures)

    accepted = reindex(index_name, alias, "--yes", "--accept-failures")
    assert accepted.code == 3
    assert _aliased(client, alias) == [f"{alias}-000001"]


def test_dry_run_writes_nothing(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path
) -> None:
    _fill(client, index_name, 40)
    run = reindex(index_name, f"{index_name}-er", "--dry-run", "--json")
    assert run.code == 0, run.err
    assert (run.json["dry_run"], run.json["documents"]) == (True, 40)
    assert set(run.json) == PLAN_KEYS | SAMPLE_KEYS
    samples = run.json["samples"]
    assert len(samples) == 3
    assert any("summary" in sample["_source"]["es_rerank"] for sample in samples)
    assert _indices(client, index_name) == [index_name]
    assert "write" in run.err
    assert f"{index_name}-er-000001" in run.err
    assert list(tmp_path.iterdir()) == []


def test_a_limited_run_leaves_the_alias(
    client: SearchClient, reindex: Reindex, index_name: str
) -> None:
    _fill(client, index_name, 40)
    alias = f"{index_name}-er"
    limited = reindex(index_name, alias, "--yes", "--limit", "7", "--json")
    assert limited.code == 0, limited.err
    assert (limited.json["written"], limited.json["alias_moved"]) == (7, False)
    assert "--limit" in limited.json["alias_kept_because"]
    assert _aliased(client, alias) == []
    whole = reindex(index_name, alias, "--yes", "--limit", "40", "--json")
    assert (whole.json["written"], whole.json["alias_moved"]) == (40, True)


def test_what_will_not_do_is_said_before_anything_is_written(
    client: SearchClient, reindex: Reindex, index_name: str
) -> None:
    _fill(client, index_name, 3)
    _fill(client, f"{index_name}-2", 3)
    here = _indices(client, index_name)
    for arguments, says in (
        (("absent-index", "x"), "There is no index 'absent-index'"),
        ((index_name, f"{index_name}-2"), "is an index, not an alias"),
        ((f"{index_name}*", f"{index_name}-er"), "stands for 2 indices"),
        ((index_name, f"{index_name}-er", "--text-field", "titel"), "no field 'titel'"),
        ((index_name, "Upper Case"), "cannot name an index"),
    ):
        run = reindex(*arguments, "--yes")
        assert run.code == 2, run.err
        assert says in run.err
    assert _indices(client, index_name) == here
    bare = {"properties": {"sku": {"type": "keyword"}}}
    _fill(client, f"{index_name}-3", 0, mappings=bare)
    assert "No text field" in reindex(f"{index_name}-3", f"{index_name}-er", "--yes").err
    lossy = {"_source": {"excludes": ["b"]}, "properties": {"title": {"type": "text"}}}
    _fill(client, f"{index_name}-4", 0, mappings=lossy)
    assert "would lose fields" in reindex(f"{index_name}-4", f"{index_name}-er", "--yes").err


def test_a_run_that_nobody_watches_has_to_say_yes(
    client: SearchClient, reindex: Reindex, index_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(client, index_name, 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    run = reindex(index_name, f"{index_name}-er")
    assert (run.code, "add --yes" in run.err) == (2, True)
    assert _indices(client, index_name) == [index_name]


def test_a_source_at_its_limit_of_fields(
    client: SearchClient, reindex: Reindex, index_name: str
) -> None:
    _fill(client, index_name, 6, settings={"index.mapping.total_fields.limit": 7})
    alias = f"{index_name}-er"
    for _ in range(2):
        run = reindex(index_name, alias, "--yes")
        assert run.code == 0, run.err


def test_an_empty_index(client: SearchClient, reindex: Reindex, index_name: str) -> None:
    _fill(client, index_name, 0)
    try:
        run = reindex(index_name, f"{index_name}-er", "--yes", "--json", "--install-templates")
        assert run.code == 0, run.err
        assert (run.json["written"], run.json["alias_moved"]) == (0, True)
        for path in TEMPLATES:
            assert client.request("GET", path)
    finally:
        for path in TEMPLATES:
            client.request("DELETE", path, allow=(404,))


@pytest.mark.live
def test_an_engine_that_dies_midway(tmp_path: Path) -> None:
    """The error is the one that ended the run, the code 4, and the leftover is named."""
    with boot("opensearch", heap="512m") as node:
        with closing(connect(node.url)) as client:
            _fill(client, "shop", 3000)
        command = [sys.executable, "-m", "es_rerank", "reindex", "shop", "er", "--yes"]
        process = subprocess.Popen(
            [*command, "--batch-size", "16", "--url", node.url],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        try:
            assert process.stderr is not None
            said = ""
            while "docs/s" not in said:  # documents are being written
                line = process.stderr.readline()
                assert line, said
                said += line
            os.kill(node.pid, signal.SIGKILL)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 4, said + rest
    assert "er-000001 is incomplete; the alias er was not touched." in rest
    assert "stopped answering during " in rest
    assert "Traceback" not in rest


def test_interrupted(client: SearchClient, index_name: str, tmp_path: Path) -> None:
    _fill(client, index_name, 3000)
    alias = f"{index_name}-er"
    command = [sys.executable, "-m", "es_rerank", "reindex", index_name, alias, "--yes"]
    process = subprocess.Popen(
        [*command, "--batch-size", "16", "--url", client.url],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        deadline = time.monotonic() + 120
        while not client.request("GET", f"/{alias}-000001", allow=(404,)):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert f"{alias}-000001 is incomplete; the alias {alias} was not touched." in err
    assert f"curl -X DELETE '{client.url}/{alias}-000001'" in err
    assert "Traceback" not in err
    assert _indices(client, alias) == [f"{alias}-000001"]
    assert _aliased(client, alias) == []
