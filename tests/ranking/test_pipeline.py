from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.ranking.blend import Weights
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.crowding import Cap
from es_rerank.ranking.diversity.kernel import Kernel, KernelWeights
from es_rerank.ranking.pipeline import RankingOptions, keep_places, rank, sample_texts
from es_rerank.ranking.score import BiEncoderScorer, PairScorer, VectorCache
from tests.ranking.bag_of_words import BagOfWords, WordOverlap

TEXTS = ["red shoe", "red shoe laces", "blue shoe", "green hat", "garden gnome"]
RELEVANCE_ONLY = RankingOptions(weights=Weights(1.0, 0.0), diversity=0.0)


def window(texts: list[str | None] | None = None) -> Candidates:
    kept = TEXTS[::-1] if texts is None else texts
    return Candidates(np.linspace(9, 1, len(kept)), kept)


@st.composite
def windows(draw: st.DrawFn) -> Candidates:
    n = draw(st.integers(0, 15))

    def column(strategy: st.SearchStrategy[object]) -> list:  # type: ignore[type-arg]
        return draw(st.lists(strategy, min_size=n, max_size=n))

    scores = column(st.floats(0, 100, width=32) | st.just(float("nan")))
    texts = column(st.none() | st.sampled_from(["", *TEXTS]))
    vectors, has_vector = None, None
    if draw(st.booleans()):
        vectors = BagOfWords().encode(column(st.sampled_from(TEXTS)))
        has_vector = np.array(column(st.booleans()), dtype=np.bool_)
        vectors[~has_vector] = 0
    attributes = {name: column(st.none() | st.sampled_from("ab")) for name in ("brand", "type")}
    return Candidates(np.array(scores, dtype=np.float64), texts, vectors, has_vector, attributes)


OPTIONS = st.builds(
    RankingOptions,
    weights=st.sampled_from([Weights(), Weights(1, 0), Weights(0, 1)]),
    diversity=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    kernel=st.sampled_from([KernelWeights(), KernelWeights(1, 0), KernelWeights(0, 1)]),
    crowding=st.sampled_from([(), (Cap("brand", 1, 3),), (Cap("brand", 2), Cap("type", 2, 5))]),
    min_score=st.none() | st.floats(0, 1),
)


@given(windows(), OPTIONS, st.sampled_from([None, "", "red shoe", "红 鞋"]), st.booleans())
def test_the_order_is_a_permutation_and_the_unscored_keep_their_places(
    candidates: Candidates, options: RankingOptions, query: str | None, pairs: bool
) -> None:
    cache = VectorCache(BagOfWords())
    scorer = PairScorer(WordOverlap()) if pairs else BiEncoderScorer(cache)
    ranking = rank(query, candidates, options, scorer, cache)
    n = len(candidates)
    assert sorted(ranking.order) == list(range(n))
    assert ranking.order.dtype == np.int64
    assert ((ranking.blended >= 0) & (ranking.blended <= 1)).all()
    assert (ranking.blended.shape, set(ranking.stages)) == ((n,), {"score", "diversify"})
    if ranking.relevance is not None:
        unscored = np.flatnonzero(np.isnan(ranking.relevance))
        assert ranking.order[unscored].tolist() == unscored.tolist()
    again = rank(query, candidates, options, scorer, cache)
    assert again.order.tolist() == ranking.order.tolist()


def test_relevance_decides() -> None:
    ranking = rank("red shoe", window(), RELEVANCE_ONLY, PairScorer(WordOverlap()))
    assert ranking.relevance is not None
    assert ranking.relevance.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert ranking.order.tolist() == [3, 4, 2, 0, 1]  # equals stand as the engine had them
    assert ranking.notes == ()


def test_a_candidate_without_text_keeps_its_place() -> None:
    texts = ["garden gnome", None, "red hat", "", "red shoe"]
    ranking = rank("red shoe", window(texts), RELEVANCE_ONLY, PairScorer(WordOverlap()))
    assert ranking.order.tolist() == [4, 1, 2, 3, 0]


@pytest.mark.parametrize(
    ("query", "note"), [(None, "no-query-text"), ("", "no-query-text"), ("红 鞋 nike", "language")]
)
def test_what_the_model_cannot_judge_is_left_to_the_engine(query: str | None, note: str) -> None:
    model = WordOverlap()
    ranking = rank(query, window(), RELEVANCE_ONLY, PairScorer(model))
    assert ranking.notes == (note,)
    assert ranking.relevance is None
    assert ranking.order.tolist() == [0, 1, 2, 3, 4]
    assert model.asked == []


@pytest.mark.parametrize(("limit", "notes"), [(0.3, ("language",)), (0.7, ())])
def test_texts_that_the_model_does_not_know_are_left_to_the_engine(
    limit: float, notes: tuple[str, ...]
) -> None:
    """Three of five words; diversity stays."""
    attributes = {"brand": ["a", "a", "b"]}
    texts: list[str | None] = ["红 鞋 nike", "绿 鞋", None]
    candidates = replace(window([*texts[:2], "red shoe"]), attributes=attributes)
    options = RankingOptions(
        Weights(1.0, 0.0), diversity=0.9, kernel=KernelWeights(0, 1), unknown_limit=limit
    )
    ranking = rank("red shoe", candidates, options, PairScorer(WordOverlap()))
    assert ranking.notes == notes
    assert (ranking.relevance is None) == bool(notes)
    assert ranking.order.tolist() == ([0, 2, 1] if notes else [2, 0, 1])


def test_vectors_are_compared_whatever_the_texts_are() -> None:
    candidates = window(["红 鞋", "红 鞋 nike"])
    vectors = VectorCache(BagOfWords())
    ranking = rank("nike", candidates, RELEVANCE_ONLY, BiEncoderScorer(vectors), vectors)
    assert ranking.notes == ()
    assert ranking.order.tolist() == [1, 0]


