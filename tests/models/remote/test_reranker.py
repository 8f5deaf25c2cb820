"""Against real servers of each shape."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.errors import ModelError
from es_rerank.models.remote import Api, RemoteReranker
from es_rerank.models.remote.reranker import cut
from es_rerank.models.remote.shapes import SHAPES
from tests.models.remote.servers import (
    HANG_UP,
    Reply,
    RerankServer,
    at_first,
    serving,
    slowly,
    word_share,
)

TEXTS = [f"{'red ' * (i % 2)}{'shoe' * (i % 3 == 0)} {i}" for i in range(75)]
EXPECTED = [word_share("red shoe", text) for text in TEXTS]
BUSY: Reply = (503, {"error": "starting", "error_type": "Unhealthy"}, {})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("api", "named"),
    [(api, named) for api in SHAPES for named in (True, False) if named or api != "voyage"],
)
def test_every_shape(api: Api, named: bool) -> None:
    """By setting, and by its address or what it says of itself. Voyage is known by its host."""
    with serving(RerankServer(api)) as server:
        reranker = RemoteReranker(server.url, "m", "hunter2", api=api if named else None)
        assert reranker.score_pairs("red shoe", TEXTS).tolist() == EXPECTED
        assert reranker.score_pairs("red", []).shape == (0,)
    assert {head["authorization"] for head in server.heads} == {"Bearer hunter2"}
    assert {head["content-type"] for head in server.heads} == {"application/json"}
    assert reranker.name == "m"
    assert server.looked_at == {
        "tei": ["/info"],
        "infinity": [] if named else ["/info", "/models"],
    }.get(api, [])


@pytest.mark.parametrize("api", list(SHAPES))
def test_a_bare_host_gets_the_path_of_its_shape(api: Api) -> None:
    with serving(RerankServer(api)) as server:
        for address in (server.address, f"{server.address}/"):
            reranker = RemoteReranker(address, "m", api=api)
            assert reranker.score_pairs("red shoe", TEXTS[:5]).tolist() == EXPECTED[:5]


def test_no_key_no_header_and_no_name() -> None:
    with serving(RerankServer("tei")) as server:
        reranker = RemoteReranker(server.url)
        reranker.score_pairs("red", ["a"])
    assert "authorization" not in server.heads[0]
    assert reranker.name == server.address.removeprefix("http://")
    assert reranker.unknown_share("跑步鞋") == 0.0


def test_the_limit_is_learnt_from_info() -> None:
    with serving(RerankServer("tei", most=20)) as server:
        reranker = RemoteReranker(server.url)
        reranker.learn(2.0)
        assert reranker.score_pairs("red shoe", TEXTS).tolist() == EXPECTED
    assert sorted(server.sizes) == [18, 19, 19, 19]
    assert server.looked_at == ["/info"]


@pytest.mark.parametrize("api", ["infinity", "jina", "voyage"])
def test_the_limit_is_learnt_from_a_refusal(api: Api) -> None:
    with serving(RerankServer(api, most=30)) as server:
        reranker = RemoteReranker(server.url, "m", api=api)
        assert reranker.score_pairs("red shoe", TEXTS).tolist() == EXPECTED
        assert server.sizes[0] == 75
        assert sorted(server.sizes[1:]) == [25, 25, 25]
        reranker.score_pairs("red shoe", TEXTS)
    assert sorted(server.sizes[4:]) == [25, 25, 25]


@pytest.mark.parametrize("api", ["tei", "cohere"])
def test_a_limit_that_is_not_told_is_found_by_halving(api: Api) -> None:
    with serving(RerankServer(api, most=10, tells=False)) as server:
        reranker = RemoteReranker(server.url, "m", api=api, parallel=1)
        assert reranker.score_pairs("red shoe", TEXTS).tolist() == EXPECTED
        reranker.score_pairs("red shoe", TEXTS)
        asked = len(server.bodies)
        assert reranker.score_pairs("red shoe", TEXTS).tolist() == EXPECTED
    assert max(server.sizes[asked:]) <= 10  # what was found is remembered


def test_a_limit_that_is_set_holds() -> None:
    with serving(RerankServer("cohere")) as server:
        RemoteReranker(server.url, "m", batch_size=50).score_pairs("red shoe", TEXTS)
    assert sorted(server.sizes) == [37, 38]


def test_a_text_that_is_too_large_alone_is_told() -> None:
    with (
        serving(RerankServer("tei", most=0, tells=False)) as server,
        pytest.raises(ModelError, match=r"413 \(too large\); set \[model\] batch_size"),
    ):
        RemoteReranker(server.url).score_pairs("red", TEXTS[:4])
    assert server.sizes == [4, 2, 1]


def test_parts_are_asked_for_at_once() -> None:
    together = threading.Barrier(4)

    def meet(number: int) -> None:
        together.wait(10)  # breaks, and the request with it, unless all four are under way

    with serving(RerankServer("tei", most=20, before=meet)) as server:
        assert RemoteReranker(server.url).score_pairs("red shoe", TEXTS).tolist() == EXPECTED
    assert server.busiest == 4


def test_so_many_requests_at_one_time_and_no_more() -> None:
    with serving(RerankServer("tei", most=5, before=slowly(0.02))) as server:
        assert (
            RemoteReranker(server.url, parallel=3).score_pairs("red shoe", TEXTS).tolist()
            == EXPECTED
        )
    assert server.busiest == 3


def test_connections_are_kept() -> None:
    with serving(RerankServer("tei", most=20)) as server:
        reranker = RemoteReranker(server.url, parallel=4)
        for _ in range(10):
            reranker.score_pairs("red shoe", TEXTS)
    assert len(server.bodies) == 40
    assert server.connections <= 5


def test_a_server_that_is_restarted_with_another_limit() -> None:
    port = free_port()
    with serving(RerankServer("tei", most=40), port) as server:
        reranker = RemoteReranker(server.url)
        reranker.score_pairs("red shoe", TEXTS)
    with serving(RerankServer("tei", most=10), port) as server:
        assert reranker.score_pairs("red shoe", TEXTS).tolist() == EXPECTED
        reranker.score_pairs("red shoe", TEXTS)
    assert max(server.sizes[-8:]) == 10


@pytest.mark.parametrize(
    "failures",
    [[BUSY], [BUSY, BUSY], [(429, {}, {"retry-after": "0"})], [HANG_UP], [HANG_UP, BUSY]],
)
def test_a_passing_failure_is_tried_again(failures: Sequence[Any]) -> None:
    with serving(RerankServer("tei", before=at_first(*failures))) as server:
        scores = RemoteReranker(server.url).score_pairs("red shoe", TEXTS[:5])
    assert scores.tolist() == EXPECTED[:5]
    assert len(server.bodies) == len(failures) + 1


def test_retry_after_is_respected_where_it_fits() -> None:
    busy = (429, {"error": "overloaded"}, {"retry-after": "0.4"})
    with serving(RerankServer("tei", before=at_first(busy))) as server:
        began = time.monotonic()
        RemoteReranker(server.url).score_pairs("red", ["a"])
    assert time.monotonic() - began >= 0.39
    assert len(server.bodies) == 2


def test_retry_after_that_does_not_fit_fails_at_once_and_so_do_those_that_follow() -> None:
    busy = (429, {"error": "overloaded"}, {"retry-after": "30"})
    with serving(RerankServer("tei", before=at_first(busy))) as server:
        reranker = RemoteReranker(server.url, timeout_s=10.0)
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"answered 429 \(overloaded\); raise its limit"):
            reranker.score_pairs("red", ["a"])
        with pytest.raises(ModelError, match=r"429.*; it is left alone for (29|30)\.\d s more"):
            reranker.score_pairs("red", ["a"])
    assert time.monotonic() - began < 10
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "mend"),
    [
        (400, "check [model] api and [model] name"),
        (401, "set ES_RERANK_MODEL__API_KEY, or [model] api_key_file"),
        (403, "set ES_RERANK_MODEL__API_KEY, or [model] api_key_file"),
        (404, "correct the path in [model] url"),
        (422, "check [model] api and [model] name"),
        (307, "correct the path in [model] url"),
    ],
)
def test_a_refusal_is_told_with_its_mend_and_is_not_tried_again(status: int, mend: str) -> None:
    told = (status, {"error": "no such thing"}, {"location": "http://127.0.0.1:9/"})
    with (
        serving(RerankServer("tei", before=lambda _: told)) as server,
        pytest.raises(ModelError) as refused,
    ):
        RemoteReranker(server.url, api_key="hunter2").score_pairs("red", ["a"])
    assert f"{server.url} answered {status} (no such thing); {mend}" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert len(server.bodies) == 1


def test_neither_query_nor_texts_are_repeated() -> None:
    told: Reply = (
        422,
        {"detail": [{"loc": ["body"], "msg": "bad: secret words", "input": "a text"}]},
        {},
    )
    with (
        serving(RerankServer("tei", before=lambda _: told)) as server,
        pytest.raises(ModelError, match="answered 422; check") as refused,
    ):
        RemoteReranker(server.url).score_pairs("Secret  words", ["a text"])
    assert "text" not in str(refused.value)


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    reranker = RemoteReranker(url, timeout_s=3.0)
    with pytest.raises(ModelError, match=f"{url}/rerank cannot be reached.*start it, or correct"):
        reranker.score_pairs("red", ["a"])
    assert time.monotonic() - began < 2.5


def test_a_slow_server_is_given_up_and_not_asked_again() -> None:
    with serving(RerankServer("tei", before=slowly(8.0))) as server:
        began = time.monotonic()
        with pytest.raises(TimeoutError) as late:  # as the search's own deadline is told
            RemoteReranker(server.url, timeout_s=0.5).score_pairs("red", ["a"])
        assert time.monotonic() - began < 4
    assert isinstance(late.value, ModelError)
    assert "did not answer within 0." in str(late.value)
    assert len(server.bodies) == 1


def test_the_deadline_goes_before_the_timeout() -> None:
    until = [math.inf]
    with serving(RerankServer("tei", before=slowly(8.0))) as server:
        reranker = RemoteReranker(server.url, deadline=lambda: until[0])
        until[0] = began = time.monotonic()
        until[0] += 0.5
        with pytest.raises(TimeoutError):
            reranker.score_pairs("red", ["a"])
        assert time.monotonic() - began < 4


def test_an_answer_that_drips_is_cut_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        over = threading.Event()

        def drip() -> None:
            while not over.is_set():
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                    while not over.wait(0.05):
                        try:
                            connection.sendall(b" ")
                        except OSError:
                            break

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            RemoteReranker(f"http://127.0.0.1:{port}/v1/rerank", timeout_s=0.4).score_pairs(
                "red", ["a"]
            )
        assert time.monotonic() - began < 4
        over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join(5)


def test_another_address_answers_where_one_is_down() -> None:
    down = f"http://127.0.0.1:{free_port()}/rerank"
    with serving(RerankServer("tei")) as server:
        reranker = RemoteReranker([down, server.url])
        for _ in range(6):
            assert reranker.score_pairs("red shoe", TEXTS[:5]).tolist() == EXPECTED[:5]


def test_another_address_answers_where_one_hangs() -> None:
    with (
        serving(RerankServer("jina", before=slowly(20.0))) as hung,
        serving(RerankServer("jina")) as server,
    ):
        reranker = RemoteReranker([hung.url, server.url], timeout_s=3.0)
        for _ in range(4):
            began = time.monotonic()
            assert reranker.score_pairs("red shoe", TEXTS[:5]).tolist() == EXPECTED[:5]
            assert time.monotonic() - began < 2.9
    assert len(server.bodies) == 4
    assert len(hung.bodies) <= 3


def test_parts_are_shared_out_among_addresses() -> None:
    with serving(RerankServer("tei", most=5)) as one, serving(RerankServer("tei", most=5)) as other:
        scores = RemoteReranker([one.url, other.url]).score_pairs("red shoe", TEXTS)
    assert scores.tolist() == EXPECTED
    assert min(len(one.bodies), len(other.bodies)) >= 4


def test_a_server_that_comes_back_is_found() -> None:
    port = free_port()
    reranker = RemoteReranker(f"http://127.0.0.1:{port}", timeout_s=0.2)
    for _ in range(3):
        with pytest.raises(ModelError):
            reranker.score_pairs("red", ["a"])
    with serving(RerankServer("infinity"), port):
        until = time.monotonic() + 20
        while True:
            try:
                scores = reranker.score_pairs("red shoe", TEXTS[:5])
                break
            except ModelError:
                assert time.monotonic() < until
                time.sleep(0.05)
    assert scores.tolist() == EXPECTED[:5]


def test_lists_fail_alone() -> None:
    def picky(number: int) -> Any:
        return (422, {"error": "no"}, {}) if server.bodies[number]["query"] == "odd" else None

    server = RerankServer("tei", before=picky)
    lists = [("red shoe", TEXTS[:3]), ("odd", TEXTS[:2]), ("red", TEXTS[:2])]
    with serving(server):
        first, second, third = RemoteReranker(server.url).score_lists(lists)
        assert RemoteReranker(server.url).score_lists([]) == []
    assert isinstance(first, np.ndarray)
    assert first.tolist() == EXPECTED[:3]
    assert isinstance(second, ModelError)
    assert isinstance(third, np.ndarray)


def test_a_server_that_is_away_is_not_tried_for_every_list() -> None:
    with serving(RerankServer("tei", before=slowly(8.0))) as server:
        reranker = RemoteReranker(server.url, timeout_s=0.5, parallel=2)
        answers = reranker.score_lists([("a", ["b"])] * 9)
    assert all(isinstance(answer, ModelError) for answer in answers)
    assert len(answers) == 9
    assert len(server.bodies) == 2


def test_tls_is_checked_against_the_authorities_that_are_set(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(RerankServer("tei"), context=context) as server:
        trusting = RemoteReranker(server.url, ca_certs=tmp_path / "ca.pem")
        assert trusting.score_pairs("red shoe", TEXTS[:5]).tolist() == EXPECTED[:5]
        with pytest.raises(ModelError, match="CERTIFICATE_VERIFY_FAILED"):
            RemoteReranker(server.url, timeout_s=0.5).score_pairs("red", ["a"])
        assert len(server.bodies) == 1
        (tmp_path / "none.pem").write_text("nothing")
        with pytest.raises(ModelError, match=r"\[model\] ca_certs"):
            RemoteReranker(server.url, ca_certs=tmp_path / "none.pem")


@pytest.mark.parametrize("url", ["localhost:8080", "", "ftp://host/rerank", "http://", "http://["])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ModelError, match=r"give one such as http://localhost:8080/rerank"):
        RemoteReranker(url)


def test_a_service_wants_a_model_named() -> None:
    with pytest.raises(
        ModelError, match=r"api\.cohere\.com has several models: set \[model\] name"
    ):
        RemoteReranker("https://api.cohere.com")


@given(st.integers(0, 500), st.integers(1, 600))
def test_texts_are_cut_evenly(count: int, most: int) -> None:
    texts = [str(i) for i in range(count)]
    parts = cut(texts, most)
    assert [text for part in parts for text in part] == texts
    assert len(parts) == math.ceil(count / most)
    sizes = [len(part) for part in parts]
    assert max(sizes, default=0) <= most
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
