"""The queue before the model: deadlines, token budgets, partial scores, failures, stuck threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.proxy.scoring.pairs import Ask, Pairs, warm
from es_rerank.proxy.scoring.score_cache import ScoreCache
from es_rerank.ranking.score import Limits, ScoreError

Lists = Sequence[tuple[str, Sequence[str]]]
TEXT = "a text of some thirty-six characters"


class Lengths:
    """Scores a pair by its text's length. Waits for `go` in each call; `before` may raise."""

    name = "lengths"

    def __init__(self, before: Callable[[Lists], None] = lambda lists: None) -> None:
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Semaphore(0)
        self.calls: list[list[tuple[str, list[str]]]] = []
        self._before = before

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([float(len(text)) for text in texts])

    def score_lists(self, lists: Lists) -> list[NDArray[np.float64] | Exception]:
        self.calls.append([(query, list(texts)) for query, texts in lists])
        self.entered.release()
        assert self.go.wait(30)
        self._before(lists)
        return [self.score_pairs(query, texts) for query, texts in lists]

    def unknown_share(self, text: str) -> float:
        return 0.0


def make(
    model: Lengths, limits: Limits | None = None, together: bool = True, cached: bool = False
) -> Pairs:
    cache = ScoreCache("lengths", 1_000_000 if cached else 0, 60)
    return Pairs(model, limits or Limits(), cache, together, wait_s=0.0)


def ask_for(pairs: Pairs, query: str, texts: Sequence[str], within_s: float = 30) -> Ask:
    ask = pairs.open(query, texts)
    pairs.submit(ask, time.monotonic() + within_s)
    return ask


def finish(pairs: Pairs, *asks: Ask) -> None:
    asyncio.run(pairs.wait(asks))


def test_every_text_gets_its_own_score() -> None:
    pairs = make(Lengths())
    texts = [f"{i} " + "x" * (7 * i % 50) for i in range(300)]
    ask = ask_for(pairs, "q", texts)
    finish(pairs, ask)
    assert ask.scores.tolist() == [len(text) for text in texts]
    assert ask.error is None
    pairs.close()


@given(
    st.lists(st.lists(st.text("ab", max_size=90), min_size=1, max_size=30), max_size=6),
    st.sampled_from([Limits(), Limits(texts=4, calls=3), Limits(whole=True, calls=2)]),
    st.booleans(),
    st.booleans(),
)
def test_together_as_each_alone(
    windows: list[list[str]], limits: Limits, together: bool, cached: bool
) -> None:
    model = Lengths()
    pairs = make(model, limits, together, cached)
    asks = [ask_for(pairs, f"q{i}", texts) for i, texts in enumerate(windows)]
    if asks:
        finish(pairs, *asks)
    for ask, texts in zip(asks, windows, strict=True):
        assert ask.scores.tolist() == [len(text) for text in texts]
    if limits.texts:
        assert all(len(texts) <= limits.texts for call in model.calls for _, texts in call)
    pairs.close()


def test_the_earliest_deadline_goes_first_between_two_calls_of_a_large_one() -> None:
    model = Lengths()
    pairs = make(model)
    model.go.clear()
    large = ask_for(pairs, "large", [f"{i} {TEXT}" for i in range(400)], 30)
    assert model.entered.acquire(timeout=10)
    urgent = ask_for(pairs, "urgent", [TEXT], 10)
    model.go.set()
    finish(pairs, urgent, large)
    assert [query for call in model.calls[:2] for query, _ in call][:2] == ["large", "urgent"]
    assert len(model.calls[0][0][1]) < 40
    assert not np.isnan(large.scores).any()
    pairs.close()


def test_searches_share_a_call_unless_that_is_switched_off() -> None:
    for together, most in ((True, 1), (False, 4)):
        model = Lengths()
        pairs = make(model, together=together)
        model.go.clear()
        first = ask_for(pairs, "first", [TEXT])
        assert model.entered.acquire(timeout=10)
        others = [ask_for(pairs, f"other {i}", [TEXT]) for i in range(4)]
        model.go.set()
        finish(pairs, first, *others)
        assert len(model.calls) == 1 + most
        pairs.close()


def test_at_the_deadline_there_is_what_was_scored() -> None:
    model = Lengths(lambda lists: time.sleep(0.004 * sum(len(texts) for _, texts in lists)))
    pairs = make(model)
    warm(pairs, TEXT, 8)
    began = time.monotonic()
    ask = ask_for(pairs, "q", [f"{i:03} {TEXT}" for i in range(500)], 0.3)
    finish(pairs, ask)
    scores = ask.scores.copy()
    scored = np.isfinite(scores)
    assert 1 <= scored.sum() < 500
    assert scored[: scored.sum()].all(), "the first are read first where there is no time for all"
    assert ask.error is None
    assert time.monotonic() - began < 3
    pairs.close()