def test_the_sample_of_texts_is_from_all_over_the_window() -> None:
    assert sample_texts([]) == ""
    assert sample_texts([None, "", "a" * 300]) == "a" * 200
    assert sample_texts([str(i) for i in range(100)]) == "0 13 26 39 52 65 78 91"


def test_a_query_with_few_unknown_words_is_judged() -> None:
    ranking = rank("red shoe with laces 鞋", window(), RELEVANCE_ONLY, PairScorer(WordOverlap()))
    assert ranking.notes == ()
    assert ranking.order[0] == 3


def test_with_no_weight_on_relevance_the_model_is_not_asked() -> None:
    model = WordOverlap()
    options = replace(RELEVANCE_ONLY, weights=Weights(0.0, 1.0))
    ranking = rank("red shoe", window(), options, PairScorer(model))
    assert (ranking.order.tolist(), ranking.relevance) == ([0, 1, 2, 3, 4], None)
    assert model.asked == []


def test_min_score_demotes() -> None:
    attributes = {"brand": ["a", "a", "a", "b", "b"]}
    candidates = replace(window(), attributes=attributes)
    options = RankingOptions(Weights(1.0, 0.0), diversity=1.0, kernel=KernelWeights(0, 1))
    spread = rank("red shoe", candidates, options, PairScorer(WordOverlap()))
    assert spread.order.tolist() == [3, 2, 4, 0, 1]
    options = replace(options, diversity=0.5)
    for min_score in (0.6, 1.0):
        options = replace(options, min_score=min_score)
        kept = rank("red shoe", candidates, options, PairScorer(WordOverlap()))
        assert kept.order.tolist() == [3, 4, 2, 0, 1]


@pytest.mark.parametrize("query", ["red shoe", None])
@pytest.mark.parametrize("weights", [Weights(), Weights(0.0, 1.0)])
def test_documents_are_embedded_for_the_kernel(query: str | None, weights: Weights) -> None:
    """Without stored vectors the repetition still goes down, whatever decides relevance."""
    candidates = window(["red shoe", "red shoe", "green hat"])
    options = RankingOptions(weights, diversity=0.9)
    vectors = VectorCache(BagOfWords())
    ranking = rank(query, candidates, options, PairScorer(WordOverlap()), vectors)
    assert ranking.order.tolist() == [0, 2, 1]


def test_documents_in_an_unknown_language_are_not_embedded() -> None:
    encoder = BagOfWords()
    candidates = window(["红 鞋", "红 鞋", "绿 帽"])
    ranking = rank(
        "红 鞋", candidates, RankingOptions(), PairScorer(WordOverlap()), VectorCache(encoder)
    )
    assert encoder.encoded == []
    assert ranking.notes == ("language", "nothing-to-diversify-by")
    assert ranking.order.tolist() == [0, 1, 2]


def test_crowding_follows_diversity() -> None:
    candidates = replace(window(), attributes={"brand": ["b", "b", "b", "a", "a"]})
    options = replace(RELEVANCE_ONLY, crowding=(Cap("brand", 1, 2),))
    ranking = rank("red shoe", candidates, options, PairScorer(WordOverlap()))
    assert ranking.order.tolist() == [3, 2, 4, 0, 1]


def test_a_scorer_may_raise() -> None:
    class Broken(WordOverlap):
        def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        rank("red shoe", window(), RankingOptions(), PairScorer(Broken()))


@given(st.permutations(range(8)), st.lists(st.booleans(), min_size=8, max_size=8))
def test_kept_places(order: list[int], kept: list[bool]) -> None:
    result = keep_places(np.array(order, dtype=np.int64), np.array(kept)).tolist()
    assert sorted(result) == list(range(8))
    assert all(result[i] == i for i in range(8) if kept[i])
    assert [i for i in result if not kept[i]] == [i for i in order if not kept[i]]


@dataclass(frozen=True)
class Stock:
    """In stock first."""

    name: str = "stock"
    fields: tuple[str, ...] = ("stock",)

    def score(self, query: str | None, candidates: Candidates) -> NDArray[np.float64]:
        return np.array([float(values[0]) for values in candidates.values["stock"]])


def test_a_signal_moves_what_it_favours() -> None:
    candidates = replace(window(), values={"stock": [[0], [0], [1], [0], [0]]})
    options = RankingOptions(weights=Weights(0.0, 0.5), diversity=0.0, signals=((Stock(), 1.0),))
    ranking = rank(None, candidates, options, PairScorer(WordOverlap()))
    assert ranking.order.tolist() == [2, 0, 1, 3, 4]
    assert ranking.signals["stock"].tolist() == [0, 0, 1, 0, 0]


def test_another_diversifier_takes_the_place_of_the_dpp() -> None:
    candidates = replace(window(), attributes={"brand": list("aabbc")})

    def backwards(
        relevance: NDArray[np.float64], kernel: Kernel, diversity: float
    ) -> NDArray[np.int64]:
        return np.arange(kernel.size)[::-1]

    options = RankingOptions(diversity=0.5, diversifier=backwards)
    ranking = rank(None, candidates, options, PairScorer(WordOverlap()))
    assert ranking.order.tolist() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("order", [[0, 0, 1, 2, 3], [0, 1, 2], [1, 2, 3, 4, 5]])
def test_an_order_that_loses_or_repeats_a_candidate_is_refused(order: list[int]) -> None:
    candidates = replace(window(), attributes={"brand": list("aabbc")})
    options = RankingOptions(diversity=0.5, diversifier=lambda *_: np.array(order))
    with pytest.raises(ValueError, match="no permutation"):
        rank(None, candidates, options, PairScorer(WordOverlap()))
