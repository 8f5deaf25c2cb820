from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.score import (
    KEY_BYTES,
    BiEncoderScorer,
    PairScorer,
    TooSlowError,
    VectorCache,
    fill_vectors,
)
from es_rerank.telemetry import METRICS
from tests.ranking.bag_of_words import BagOfWords, WordOverlap

WORDS = st.lists(st.sampled_from(["red shoe", "blue shoe", "hat", "", "a b c"]), max_size=12)


@given(st.lists(WORDS, max_size=6), st.integers(1, 4))
def test_a_cached_vector_is_the_encoders(calls: list[list[str]], max_rows: int) -> None:
    cache = VectorCache(BagOfWords(), max_rows)
    for texts in calls:
        assert np.array_equal(cache.encode(texts), BagOfWords().encode(texts))


def test_a_text_is_encoded_once_while_it_is_kept() -> None:
    encoder = BagOfWords()
    cache = VectorCache(encoder, max_rows=2)
    cache.encode(["a", "b", "a"])
    assert encoder.encoded == ["a", "b"]
    cache.encode(["a"])  # now b is the least recently used
    cache.encode(["c"])
    cache.encode(["a", "c"])
    assert encoder.encoded == ["a", "b", "c"]
    cache.encode(["b"])
    assert encoder.encoded == ["a", "b", "c", "b"]


def test_no_texts() -> None:
    assert VectorCache(BagOfWords(7)).encode([]).shape == (0, 7)


def test_what_is_returned_can_be_written_to() -> None:
    cache = VectorCache(BagOfWords())
    cache.encode(["a"])[:] = 0
    assert np.array_equal(cache.encode(["a"]), BagOfWords().encode(["a"]))


def test_memory_is_bounded_by_the_rows_kept() -> None:
    """One row of each large batch is kept in use; the batches must not stay with them."""
    dimensions, batch, max_rows = 256, 200, 400
    cache = VectorCache(BagOfWords(dimensions), max_rows)
    tracemalloc.start()
    for i in range(20):
        cache.encode([f"{i} {k}" for k in range(batch)])
        cache.encode([f"{k} {batch - 1}" for k in range(i + 1)])
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 2 * max_rows * dimensions * 4


def test_many_threads_get_the_right_vectors() -> None:
    cache = VectorCache(BagOfWords(), max_rows=5)
    texts = [f"word{i % 17} thing" for i in range(400)]
    expected = dict(zip(texts, BagOfWords().encode(texts), strict=True))

    def ask(start: int) -> bool:
        part = texts[start : start + 7]
        return np.array_equal(cache.encode(part), [expected[text] for text in part])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(390)))


def test_half_an_emoji_can_be_looked_up() -> None:
    class Encoder(BagOfWords):
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super().encode([text.encode("utf-8", "replace").decode() for text in texts])

    assert np.array_equal(
        VectorCache(Encoder()).encode(["shoe \ud83d"]), BagOfWords().encode(["shoe ?"])
    )


def test_stored_vectors_stay_and_the_rest_is_embedded() -> None:
    encoder = BagOfWords(4)
    stored = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    candidates = Candidates(
        np.zeros(4), ["red", "blue", None, ""], stored, np.array([True, False, False, False])
    )
    filled = fill_vectors(candidates, VectorCache(encoder))
    assert encoder.encoded == ["blue"]
    assert filled.vectors is not None
    assert filled.has_vector is not None
    assert filled.has_vector.tolist() == [True, True, False, False]
    assert np.array_equal(filled.vectors[0], stored[0])
    assert np.array_equal(filled.vectors[1], BagOfWords(4).encode(["blue"])[0])
    assert not filled.vectors[2:].any()
    assert candidates.vectors is stored
    assert not stored[1:].any()


def test_without_a_mask_every_stored_vector_counts() -> None:
    encoder = BagOfWords(2)
    filled = fill_vectors(
        Candidates(np.zeros(2), ["a", "b"], np.eye(2, dtype=np.float32)), VectorCache(encoder)
    )
    assert encoder.encoded == []
    assert filled.vectors is not None
    assert np.array_equal(filled.vectors, np.eye(2))


