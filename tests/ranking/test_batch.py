"""Windows ranked together: as each alone, with one call of the encoder, failing each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.models.embedder import load_embedder
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import Ranking, RankingOptions, Window, rank, rank_all
from es_rerank.ranking.score import (
    BiEncoderScorer,
    PairScorer,
    Scorer,
    TooSlowError,
    VectorCache,
)
from tests.ranking.bag_of_words import BagOfWords, WordOverlap
from tests.ranking.test_pipeline import OPTIONS, windows

QUERIES = st.sampled_from([None, "", "red shoe", "garden", "红 鞋"])
SHOES = ["red shoe", "blue shoe", None, "green hat"]
NO_DIVERSITY = RankingOptions(diversity=0.0)


def window(texts: Sequence[str | None], query: str | None = "red shoe") -> Window:
    candidates = Candidates(np.arange(len(texts), 0, -1, dtype=np.float64), texts)
    return Window(query, candidates, NO_DIVERSITY)


class Counting(BagOfWords):
    """Remembers each call's texts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return super().encode(texts)


@given(st.lists(st.builds(Window, QUERIES, windows(), OPTIONS), max_size=4), st.booleans())
def test_together_as_each_alone(batch: list[Window], pairs: bool) -> None:
    def make() -> tuple[Scorer, VectorCache]:
        cache = VectorCache(BagOfWords())
        return (PairScorer(WordOverlap()) if pairs else BiEncoderScorer(cache)), cache

    together = rank_all(batch, *make())
    assert len(together) == len(batch)
    for each, ranking in zip(batch, together, strict=True):
        alone = rank(each.query, each.candidates, each.options, *make())
        assert isinstance(ranking, Ranking)
        assert ranking.order.tolist() == alone.order.tolist()
        assert np.array_equal(ranking.blended, alone.blended)
        assert ranking.notes == alone.notes
        assert (ranking.relevance is None) == (alone.relevance is None)


def test_texts_and_queries_of_all_are_embedded_in_one_call() -> None:
    encoder = Counting()
    cache = VectorCache(encoder)
    batch = [window(SHOES), window(["red shoe", "boot"], "boots"), window(["hat"], None)]
    rank_all(batch, BiEncoderScorer(cache), cache)
    assert [sorted(call) for call in encoder.calls] == [
        ["blue shoe", "boot", "boots", "green hat", "red shoe"]
    ]


def test_a_real_model_is_asked_once() -> None:
    embedder = load_embedder(device="cpu")
    sizes: list[int] = []
    encode = embedder.encode

    class Listener:
        name, dimensions = embedder.name, embedder.dimensions
        unknown_share = staticmethod(embedder.unknown_share)

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            sizes.append(len(texts))
            return encode(texts)

    batch = [window([f"a {colour} {i}" for i in range(6)], colour) for colour in ("red", "blue")]
    cache = VectorCache(Listener())
    together = rank_all(batch, BiEncoderScorer(cache), cache)
    assert sizes == [14]
    for each, ranking in zip(batch, together, strict=True):
        fresh = VectorCache(embedder)
        alone = rank(each.query, each.candidates, each.options, BiEncoderScorer(fresh), fresh)
        assert isinstance(ranking, Ranking)
        assert ranking.order.tolist() == alone.order.tolist()
        assert ranking.relevance == pytest.approx(alone.relevance, abs=1e-5)


def test_what_would_take_too_long_is_left_out_and_the_others_are_not() -> None:
    encoder = BagOfWords()
    cache = VectorCache(encoder)
    cache._seconds_per_text = 1.0
    batch = [
        replace(window(["a", "b"]), budget_s=3.0),
        replace(window(["a", "b", "c", "d", "e"]), budget_s=4.0),
        replace(window(["b", "f"]), budget_s=3.5),
    ]
    first, second, third = rank_all(batch, BiEncoderScorer(cache), cache)
    assert isinstance(first, Ranking)
    assert isinstance(third, Ranking)
    assert isinstance(second, TooSlowError)
    assert (second.texts, second.seconds) == (["a", "b", "c", "d", "e"], 5.0)
    assert set(encoder.encoded) == {"a", "b", "f", "red shoe"}


def test_errors_stay_with_their_window() -> None:
    class Picky(WordOverlap):
        def score_lists(
            self, lists: Sequence[tuple[str, Sequence[str]]]
        ) -> list[NDArray[np.float64] | Exception]:
            return [
                ValueError("odd") if query == "odd" else self.score_pairs(query, texts)
                for query, texts in lists
            ]

    good, bad = rank_all([window(SHOES), window(SHOES, "odd")], PairScorer(Picky()))
    assert isinstance(good, Ranking)
    assert isinstance(bad, ValueError)


def test_a_scorer_that_knows_no_batches_is_asked_one_by_one() -> None:
    class Simple:
        name = "simple"

        def score(self, query: str, candidates: Candidates) -> NDArray[np.float64]:
            if query == "odd":
                raise ValueError("odd")
            return np.arange(len(candidates), dtype=np.float64)

        def unknown_share(self, query: str) -> float:
            return 0.0

    bad, good = rank_all([window(SHOES, "odd"), window(SHOES)], Simple())
    assert isinstance(bad, ValueError)
    assert isinstance(good, Ranking)
    assert good.relevance is not None
    assert good.relevance.tolist() == [0, 1, 2, 3]
