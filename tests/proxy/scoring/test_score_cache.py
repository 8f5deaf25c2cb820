"""Scores that are kept: found by model, query and text alone, and bounded."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.scoring.score_cache import ScoreCache
from es_rerank.telemetry import CACHE_BYTES, CACHE_LOOKUPS

TEXT = st.text("ab", max_size=2)
CALLS = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=4), st.booleans()), max_size=20)


@given(CALLS, st.sampled_from([1_000, 3_000, 1_000_000]))
def test_what_is_found_is_what_was_kept(
    calls: list[tuple[str, list[str], bool]], most: int
) -> None:
    cache = ScoreCache("model", most, 60)
    kept: dict[tuple[str, str], float] = {}
    for i, (query, texts, keeps) in enumerate(calls):
        keys = cache.hash_texts(texts)
        if keeps:
            scores = np.array([1000.0 * i + k for k in range(len(texts))])
            cache.keep(query, keys, scores)
            kept.update(((query, text), s) for text, s in zip(texts, scores, strict=True))
        for text, score in zip(texts, cache.find(query, keys), strict=True):
            assert np.isnan(score) or score == kept[query, text]
            if most == 1_000_000:
                assert np.isnan(score) == ((query, text) not in kept)
        assert cache.size <= most


def test_another_model_and_another_query_find_nothing() -> None:
    cache = ScoreCache("model 1", 10_000, 60)
    keys = cache.hash_texts(["a", "b"])
    cache.keep("red", keys, np.array([1.0, np.nan]))
    assert cache.find("red", keys)[0] == 1.0
    assert np.isnan(cache.find("red", keys)[1]), "NaN is no score"
    assert np.isnan(cache.find("Red", keys)).all()
    other = ScoreCache("model 2", 10_000, 60)
    assert cache._name("red") != other._name("red")


def test_a_score_is_kept_for_its_time() -> None:
    now = 0.0
    cache = ScoreCache("model", 10_000, 10, clock=lambda: now)
    keys = cache.hash_texts(["a"])
    cache.keep("red", keys, np.array([1.0]))
    now = 9.9
    assert cache.find("red", keys) == [1.0]
    now = 10.1
    assert np.isnan(cache.find("red", keys)).all()
    assert cache.size == 0


def test_the_query_that_was_asked_least_lately_goes_first() -> None:
    cache = ScoreCache("model", 2_000, 60)
    keys = cache.hash_texts(["a"])
    for query in ("one", "two"):
        cache.keep(query, keys, np.array([1.0]))
    assert cache.find("one", keys) == [1.0]
    cache.keep("three", keys, np.array([1.0]))
    assert cache.find("one", keys) == [1.0]
    assert np.isnan(cache.find("two", keys)).all()


def test_it_takes_about_the_memory_that_it_says() -> None:
    cache = ScoreCache("model", 3_000_000, 60)
    texts = [str(i) for i in range(100)]
    tracemalloc.start()
    for i in range(400):
        cache.keep(f"query {i}", cache.hash_texts(texts), np.arange(100.0))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.5 * cache.size < kept < 1.1 * cache.size
    assert cache.size <= 3_000_000
    assert CACHE_BYTES.labels("score")._value.get() == cache.size


def test_switched_off_it_keeps_nothing() -> None:
    cache = ScoreCache("model", 0, 60)
    keys = cache.hash_texts(["a"])
    cache.keep("red", keys, np.array([1.0]))
    assert np.isnan(cache.find("red", keys)).all()
    assert not cache.on


def test_hits_and_misses_are_counted() -> None:
    def counted(result: str) -> float:
        return float(CACHE_LOOKUPS.labels("score", result)._value.get())

    cache = ScoreCache("model", 10_000, 60)
    keys = cache.hash_texts(["a", "b", "c"])
    before = counted("hit"), counted("miss")
    cache.keep("red", keys[:1], np.array([1.0]))
    cache.find("red", keys)
    assert (counted("hit") - before[0], counted("miss") - before[1]) == (1, 2)