def test_vectors_of_another_model_are_embedded_anew() -> None:
    encoder = BagOfWords(4)
    stored = np.ones((1, 3), np.float32)
    filled = fill_vectors(
        Candidates(np.zeros(1), ["a"], stored, np.array([True])), VectorCache(encoder)
    )
    assert filled.vectors is not None
    assert np.array_equal(filled.vectors, BagOfWords(4).encode(["a"]))


def test_a_bi_encoder_scores_by_cosine() -> None:
    encoder = BagOfWords()
    scorer = BiEncoderScorer(VectorCache(encoder))
    texts = ["red shoe", "red hat", "garden gnome"]
    scores = scorer.score("red shoe", Candidates(np.zeros(5), [*texts, None, ""]))
    expected = BagOfWords().encode(texts) @ BagOfWords().encode(["red shoe"])[0]
    assert scores[:3] == pytest.approx(expected)
    assert scores[0] > scores[1] > scores[2]
    assert np.isnan(scores[3:]).all()
    assert scores.dtype == np.float64
    assert (scorer.name, scorer.unknown_share("red 鞋")) == ("bag-of-words", 0.5)


def test_a_stored_vector_scores_a_candidate_without_text() -> None:
    stored = BagOfWords().encode(["red shoe"])
    candidates = Candidates(np.zeros(1), [None], stored, np.array([True]))
    scores = BiEncoderScorer(VectorCache(BagOfWords())).score("red shoe", candidates)
    assert scores == pytest.approx([1.0])


def test_a_pair_model_reads_only_texts() -> None:
    model = WordOverlap()
    scorer = PairScorer(model)
    scores = scorer.score("red shoe", Candidates(np.zeros(4), [None, "red hat", "", "red shoe"]))
    assert model.asked == [("red shoe", ["red hat", "red shoe"])]
    assert np.isnan(scores[[0, 2]]).all()
    assert scores[[1, 3]].tolist() == [0.5, 1.0]
    assert (scorer.name, scorer.unknown_share("鞋")) == ("word-overlap", 1.0)
    assert np.isnan(scorer.score("red", Candidates(np.zeros(2), [None, ""]))).all()
    assert len(model.asked) == 1


def test_no_candidates() -> None:
    nobody = Candidates(np.zeros(0), [])
    assert BiEncoderScorer(VectorCache(BagOfWords())).score("red", nobody).shape == (0,)
    assert PairScorer(WordOverlap()).score("red", nobody).shape == (0,)


def test_vectors_that_would_take_too_long_are_not_begun() -> None:
    class Slow(BagOfWords):
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            time.sleep(0.01 * len(texts))
            return super().encode(texts)

    encoder = Slow()
    cache = VectorCache(encoder)
    texts = [f"text {i}" for i in range(20)]
    assert cache.estimate_s(texts) == 0, "no speed is known yet"
    cache.encode(texts[:10])
    assert cache.estimate_s(texts[:10]) == 0, "these are known"
    assert cache.estimate_s(texts) >= 0.1
    begun = len(encoder.encoded)
    window = Candidates(first_stage=np.ones(20), texts=texts)
    with pytest.raises(TooSlowError) as caught:
        fill_vectors(window, cache, 0.05)
    assert caught.value.texts == texts
    assert len(encoder.encoded) == begun
    filled = fill_vectors(window, cache, 60)
    assert filled.has_vector is not None
    assert filled.has_vector.all()


def test_vectors_that_are_kept_are_counted() -> None:
    def counted(result: str) -> float:
        labels = {"cache": "vector", "result": result}
        return METRICS.get_sample_value("es_rerank_cache_lookups_total", labels) or 0.0

    cache = VectorCache(BagOfWords())
    hits, misses = counted("hit"), counted("miss")
    cache.encode(["a", "b"])
    cache.encode(["b", "c", "d"])
    assert (counted("hit") - hits, counted("miss") - misses) == (1, 4)
    taken = METRICS.get_sample_value("es_rerank_cache_bytes", {"cache": "vector"})
    assert taken == 4 * (4 * cache.encoder.dimensions + KEY_BYTES)
