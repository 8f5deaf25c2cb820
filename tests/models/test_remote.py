from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from es_rerank.errors import ModelError
from es_rerank.models.remote import RemoteReranker

Asked = list[tuple[str, dict[str, str], dict[str, Any]]]
Answer = Callable[[str, dict[str, Any]], Any]


def word_share(query: str, text: str) -> float:
    """The share of the query's words that the text has."""
    words = query.split()
    return sum(word in text.split() for word in words) / len(words)


def tei_or_cohere(path: str, body: dict[str, Any]) -> Any:
    """Answer as text-embeddings-inference at /rerank, as Cohere at /v1 and /v2: best first."""
    texts = body["texts"] if path == "/rerank" else body["documents"]
    scores = sorted(
        ((word_share(body["query"], text), i) for i, text in enumerate(texts)), reverse=True
    )
    if path == "/rerank":
        return [{"index": i, "score": score} for score, i in scores]
    results = [{"index": i, "relevance_score": score} for score, i in scores]
    return {"id": "x", "results": results[: body["top_n"]]}


@contextmanager
def serving(answer: Answer, status: int = 200, delay_s: float = 0) -> Iterator[tuple[str, Asked]]:
    """A real HTTP server on a free port; yields its address and what it was asked."""
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {key.lower(): value for key, value in self.headers.items()}
            asked.append((self.path, headers, body))
            time.sleep(delay_s)
            content = answer(self.path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            with suppress(BrokenPipeError):  # the client may have given up
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TEXTS = [f"{'red ' * (i % 2)}{'shoe' * (i % 3 == 0)} {i}" for i in range(75)]
EXPECTED = [word_share("red shoe", text) for text in TEXTS]


def test_tei() -> None:
    with serving(tei_or_cohere) as (url, asked):
        for address in (url, f"{url}/", f"{url}/rerank"):
            scores = RemoteReranker(address).score_pairs("red shoe", TEXTS[:5])
            assert scores.tolist() == EXPECTED[:5]
    path, headers, body = asked[0]
    assert path == "/rerank"
    assert body == {"query": "red shoe", "texts": TEXTS[:5], "truncate": True}
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_cohere(path: str) -> None:
    with serving(tei_or_cohere) as (url, asked):
        reranker = RemoteReranker(url + path, "rerank-v3", "hunter2")
        assert reranker.score_pairs("red shoe", TEXTS[:5]).tolist() == EXPECTED[:5]
    assert asked[0][0] == path
    assert asked[0][1]["authorization"] == "Bearer hunter2"
    assert asked[0][2] == {
        "model": "rerank-v3",
        "query": "red shoe",
        "documents": TEXTS[:5],
        "top_n": 5,
    }
    assert reranker.name == "rerank-v3"


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
def test_calls_are_cut_to_32_texts(path: str) -> None:
    with serving(tei_or_cohere) as (url, asked):
        scores = RemoteReranker(url + path).score_pairs("red shoe", TEXTS)
    assert scores.tolist() == EXPECTED
    key = "texts" if path == "/rerank" else "documents"
    assert [len(body[key]) for _, _, body in asked] == [32, 32, 11]


def test_no_texts() -> None:
    with serving(tei_or_cohere) as (url, asked):
        assert RemoteReranker(url).score_pairs("red", []).shape == (0,)
    assert asked == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>", "did not answer in the tei shape"),
        (b"\xff\xfe\x00", "did not answer in the tei shape"),
        ({"results": []}, "did not answer in the tei shape"),
        ([{"index": 0}, {"index": 1}], "did not answer in the tei shape"),
        ([{"index": 0, "score": None}], "did not answer in the tei shape"),
        ([{"index": 7, "score": 1.0}], "did not answer in the tei shape"),
        (b'[{"index": Infinity, "score": 1}]', "did not answer in the tei shape"),
        ([1, 2], "did not answer in the tei shape"),
        (5, "did not answer in the tei shape"),
        ([], "left texts unscored"),
        ([{"index": 0, "score": 1.0}], "left texts unscored"),
        ([{"index": 0, "score": 1.0}, {"index": 0, "score": 2.0}], "left texts unscored"),
        (b'[{"index": 0, "score": 1}, {"index": 1, "score": NaN}]', "left texts unscored"),
        (b'[{"index": 0, "score": 1}, {"index": 1, "score": 1e999}]', "left texts unscored"),
    ],
)
def test_wrong_answers(content: Any, told: str) -> None:
    with (
        serving(lambda path, body: content) as (url, _),
        pytest.raises(ModelError, match=told) as refused,
    ):
        RemoteReranker(url).score_pairs("red", ["a", "b"])
    assert url in str(refused.value)


def test_a_wrong_cohere_answer() -> None:
    with (
        serving(lambda path, body: [{"index": 0, "score": 1.0}]) as (url, _),
        pytest.raises(ModelError, match="did not answer in the cohere shape"),
    ):
        RemoteReranker(f"{url}/v1/rerank").score_pairs("red", ["a"])


@pytest.mark.parametrize("status", [401, 413, 429, 500, 503])
def test_a_refusal_is_told(status: int) -> None:
    with (
        serving(lambda path, body: {"error": "too many texts"}, status) as (url, asked),
        pytest.raises(ModelError, match=rf"answered {status}: .*too many texts") as refused,
    ):
        RemoteReranker(url, api_key="hunter2").score_pairs("red", ["a"])
    assert len(asked) == 1
    assert "hunter2" not in str(refused.value)


def test_nobody_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ModelError, match=f"the reranker at {url}/rerank cannot be reached"):
            RemoteReranker(url).score_pairs("red", ["a"])


def test_a_slow_server_is_given_up() -> None:
    started = time.perf_counter()
    with (
        serving(tei_or_cohere, delay_s=0.5) as (url, asked),
        pytest.raises(ModelError, match="cannot be reached"),
    ):
        RemoteReranker(url, timeout_s=0.1).score_pairs("red", ["a"])
    assert len(asked) == 1  # a scoring that takes too long is not asked for again
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("url", ["localhost:8080", "", "ftp://host/rerank", "http://", "http://["])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ModelError, match=r"give one such as http://localhost:8080/rerank"):
        RemoteReranker(url)


def test_its_vocabulary_is_not_known_here() -> None:
    reranker = RemoteReranker("http://localhost:8080")
    assert reranker.unknown_share("跑步鞋") == 0.0
    assert reranker.name == "localhost:8080"


def test_lists_take_a_call_for_each_query_and_fail_alone() -> None:
    def picky(path: str, body: dict[str, Any]) -> Any:
        return b"nothing" if body["query"] == "odd" else tei_or_cohere(path, body)

    lists = [("red shoe", TEXTS[:3]), ("odd", TEXTS[:2]), ("red", TEXTS[:2])]
    with serving(picky) as (url, asked):
        first, second, third = RemoteReranker(url).score_lists(lists)
        assert RemoteReranker(url).score_lists([]) == []
    assert [body["query"] for _, _, body in asked] == ["red shoe", "odd", "red"]
    assert isinstance(first, np.ndarray)
    assert first.tolist() == EXPECTED[:3]
    assert isinstance(second, ModelError)
    assert isinstance(third, np.ndarray)


def test_a_server_that_is_away_is_not_tried_for_every_list() -> None:
    with serving(tei_or_cohere, delay_s=0.5) as (url, asked):
        answers = RemoteReranker(url, timeout_s=0.1).score_lists([("a", ["b"])] * 5)
    assert all(isinstance(answer, ModelError) for answer in answers)
    assert (len(answers), len(asked)) == (5, 1)
