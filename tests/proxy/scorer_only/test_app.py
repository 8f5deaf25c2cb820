"""The scorer over real sockets, with a scorer that needs no model."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_rerank.config import load_settings
from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.remote import RemoteReranker
from es_rerank.proxy.scorer_only.app import ScorerApp
from es_rerank.proxy.server import address_of, listen_all, make_server, run_until_done
from es_rerank.ranking.lexical import LexicalModel
from tests.proxy.wire import ask, find

TEXTS = ["red shoe", "hat", "red hat", "blue shoe", "shoe"]
QUERY = "red shoe"
EXPECTED = LexicalModel().score_pairs(QUERY, TEXTS).tolist()
PATHS = ("/rerank", "/v1/rerank", "/v2/rerank")


@contextlib.contextmanager
def scorer(**tables: Any) -> Iterator[tuple[str, ScorerApp]]:
    """Serve a scorer on a thread. Yields its address once its model is loaded."""
    base: dict[str, Any] = {"proxy": {"port": 0}, "model": {"kind": "lexical"}}
    chosen = load_settings(None, base | tables)
    app = ScorerApp(chosen)
    bound = listen_all(chosen)
    app.know_sockets(bound)
    server = make_server(app, chosen)
    thread = threading.Thread(target=lambda: run_until_done(server.serve(sockets=bound)))
    thread.start()
    try:
        until = time.monotonic() + 60
        url = address_of(bound[0], chosen)
        while not server.started or ask(url, b"GET /health")[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield url, app
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with scorer() as (url, _):
        yield url


def post(url: str, path: str, body: Any, *headers: bytes) -> tuple[int, Any, bytes]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = b"Content-Type: application/json"
    status, head, data = ask(url, b"POST " + path.encode(), kind, *headers, body=raw)
    return status, json.loads(data), head


def wanted(path: str, **more: Any) -> dict[str, Any]:
    key = "texts" if path == "/rerank" else "documents"
    return {"query": QUERY, key: TEXTS, **more}


def test_tei(url: str) -> None:
    status, found, _ = post(url, "/rerank", wanted("/rerank", raw_scores=True, return_text=True))
    assert status == 200
    assert [each["index"] for each in found] == [0, 2, 3, 4, 1]
    assert [each["text"] for each in found] == [TEXTS[i] for i in (0, 2, 3, 4, 1)]
    assert {each["index"]: each["score"] for each in found} == dict(enumerate(EXPECTED))
    _, shown, _ = post(url, "/rerank", wanted("/rerank", truncate=True, other=1))
    assert [each["index"] for each in shown] == [0, 2, 3, 4, 1]
    assert all(0 <= each["score"] <= 1 and "text" not in each for each in shown)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_cohere_and_jina(url: str, path: str) -> None:
    status, found, _ = post(url, path, wanted(path, model="m", top_n=2, return_documents=True))
    assert status == 200
    assert [each["index"] for each in found["results"]] == [0, 2]
    assert [each["document"] for each in found["results"]] == [
        {"text": "red shoe"},
        {"text": "red hat"},
    ]
    documents = [{"text": text} for text in TEXTS]
    _, found, _ = post(url, path, {"query": QUERY, "documents": documents})
    assert [each["index"] for each in found["results"]] == [0, 2, 3, 4, 1]
    assert all(0 <= each["relevance_score"] <= 1 for each in found["results"])
    assert isinstance(found["id"], str)
    assert found.get("model") == ("lexical" if path == "/v1/rerank" else None)


@pytest.mark.parametrize(
    ("api", "path"),
    [("tei", "/rerank"), ("jina", "/v1/rerank"), ("cohere", "/v2/rerank"), (None, "")],
)
def test_our_own_client_understands_it(url: str, api: Any, path: str) -> None:
    scores = RemoteReranker(url + path, "m", api=api).score_pairs(QUERY, TEXTS)
    assert scores.argsort(kind="stable").tolist() == [1, 3, 4, 2, 0]
    if path in {"", "/rerank"}:
        assert scores.tolist() == EXPECTED


@given(st.text(), st.lists(st.text(), min_size=1, max_size=8), st.sampled_from(PATHS))
@settings(max_examples=50, deadline=None)
def test_any_text_is_taken_and_every_text_scored_once(
    url: str, query: str, texts: list[str], path: str
) -> None:
    key = "texts" if path == "/rerank" else "documents"
    try:
        body = json.dumps({"query": query, key: texts}, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    status, found, _ = post(url, path, body)
    assert status == 200
    items = found if path == "/rerank" else found["results"]
    assert sorted(each["index"] for each in items) == list(range(len(texts)))


def fault(path: str, answer: Any) -> str:
    """The message of an error in the shape's own form, with nothing else in it."""
    if path == "/rerank":
        assert set(answer) == {"error", "error_type"}
        return str(answer["error"])
    if path == "/v1/rerank":
        assert set(answer) == {"detail", "message"}
        assert answer["detail"] == answer["message"]
    else:
        assert set(answer) == {"id", "message"}
    return str(answer["message"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        (b"{", 400, "the body is no JSON"),
        (b"\xff\xff", 400, "the body is no JSON"),
        (b"[]", 422, "Expected `object`, got `array`"),
        ({"query": 5}, 422, "Expected `str`, got `int` - at `$.query`"),
        ({"KEY": "hat"}, 422, "got `str` - at `$.KEY`"),
        ({"KEY": ["hat", 7]}, 422, "at `$.KEY[1]`"),
        ({"KEY": []}, 400, "`KEY` is empty"),
        ({"KEY": ["a"] * 1001}, 413, "batch size 1001 > maximum allowed batch size 1000"),
    ],
)
def test_what_is_refused(url: str, path: str, change: Any, status: int, told: str) -> None:
    key = "texts" if path == "/rerank" else "documents"
    body = change
    if isinstance(change, dict):
        changes = {key if k == "KEY" else k: value for k, value in change.items()}
        body = wanted(path) | changes
    got, answer, _ = post(url, path, body)
    assert got == status
    assert told.replace("KEY", key) in fault(path, answer)


