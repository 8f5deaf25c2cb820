"""Bulk writing against a cluster that is busy, refuses, or goes away: a real socket, no engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from es_rerank.cluster.bulk import Action, Pace
from es_rerank.cluster.client import SearchClient, connect
from es_rerank.cluster.sink import Failure, encode_patch, find_field, index_action, write_actions
from es_rerank.errors import ClusterError

Answer = Callable[[list[dict[str, Any]]], tuple[int, dict[str, Any]]]
VERSIONS: dict[str, dict[str, str]] = {
    "opensearch": {"number": "2.19.1", "distribution": "opensearch"},
    "elasticsearch": {"number": "9.0.0"},
}
REFUSAL = {"type": "mapper_parsing_exception", "reason": "no", "caused_by": {"reason": "why"}}


class Bulk:
    """A cluster that answers `_bulk` as `answer` says and remembers what it was sent."""

    def __init__(self, kind: str, answer: Answer) -> None:
        self.lines: list[list[dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200, {"version": VERSIONS[kind]})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                lines = [json.loads(line) for line in body.splitlines()]
                outer.lines.append(lines)
                self._send(*answer(lines))

            do_PUT = do_POST  # noqa: N815

            def _send(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                if kind == "elasticsearch":
                    self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(params=list(VERSIONS))
def cluster(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[Answer], tuple[Bulk, SearchClient]]]:
    """Start such a cluster of each kind and connect to it."""
    started: list[Bulk | SearchClient] = []

    def start(answer: Answer) -> tuple[Bulk, SearchClient]:
        bulk = Bulk(request.param, answer)
        client = connect(bulk.url, timeout_s=5)
        started.extend((client, bulk))
        return bulk, client

    yield start
    for thing in started:
        thing.close()


Start = Callable[[Answer], tuple[Bulk, SearchClient]]


def _actions(count: int) -> list[Action]:
    return [
        index_action(f'"{n}"'.encode(), b'"r"' if n % 2 else None, n, b'{"v": 1.10}\n')
        for n in range(count)
    ]


def _write(client: SearchClient, count: int, pace: Pace | None = None) -> dict[int, Failure]:
    return dict(write_actions(client, "i", _actions(count), pace or Pace()))


def _items(lines: list[dict[str, Any]], refused: dict[str, int]) -> dict[str, Any]:
    items = []
    for line in lines[::2]:
        key = line["index"]["_id"]
        status = refused.get(key, 201)
        error = {"error": REFUSAL} if status != 201 else {}
        items.append({"index": {"_id": key, "status": status, **error}})
    return {"errors": bool(refused), "items": items}


def test_what_is_sent(cluster: Start) -> None:
    bulk, client = cluster(lambda lines: (200, _items(lines, {})))
    assert _write(client, 2) == {}
    version = {"version_type": "external_gte"}
    assert bulk.lines == [
        [
            {"index": {"_id": "0", "version": 0, **version}},
            {"v": 1.10},
            {"index": {"_id": "1", "routing": "r", "version": 1, **version}},
            {"v": 1.10},
        ]
    ]


def test_refused_documents_are_reported_and_the_rest_written(cluster: Start) -> None:
    _, client = cluster(lambda lines: (200, _items(lines, {"1": 400})))
    failure = Failure("1", 400, "mapper_parsing_exception", "no: why", "r")
    assert _write(client, 3) == {1: failure}


def test_a_later_state_that_is_there_already_is_no_failure(cluster: Start) -> None:
    _, client = cluster(lambda lines: (200, _items(lines, {"1": 409})))
    assert _write(client, 3) == {}


def test_what_is_too_many_is_sent_again(cluster: Start) -> None:
    calls = iter([{"1": 429, "2": 429}, {"2": 429}, {}])
    bulk, client = cluster(lambda lines: (200, _items(lines, next(calls))))
    pace = Pace(documents=4)
    assert _write(client, 4, pace) == {}
    sent = [[line["index"]["_id"] for line in lines[::2]] for lines in bulk.lines]
    assert sent == [["0", "1", "2", "3"], ["1", "2"], ["2"]]
    assert bulk.lines[1][1] == bulk.lines[0][3]  # the same document
    assert pace.refusals == 2
    assert pace.documents < 4  # and fewer at a time from then on


def test_a_busy_cluster_gets_smaller_requests_and_then_larger_ones_again(cluster: Start) -> None:
    def answer(lines: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        return (429, {"error": "busy"}) if len(bulk.lines) <= 2 else (200, _items(lines, {}))

    bulk, client = cluster(answer)
    pace = Pace(documents=16)
    assert _write(client, 40, pace) == {}
    assert [len(lines) // 2 for lines in bulk.lines[:3]] == [16, 16, 16]
    taken = [len(lines) // 2 for lines in bulk.lines[3:]]
    assert sum(taken) == 40 - 16
    assert taken[0] == 4 + 4 // 8 + 1  # halved twice, and once taken
    assert taken == sorted(taken) or taken[:-1] == sorted(taken[:-1])


BLOCK = {
    "type": "cluster_block_exception",
    "reason": "index [i] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage "
    "watermark, index has read-only-allow-delete block];",
}


@pytest.mark.parametrize("status", [403, 429])
def test_a_full_disk_ends_the_run_at_once(cluster: Start, status: int) -> None:
    """OpenSearch answers 403, Elasticsearch 429: waiting for a minute would be no help."""

    def answer(lines: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        item = {"index": {"_id": "0", "status": status, "error": BLOCK}}
        return 200, {"errors": True, "items": [item] * (len(lines) // 2)}

    bulk, client = cluster(answer)
    with pytest.raises(ClusterError, match=r"flood-stage.*make room"):
        _write(client, 3)
    assert len(bulk.lines) == 1


@pytest.mark.parametrize(
    ("reason", "field"),
    [
        ("failed to parse field [a.b] of type [date] in document with id '1'", "a.b"),
        ("[1:9] mapping set to strict, dynamic introduction of [x] within [_doc] is no", "x"),
        ("mapping set to strict, dynamic introduction of [x] within [a] is not allowed", "a.x"),
        ("object mapping for [a] tried to parse field [a] as object", "a"),
        ("mapper [a.b] cannot be changed from type [long] to [text]", "a.b"),
        ('Document contains at least one immense term in field="c" (whose', "c"),
        ("something else", None),
    ],
)
def test_the_field_that_does_not_fit_is_named(reason: str, field: str | None) -> None:
    assert find_field(reason) == field


def test_a_request_that_is_too_large_is_cut(cluster: Start) -> None:
    """Down to the one document that is too large by itself."""

    def answer(lines: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        keys = [line["index"]["_id"] for line in lines[::2]]
        return (413, {"error": "no"}) if "2" in keys else (200, _items(lines, {}))

    _, client = cluster(answer)
    ((place, failure),) = _write(client, 4).items()
    assert place == 2
    assert (failure.status, failure.type) == (413, "document_too_large")


@pytest.mark.parametrize(("status", "says"), [(401, "credentials"), (403, "privilege")])
def test_a_request_that_is_refused_as_a_whole(cluster: Start, status: int, says: str) -> None:
    _, client = cluster(lambda _: (status, {"error": "no"}))
    with pytest.raises(ClusterError, match=says):
        _write(client, 1)


def test_a_cluster_that_goes_away(cluster: Start) -> None:
    bulk, client = cluster(lambda lines: (200, _items(lines, {})))
    with closing(client):
        bulk.close()
        with pytest.raises(ClusterError, match="stopped answering") as caught:
            _write(client, 1)
    assert caught.value.exit_code == 4


def test_a_patch_is_encoded_exactly() -> None:
    row = np.array([0.1, 1 / 3, -1e-7], dtype=np.float32)
    encoded = json.loads(encode_patch({"vector": row, "title": "鞋"}))
    assert encoded["title"] == "鞋"
    np.testing.assert_array_equal(np.array(encoded["vector"], dtype=np.float32), row)
