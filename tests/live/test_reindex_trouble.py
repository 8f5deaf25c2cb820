"""What goes wrong in the middle of a run: a clear error, nothing swapped, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.bulk import send_stream
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.source import count_documents
from tests.live.conftest import Hook, Reindex

SMALL = ("--copy", "--yes", "--batch-size", "5", "--slices", "2")
Front = Callable[[Hook], str]


def fill(client: SearchClient, index: str, count: int = 60, **body: Any) -> None:
    """An index of small documents."""
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.request("PUT", f"/{index}", {"settings": settings, **body})
    actions = [
        ({"index": {"_index": index, "_id": str(n)}}, f'{{"n":{n},"title":"t {n}"}}')
        for n in range(count)
    ]
    assert all(ok for ok, _ in send_stream(client, actions, chunk_size=1000))
    client.request("POST", f"/{index}/_refresh")


def numbers(client: SearchClient, index: str) -> dict[str, Any]:
    """Documents by id."""
    client.request("POST", f"/{index}/_refresh")
    hits = client.search(index, {"size": 1000}).hits
    return {hit.id: json.loads(bytes(hit.source)) for hit in hits}  # type: ignore[arg-type]


def check_and_go_on(client: SearchClient, index: str, alias: str, reindex: Reindex) -> None:
    """The alias is not there, the source is whole, and the same command ends the run."""
    assert client.request("GET", f"/_alias/{alias}", allow=(404,)) is None
    assert count_documents(client, index) == 60
    run = reindex(index, alias, *SMALL, "--json")
    assert run.code == 0, run.err
    assert (run.json["resumed"], run.json["held"]) == (True, 60)
    assert run.json["index"] == f"{alias}-000001"
    assert numbers(client, alias) == numbers(client, index)


def test_credentials_that_expire(
    client: SearchClient, command: Reindex, reindex: Reindex, front: Front, index_name: str
) -> None:
    fill(client, index_name)
    alias = f"{index_name}-er"

    def expire(method: str, path: str, bulks: int) -> tuple[int, dict[str, Any]] | None:
        return (
            (401, {"error": {"type": "security_exception", "reason": "x"}}) if bulks > 3 else None
        )

    run = command("reindex", "--url", front(expire), index_name, alias, *SMALL)
    assert run.code == 4
    assert "The credentials were refused" in run.err
    assert "The same command goes on" in run.err
    check_and_go_on(client, index_name, alias, reindex)


def test_a_full_disk(
    client: SearchClient, command: Reindex, reindex: Reindex, front: Front, index_name: str
) -> None:
    """The block that the flood-stage watermark sets, by the engine itself."""
    fill(client, index_name)
    alias = f"{index_name}-er"
    block = "index.blocks.read_only_allow_delete"

    def flood(method: str, path: str, bulks: int) -> None:
        if bulks == 3 and "_bulk" in path:
            client.request("PUT", f"/{alias}-000001/_settings", {block: True})

    run = command("reindex", "--url", front(flood), index_name, alias, *SMALL)
    assert run.code == 4
    assert "make room" in run.err
    client.request("PUT", f"/{alias}-000001/_settings", {block: None})
    check_and_go_on(client, index_name, alias, reindex)


def test_an_index_that_is_closed_meanwhile(
    client: SearchClient, command: Reindex, reindex: Reindex, front: Front, index_name: str
) -> None:
    fill(client, index_name)
    alias = f"{index_name}-er"

    def close(method: str, path: str, bulks: int) -> None:
        if bulks == 3 and "_bulk" in path:
            client.request("POST", f"/{index_name}/_close")

    run = command("reindex", "--url", front(close), index_name, alias, *SMALL)
    assert run.code == 4, run.err
    assert "is closed" in run.err or "closed" in run.err
    closed = reindex(index_name, alias, *SMALL)
    assert (closed.code, "is closed: open it first" in closed.err) == (2, True)
    client.request("POST", f"/{index_name}/_open")
    client.request("GET", f"/_cluster/health/{index_name}", params={"wait_for_status": "green"})
    check_and_go_on(client, index_name, alias, reindex)


def test_a_red_shard(client: SearchClient, reindex: Reindex, index_name: str) -> None:
    """An index that no node may hold."""
    settings = {"number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}
    client.request(
        "PUT", f"/{index_name}", {"settings": settings}, params={"wait_for_active_shards": 0}
    )
    run = reindex(index_name, f"{index_name}-er", *SMALL)
    assert run.code == 4
    assert "Traceback" not in run.err
    assert client.request("GET", f"/{index_name}-er-000001", allow=(404,)) is None


def test_a_busy_cluster_is_waited_for(
    client: SearchClient, command: Reindex, front: Front, index_name: str
) -> None:
    fill(client, index_name)

    def busy(method: str, path: str, bulks: int) -> tuple[int, dict[str, Any]] | None:
        refuse = bulks in (1, 4) and "_bulk" in path
        return (
            (429, {"error": {"type": "es_rejected_execution", "reason": "x"}}) if refuse else None
        )

    run = command("reindex", "--url", front(busy), index_name, f"{index_name}-er", *SMALL)
    assert run.code == 0, run.err
    assert count_documents(client, f"{index_name}-er") == 60


def test_documents_of_ten_megabytes(
    client: SearchClient, reindex: Reindex, index_name: str
) -> None:
    mappings = {"properties": {"blob": {"type": "object", "enabled": False}}}
    fill(client, index_name, mappings=mappings)
    body = {"title": "large", "blob": {"x": "y" * 10_000_000}}
    for number in range(3):
        client.request("PUT", f"/{index_name}/_doc/large{number}", body)
    client.request("POST", f"/{index_name}/_refresh")
    run = reindex(index_name, f"{index_name}-er", "--copy", "--yes", "--json")
    assert run.code == 0, run.err
    assert run.json["held"] == 63
    copied = client.request("GET", f"/{index_name}-er/_doc/large2")
    assert copied["_source"] == body


def test_mend_and_run_again(
    client: SearchClient, reindex: Reindex, index_name: str, tmp_path: Path
) -> None:
    """A document that does not fit: named with its field, then mended in the source."""
    alias = f"{index_name}-er"
    lenient = {"type": "long", "ignore_malformed": True}
    fill(client, index_name, mappings={"properties": {"title": {"type": "text"}, "size": lenient}})
    for key in ("7", "8"):
        client.request("PUT", f"/{index_name}/_doc/{key}", {"title": "t", "size": "large"})
    strict = {"properties": {"size": {**lenient, "ignore_malformed": False}}}
    client.request("PUT", f"/{index_name}/_mapping", strict)
    client.request("POST", f"/{index_name}/_refresh")
    run = reindex(index_name, alias, *SMALL, "--json")
    assert (run.code, run.json["failed"], run.json["alias_moved"]) == (3, 2, False)
    assert "the field 'size' does not fit its mapping" in run.err
    client.request("PUT", f"/{index_name}/_doc/7", {"title": "t", "size": 3})
    again = reindex(index_name, alias, *SMALL, "--json")
    assert (again.code, again.json["failed"], again.json["read"]) == (3, 1, 1)
    # The mapping is mended in the destination, so the document itself need not change.
    failures = tmp_path / f"{alias}-000001-failures.jsonl"
    loose = {"properties": {"size": lenient}}
    client.request("PUT", f"/{alias}-000001/_mapping", loose)
    last = reindex(index_name, alias, *SMALL, "--json", "--retry-failed", str(failures))
    assert (last.code, last.json["failed"], last.json["alias_moved"]) == (0, 0, True), last.err
    assert numbers(client, alias) == numbers(client, index_name)


@pytest.mark.parametrize("text", ["", '{"no": 1}\n', "nonsense\n"])
def test_a_file_that_is_none_of_failures(
    reindex: Reindex, index_name: str, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text(text)
    run = reindex(index_name, f"{index_name}-er", *SMALL, "--retry-failed", str(file))
    assert run.code == 2
    assert ("no failed document" in run.err) is bool(text)