def test_what_is_left_is_scored_when_nobody_waits_and_found_by_the_next() -> None:
    model = Lengths()
    pairs = make(model, cached=True)
    model.go.clear()
    texts = [f"{i} {TEXT}" for i in range(100)]
    ask = ask_for(pairs, "q", texts, 0.05)
    finish(pairs, ask)
    assert np.isnan(ask.scores).all()
    model.go.set()
    for _ in range(500):
        again = pairs.open("q", texts)
        if not again.missing():
            break
        time.sleep(0.01)
    assert again.scores.tolist() == [len(text) for text in texts]
    pairs.close()


def test_a_failure_is_that_searches_own() -> None:
    def fail(lists: Lists) -> None:
        if any(query == "odd" for query, _ in lists):
            raise ValueError("odd")

    model = Lengths(fail)
    pairs = make(model)
    model.go.clear()
    first = ask_for(pairs, "first", [TEXT])
    assert model.entered.acquire(timeout=10)
    odd, good = ask_for(pairs, "odd", [TEXT]), ask_for(pairs, "good", [TEXT])
    model.go.set()
    finish(pairs, first, odd, good)
    assert isinstance(odd.error, ValueError)
    assert good.error is None
    assert good.scores.tolist() == [len(TEXT)]
    pairs.close()


@pytest.mark.parametrize("found", [[1.0], [1.0, np.nan], [1.0, np.inf], [[1.0], [2.0]]])
def test_what_are_no_scores_is_an_error(found: list[float]) -> None:
    class Odd(Lengths):
        def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
            return np.array(found)

    pairs = make(Odd())
    ask = ask_for(pairs, "q", ["a", "b"])
    finish(pairs, ask)
    assert isinstance(ask.error, ScoreError)
    pairs.close()


def test_a_stuck_call_is_left_alone_and_the_others_go_on() -> None:
    model = Lengths()
    pairs = make(model)
    model.go.clear()
    stuck = ask_for(pairs, "stuck", [TEXT], 0.05)
    assert model.entered.acquire(timeout=10)
    finish(pairs, stuck)
    assert np.isnan(stuck.scores).all()
    assert stuck.begun
    time.sleep(0.02)
    assert pairs.overdue_s() > 0
    assert not pairs.restart(60)
    assert pairs.restart(0.001)
    waiting = ask_for(pairs, "waiting", [TEXT])
    model.go.set()
    finish(pairs, waiting)
    assert waiting.scores.tolist() == [len(TEXT)]
    time.sleep(0.05)  # the stuck one ends at last, and starts no second thread of calls
    more = [ask_for(pairs, f"more {i}", [TEXT]) for i in range(3)]
    finish(pairs, *more)
    assert all(ask.scores.tolist() == [len(TEXT)] for ask in more)
    pairs.close()


def test_a_call_waits_for_others_only_where_they_come_fast() -> None:
    model = Lengths()
    pairs = Pairs(model, Limits(), ScoreCache("x", 0, 60), wait_s=0.05)
    lone = ask_for(pairs, "lone", [TEXT])
    finish(pairs, lone)
    assert pairs._gap_s > 0.05, "nobody came before it, so that it does not wait"
    pairs._gap_s = 0.0
    with pairs._lock:  # they come while the call is being put together
        model.calls.clear()
    asks = [ask_for(pairs, f"q{i}", ["b"]) for i in range(5)]
    finish(pairs, *asks)
    assert len(model.calls) <= 2
    pairs.close()


def test_several_calls_at_once_where_the_model_takes_them() -> None:
    model = Lengths()
    pairs = make(model, Limits(calls=4, texts=8))
    model.go.clear()
    ask = ask_for(pairs, "q", [f"{i} {TEXT}" for i in range(32)])
    for _ in range(4):
        assert model.entered.acquire(timeout=10)
    model.go.set()
    finish(pairs, ask)
    assert ask.scores.tolist() == [len(text) for text in ask.texts]
    assert [len(call[0][1]) for call in model.calls] == [8, 8, 8, 8]
    pairs.close()


def test_a_text_longer_than_a_calls_budget_is_scored_while_there_is_time() -> None:
    model = Lengths()
    pairs = make(model)
    pairs.pace.learn(100, 1.0)  # a slow machine, whose calls are the smallest there are
    texts = [f"{i} " + "x" * (1500 if i % 3 else 40) for i in range(12)]
    ask = ask_for(pairs, "q", texts, 300)
    finish(pairs, ask)
    assert ask.scores.tolist() == [len(text) for text in texts]
    pairs.close()