def test_more_that_is_refused(url: str) -> None:
    for path in PATHS[1:]:
        status, answer, _ = post(url, path, wanted(path, top_n=0))
        assert (status, "$.top_n" in fault(path, answer)) == (422, True)
    status, answer, _ = post(url, "/rerank", wanted("/rerank"), b"Content-Encoding: gzip")
    assert status == 415
    status, answer, _ = post(url, "/rerank", wanted("/rerank"), b"X-Es-Rerank-Timeout-Ms: soon")
    assert (status, "timeout-ms" in fault("/rerank", answer)) == (400, True)
    status, head, data = ask(url, b"GET /rerank")
    assert (status, find(head, "allow")) == (405, ["POST"])
    status, head, data = ask(url, b"POST /info")
    assert (status, find(head, "allow")) == (405, ["GET, HEAD"])
    status, head, data = ask(url, b"GET /shop/_search")
    assert status == 404
    assert "/v2/rerank" in json.loads(data)["error"]


def test_a_body_that_is_too_large_is_refused_in_words_that_clients_know() -> None:
    with scorer(scorer={"max_bytes": 2000}) as (url, _):
        status, answer, _ = post(url, "/rerank", wanted("/rerank", texts=["shoe " * 1000]))
        assert status == 413
        assert "length limit exceeded" in fault("/rerank", answer)
        texts = [f"shoe {'x' * 300} {i}" for i in range(20)]
        scores = RemoteReranker(url).score_pairs("shoe 7", texts)  # halves until it fits
    assert scores.shape == (20,)


def test_a_client_learns_the_limit() -> None:
    with scorer(scorer={"max_texts": 2}) as (url, _):
        reranker = RemoteReranker(url)
        reranker.learn(5)
        assert reranker.most == 2
        assert reranker.score_pairs("red", TEXTS).shape == (5,)
        info = json.loads(ask(url, b"GET /info")[2])
    assert info["max_client_batch_size"] == 2
    assert info["model_id"] == "lexical"


def test_pages_of_its_own(url: str) -> None:
    assert ask(url, b"GET /health")[0] == 200
    assert json.loads(ask(url, b"GET /_es_rerank/live")[2]) == {"live": True}
    assert json.loads(ask(url, b"GET /_es_rerank/ready")[2]) == {"ready": True, "model": True}
    metrics = ask(url, b"GET /_es_rerank/metrics")[2]
    assert b'es_rerank_requests_total{outcome="ok",route="rerank"}' in metrics
    assert ask(url, b"HEAD /info")[2] == b""


def test_a_token() -> None:
    with scorer(scorer={"token": "hunter2"}) as (url, _):
        for path in PATHS:
            status, answer, head = post(url, path, wanted(path))
            assert (status, "[scorer] token" in fault(path, answer)) == (401, True)
            assert find(head, "www-authenticate")
            assert post(url, path, wanted(path), b"Authorization: Bearer hunter2")[0] == 200
        assert ask(url, b"GET /info")[0] == 401
        for page in (b"/health", b"/_es_rerank/live", b"/_es_rerank/ready", b"/_es_rerank/metrics"):
            assert ask(url, b"GET " + page)[0] == 200
        assert RemoteReranker(url, api_key="hunter2").score_pairs(QUERY, TEXTS).tolist() == EXPECTED
        with pytest.raises(ModelError, match=r"401.*set ES_RERANK_MODEL__API_KEY"):
            RemoteReranker(url, api_key="wrong").score_pairs(QUERY, TEXTS)


def test_admin_routes_may_have_an_address_and_a_token_of_their_own() -> None:
    with scorer(admin={"port": 0, "token": "hunter2"}) as (url, app):
        admin = f"http://127.0.0.1:{app.admin_port}"
        assert ask(url, b"GET /_es_rerank/metrics")[0] == 404
        assert ask(admin, b"GET /_es_rerank/metrics")[0] == 401
        bearer = b"Authorization: Bearer hunter2"
        assert ask(admin, b"GET /_es_rerank/metrics", bearer)[0] == 200
        assert post(admin, "/rerank", wanted("/rerank"))[0] == 404
        assert ask(admin, b"GET /_es_rerank/live")[0] == ask(url, b"GET /_es_rerank/live")[0] == 200


@pytest.mark.parametrize("kind", ["remote", "plugin"])
def test_what_has_no_model_here_is_not_served(kind: str) -> None:
    chosen = load_settings(None, {"model": {"kind": kind, "url": "http://gpu:8080"}})
    with pytest.raises(ConfigError, match="--scorer-only takes bi-encoder, cross-encoder, lexical"):
        ScorerApp(chosen)
