"""Which texts are read first where time is short, and what becomes of what was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from es_rerank.proxy.scoring.job import Job, LateError, assess
from es_rerank.proxy.scoring.pairs import Pairs
from es_rerank.proxy.scoring.score_cache import ScoreCache
from es_rerank.proxy.scoring.stages import Opened, close_jobs, open_jobs, promise
from es_rerank.ranking.blend import Weights
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions
from es_rerank.ranking.score import Limits, PairScorer, VectorCache
from tests.ranking.bag_of_words import BagOfWords, WordOverlap

QUERY = "red shoe"
TEXTS = ["green hat", "blue shoe", "garden gnome", "red shoe", "black tie"]
OPTIONS = RankingOptions(diversity=0.0)


class Slow(WordOverlap):
    """Takes a tenth of a second for each text."""

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        time.sleep(0.1 * sum(len(texts) for _, texts in lists))
        return super().score_lists(lists)


def make(model: WordOverlap, tokens_per_s: float = 0.0, cached: bool = False) -> Pairs:
    cache = ScoreCache("m", 1_000_000 if cached else 0, 60)
    pairs = Pairs(model, Limits(), cache, wait_s=0)
    if tokens_per_s:
        pairs.pace.learn(int(tokens_per_s), 1.0)
    return pairs


def window(texts: Sequence[str | None], vectors: bool) -> Candidates:
    rows = BagOfWords().encode([text or "" for text in texts]) if vectors else None
    return Candidates(np.linspace(9, 1, len(texts)), texts, rows)


def rank(
    pairs: Pairs,
    candidates: Candidates,
    timeout_s: float,
    vectors: VectorCache | None = None,
    options: RankingOptions = OPTIONS,
    cosine_share: float = 0.0,
) -> tuple[list[Ranking | Exception], bool]:
    """Returns what came of it, and whether it had to wait for the model."""
    jobs = [Job(QUERY, lambda: candidates, options, timeout_s)]
    scorer = PairScorer(pairs.model, cosine_share)
    opened = open_jobs(jobs, scorer, vectors, pairs, time.monotonic(), 0.0)
    asks = [each.ask for each in opened if isinstance(each, Opened)]
    if asks:
        asyncio.run(pairs.wait(asks))
    return close_jobs(opened, pairs), bool(asks)


def test_vectors_say_what_is_read_first() -> None:
    model = Slow()
    pairs = make(model, tokens_per_s=40)
    options = RankingOptions(Weights(1.0, 0.0), diversity=0.0)
    cache = VectorCache(BagOfWords())
    (ranking,), waited = rank(pairs, window(TEXTS, True), 0.45, cache, options)
    assert waited
    assert isinstance(ranking, Ranking)
    read = [text for _, texts in model.asked for text in texts]
    assert read[0] == "red shoe"
    assert ranking.scored is not None
    assert ranking.scored[0] == len(read) < ranking.scored[1] == len(TEXTS)
    order = [TEXTS[i] for i in ranking.order]
    assert order[0] == "red shoe"
    rest = [i for i in ranking.order if TEXTS[i] not in read]
    assert rest == sorted(rest)
    pairs.close()


def test_without_vectors_the_engines_order_does() -> None:
    model = Slow()
    pairs = make(model, tokens_per_s=40)
    (ranking,), _ = rank(pairs, window(TEXTS, False), 0.45)
    assert isinstance(ranking, Ranking)
    read = [text for _, texts in model.asked for text in texts]
    assert read == TEXTS[: len(read)]
    assert 0 < len(read) < len(TEXTS)
    pairs.close()


def test_promise_counts_the_engines_score_as_the_operator_weighs_it() -> None:
    pairs = make(Slow(), tokens_per_s=1)
    candidates = window([*TEXTS, None], True)
    cache = VectorCache(BagOfWords())
    for weights, first in ((Weights(1, 0), 3), (Weights(0.001, 1), 0)):
        jobs = [Job(QUERY, lambda: candidates, RankingOptions(weights, 0.0), 0.05)]
        scorer = PairScorer(pairs.model)
        (opened,) = open_jobs(jobs, scorer, cache, pairs, time.monotonic(), 0.0)
        assert isinstance(opened, Opened)
        order = promise(opened, cache)
        assert (order[0], sorted(order)) == (first, [0, 1, 2, 3, 4])
    pairs.close()


def test_known_scores_need_no_wait() -> None:
    model = WordOverlap()
    pairs = make(model, cached=True)
    candidates = window([*TEXTS, None], False)
    (first,), waited = rank(pairs, candidates, 30)
    assert waited
    calls = len(model.asked)
    (again,), waited = rank(pairs, candidates, 30)
    assert not waited
    assert len(model.asked) == calls
    assert isinstance(first, Ranking)
    assert isinstance(again, Ranking)
    assert again.order.tolist() == first.order.tolist()
    assert again.scored is None
    pairs.close()


def test_a_window_of_which_nothing_was_read_is_late() -> None:
    pairs = make(Slow())
    (late,), _ = rank(pairs, window(TEXTS, False), 1e-6)
    assert isinstance(late, LateError)
    assert not late.begun
    assert assess([late], whole=True) is None, "a long queue says nothing about the model"
    assert assess([LateError(begun=True)], whole=True) is False
    pairs.close()


def test_where_nothing_was_read_a_model_that_counts_on_the_cosine_goes_by_it() -> None:
    pairs, cache = make(Slow()), VectorCache(BagOfWords())
    options = RankingOptions(Weights(1.0, 0.0), diversity=0.0)
    texts = [*TEXTS[:2], None, *TEXTS[2:]]
    (ranking,), _ = rank(pairs, window(texts, True), 1e-6, cache, options, cosine_share=0.5)
    assert isinstance(ranking, Ranking)
    assert ranking.scored == (0, 5)
    assert [texts[i] for i in ranking.order[:3]] == ["red shoe", "blue shoe", None]
    assert assess([ranking], whole=True) is True
    pairs.close()


@pytest.mark.parametrize("query", [None, "红 鞋"])
def test_what_the_model_is_not_asked_about_does_not_wait(query: str | None) -> None:
    pairs = make(Slow())
    jobs = [Job(query, lambda: window(TEXTS, False), OPTIONS, 30)]
    (done,) = open_jobs(jobs, PairScorer(pairs.model), None, pairs, time.monotonic(), 0.0)
    assert isinstance(done, Ranking)
    assert done.relevance is None
    pairs.close()


def test_a_window_that_cannot_be_read_fails_alone() -> None:
    def broken() -> Candidates:
        raise ValueError("unreadable")

    pairs = make(WordOverlap())
    jobs = [Job(QUERY, broken, OPTIONS, 30), Job(QUERY, lambda: window(TEXTS, False), OPTIONS, 30)]
    opened = open_jobs(jobs, PairScorer(pairs.model), None, pairs, time.monotonic(), 0.0)
    asyncio.run(pairs.wait([each.ask for each in opened if isinstance(each, Opened)]))
    bad, good = close_jobs(opened, pairs)
    assert isinstance(bad, ValueError)
    assert isinstance(good, Ranking)
    pairs.close()
