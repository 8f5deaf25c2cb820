from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.errors import ClusterError, DataError
from es_rerank.evaluation.runs import Endpoint, collect, rankings, read_run, write_run

FOUND = {
    "took": 3,
    "timed_out": False,
    "_shards": {"total": 1, "failed": 0},
    "hits": {"hits": [{"_id": "b"}, {"_id": "a"}]},
}


class Engine(ThreadingHTTPServer):
    """A server on a real socket that gives one answer and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.headers = status, headers
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
        pass


@contextmanager
def serving(
    answer: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Iterator[Engine]:
    with Engine(status, answer, headers or {}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_collect_asks_for_every_query_and_keeps_the_order() -> None:
    bodies = {"laptop": {"size": 2}, "desk lamp": {"size": 3}}
    seen: list[str] = []
    with serving(FOUND, headers={"X-Es-Rerank": "applied"}) as server:
        endpoint = Endpoint(server.url + "/", {"authorization": "ApiKey k"})
        answers = collect(endpoint, "shop-<a>", bodies, seen.append)
        endpoint.close()
    assert rankings(answers) == {"laptop": ["b", "a"], "desk lamp": ["b", "a"]}
    assert seen == ["laptop", "desk lamp"]
    assert answers["laptop"].took_ms == 3
    assert answers["laptop"].elapsed_ms > 0
    assert answers["laptop"].outcome == "applied"
    path, headers, body = server.asked[1]
    assert path == "/shop-%3Ca%3E/_search"
    assert headers["authorization"] == "ApiKey k"
    assert body == {"size": 3}


def test_an_engines_own_answer_has_no_outcome() -> None:
    with serving(FOUND) as server:
        assert Endpoint(server.url).search("shop", {}).outcome == ""


@pytest.mark.parametrize(
    ("answer", "status", "complaint"),
    [
        ({"error": {"reason": "no such index"}}, 404, "status 404.*no such index"),
        ({**FOUND, "timed_out": True}, 200, "part of the hits"),
        ({**FOUND, "_shards": {"total": 2, "failed": 1}}, 200, "part of the hits"),
        (b"<html>", 200, "not with a search answer"),
        ({"hits": []}, 200, "not with a search answer"),
        ([], 200, "not with a search answer"),
    ],
)
def test_an_answer_that_must_not_be_measured_is_refused(
    answer: Any, status: int, complaint: str
) -> None:
    with serving(answer, status) as server, pytest.raises(ClusterError, match=complaint):
        Endpoint(server.url).search("shop", {})


def test_a_server_that_is_gone_is_named() -> None:
    with serving(FOUND) as server:
        url = server.url
    with pytest.raises(ClusterError, match=f"{url}/shop/_search did not answer"):
        Endpoint(url).search("shop", {})


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(run=st.dictionaries(WORDS, st.lists(WORDS, unique=True, min_size=1, max_size=12)))
def test_a_written_run_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, run: dict[str, list[str]]
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.trec"
    write_run(path, run)
    assert read_run(path) == run


def test_a_run_is_of_trecs_form(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"flat screen tv": ["7", "9"]}, tag="bm25")
    assert (tmp_path / "run").read_text().splitlines() == [
        "flat%20screen%20tv Q0 7 1 2 bm25",
        "flat%20screen%20tv Q0 9 2 1 bm25",
    ]


def test_a_run_is_read_by_score_not_by_place(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("1 Q0 a 1 0.5 x\n2 Q0 d 1 1 x\n\n1 Q0 b 2 0.9 x\n1\tQ0\tc 3 0.5 x\n")
    assert read_run(path) == {"1": ["b", "a", "c"], "2": ["d"]}


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("1 Q0 a 1 0.5 x\n1 Q0 a first 0.5 x\n")
    with pytest.raises(DataError, match="Line 2"):
        read_run(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "absent")
    with pytest.raises(DataError, match="empty id"):
        write_run(path, {"": ["a"]})
