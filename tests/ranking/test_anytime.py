"""Windows that the model had no time to read whole."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.crowding import Cap
from es_rerank.ranking.pipeline import (
    Ranking,
    RankingOptions,
    Window,
    finish,
    prepare,
    rank,
)
from es_rerank.ranking.score import PairScorer, VectorCache
from tests.ranking.bag_of_words import BagOfWords, WordOverlap
from tests.ranking.test_pipeline import OPTIONS, RELEVANCE_ONLY, TEXTS, windows


@st.composite
def partly_read(draw: st.DrawFn) -> tuple[Candidates, np.ndarray, np.ndarray]:
    candidates = draw(windows())
    texts = np.array([bool(text) for text in candidates.texts], dtype=np.bool_)
    n = len(texts)
    late = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.bool_) & texts
    relevance = np.array(draw(st.lists(st.floats(-9, 9), min_size=n, max_size=n)), np.float64)
    relevance[late | ~texts] = np.nan
    return candidates, relevance, late


def finish_one(
    candidates: Candidates, options: RankingOptions, relevance: np.ndarray, late: np.ndarray
) -> Ranking:
    scorer = PairScorer(WordOverlap())
    (judged,) = prepare([Window("red shoe", candidates, options)], scorer)
    judged.relevance, judged.late = relevance, late
    (ranking,) = finish([judged])
    assert isinstance(ranking, Ranking)
    return ranking


@given(partly_read(), OPTIONS)
def test_what_was_not_read_follows_in_the_engines_order(
    window: tuple[Candidates, np.ndarray, np.ndarray], options: RankingOptions
) -> None:
    candidates, relevance, late = window
    ranking = finish_one(candidates, options, relevance, late)
    order = ranking.order.tolist()
    assert sorted(order) == list(range(len(candidates)))
    textless = [i for i, text in enumerate(candidates.texts) if not text]
    assert [order[i] for i in textless] == textless
    unread = [i for i in order if late[i]]
    if not options.crowding:
        assert unread == sorted(unread)
        placed = [i for i in order if candidates.texts[i]]
        assert placed[len(placed) - len(unread) :] == unread
    if late.any():
        texts = len(candidates) - len(textless)
        assert ranking.scored == (texts - int(late.sum()), texts)
    else:
        assert ranking.scored is None


@given(windows(), OPTIONS)
def test_all_read_is_as_ever(candidates: Candidates, options: RankingOptions) -> None:
    alone = rank("red shoe", candidates, options, PairScorer(WordOverlap()))
    if alone.relevance is None:
        return
    late = np.zeros(len(candidates), np.bool_)
    ranking = finish_one(candidates, options, alone.relevance, late)
    assert ranking.order.tolist() == alone.order.tolist()


def test_the_read_are_ranked_among_themselves() -> None:
    candidates = Candidates(np.linspace(9, 1, len(TEXTS)), TEXTS)
    late = np.array([False, True, False, False, True])
    relevance = np.array([0.1, np.nan, 0.5, 0.9, np.nan])
    ranking = finish_one(candidates, RELEVANCE_ONLY, relevance, late)
    assert ranking.order.tolist() == [3, 2, 0, 1, 4]
    assert ranking.scored == (3, 5)


def test_caps_hold_over_the_unread_too() -> None:
    brands = {"brand": ["a", "b", "a", "a", "b"]}
    candidates = Candidates(np.linspace(9, 1, 5), TEXTS, attributes=brands)
    late = np.array([False, True, False, False, True])
    relevance = np.array([0.1, np.nan, 0.5, 0.9, np.nan])
    options = RankingOptions(RELEVANCE_ONLY.weights, 0.0, crowding=(Cap("brand", 1, 2),))
    ranking = finish_one(candidates, options, relevance, late)
    assert [brands["brand"][i] for i in ranking.order] == ["a", "b", "a", "b", "a"]


def test_a_cross_encoder_goes_on_without_vectors_that_take_too_long() -> None:
    cache = VectorCache(BagOfWords())
    cache._seconds_per_text = 1.0
    candidates = Candidates(np.linspace(9, 1, len(TEXTS)), TEXTS)
    scorer = PairScorer(WordOverlap())
    cache.encode(TEXTS[:2])
    ranking = rank("red shoe", candidates, RankingOptions(), scorer, cache, budget_s=2.5)
    assert ranking.notes == ("vectors-later",)
    assert ranking.unembedded == TEXTS
    assert ranking.relevance is not None
    assert cache.find(TEXTS).keys() == set(TEXTS[:2])
