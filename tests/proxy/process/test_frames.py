"""The scorer's socket: what it answers to requests, to nonsense, and to too much at once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.config import Settings, load_settings
from es_rerank.errors import ModelError
from es_rerank.proxy.process.client import ScorerClient, connect
from es_rerank.proxy.process.frames import MAX_BYTES, Encode, FrameError, Vectors, read_length
from es_rerank.proxy.process.scorer import ScorerServer
from es_rerank.proxy.scoring.job import OverloadedError, ScorerGoneError
from es_rerank.proxy.scoring.thread import DEADLINE
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.lexical import LexicalModel
from es_rerank.ranking.score import PairScorer

WINDOW = Candidates(first_stage=np.array([2.0, 1.0]), texts=["hat", "red shoe \ud800"])


class SlowModel(LexicalModel):
    """Waits until it may."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        self.asked.set()
        self.go.wait(20)
        return super().score_lists(lists)


class Server(threading.Thread):
    """The scorer's server on a thread, with a model that is slow until it may go."""

    def __init__(self, chosen: Settings, path: Path) -> None:
        super().__init__(name="scorer server")
        self.server = ScorerServer(chosen)
        self.model = SlowModel()
        self.path = path
        self.stop = asyncio.Event()
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        self.loop.run_until_complete(self.server.serve(self.path, self.stop))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    chosen = load_settings(None, {"model": {"kind": "lexical"}, "rerank": {"max_waiting": 2}})
    thread = Server(chosen, tmp_path / "s")
    thread.start()
    until = time.monotonic() + 20
    while thread.server._scorer is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    thread.server._scorer = PairScorer(thread.model)
    yield thread
    thread.model.go.set()
    thread.loop.call_soon_threadsafe(thread.stop.set)
    thread.join(20)


def test_what_it_answers_is_what_the_model_says(server: Server) -> None:
    server.model.go.set()
    scorer, vectors = connect(server.path)
    assert (scorer.name, vectors) == ("lexical", None)
    assert scorer.unknown_share("red") == 0.0
    scores = scorer.score("red shoes", WINDOW)
    np.testing.assert_array_equal(scores, PairScorer(LexicalModel()).score("red shoes", WINDOW))


def test_what_it_cannot_do_is_told(server: Server) -> None:
    with pytest.raises(ModelError, match="does not Encode"):
        ScorerClient(server.path).ask(Encode(["a"]), Vectors)


def test_too_many_at_once_are_turned_away(server: Server) -> None:
    def score() -> object:
        DEADLINE.set(time.monotonic() + 10)
        scorer, _ = connect(server.path)
        return scorer.score("red", WINDOW)

    with ThreadPoolExecutor(5) as clients:
        jobs = [clients.submit(score) for _ in range(5)]
        until = time.monotonic() + 10
        while sum(job.done() for job in jobs) < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        server.model.go.set()
        errors = [type(job.exception(20)) for job in jobs]
    assert errors.count(OverloadedError) == 3
    assert errors.count(type(None)) == 2


def test_what_has_no_time_left_is_not_begun(server: Server) -> None:
    def score(left_s: float) -> object:
        DEADLINE.set(time.monotonic() + left_s)
        scorer, _ = connect(server.path)
        return scorer.score("red", WINDOW)

    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(score, 20)
        assert server.model.asked.wait(10)
        with pytest.raises(TimeoutError):
            clients.submit(score, 0.2).result(10)
        server.model.go.set()
        first.result(20)


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScorerGoneError):
        connect(tmp_path / "nobody")


def test_a_frame_that_is_too_long_is_refused() -> None:
    with pytest.raises(FrameError):
        read_length((MAX_BYTES + 1).to_bytes(4, "big"))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=40))
def test_nonsense_ends_its_own_connection_alone(server: Server, nonsense: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.path))
        connection.sendall(len(nonsense).to_bytes(4, "big") + nonsense)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while connection.recv(4096):
            pass
    assert connect(server.path)[0].name == "lexical"
