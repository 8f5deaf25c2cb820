from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.models.pair_tokens import (
    OVERHEAD_BYTES,
    PairTokenizer,
    TokenCache,
    cut_longer,
    cut_passages,
    find_template,
)
from es_rerank.models.runtime import BUNDLED
from es_rerank.models.tokenizer import Tokenizer, load_tokenizer
from es_rerank.telemetry import METRICS

WORDS = ["red", "shoe", "garden", "gnome", "跑步鞋", "naïve", "crème", "size", "44", "трава", "�"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(BUNDLED, 64)


def test_sequences_are_the_tokenizers_own(tokenizer: Tokenizer) -> None:
    rng = random.Random(4)
    pairs = PairTokenizer(tokenizer, 64, find_template(tokenizer))
    for _ in range(100):
        query = " ".join(rng.choices(WORDS, k=rng.choice([0, 1, 3, 17])))
        texts = [" ".join(rng.choices(WORDS, k=k)) for k in (0, 1, 12, 30, 90)]
        own = tokenizer.encode_pairs([query] * len(texts), texts)
        found = pairs.encode([(query, texts)])
        assert (found.ids, found.types) == (own["input_ids"], own["token_type_ids"])
        assert found.text == list(range(len(texts)))


def test_a_tokenizer_without_a_template_is_asked_whole(tokenizer: Tokenizer) -> None:
    pairs = PairTokenizer(tokenizer, 64, None, passages=3)
    own = tokenizer.encode_pairs(["red"] * 2, ["shoe", "hat " * 90])
    found = pairs.encode([("red", ["shoe", "hat " * 90])])
    assert (found.ids, found.types, found.text) == (
        own["input_ids"],
        own["token_type_ids"],
        [0, 1],
    )
    assert pairs.encode([("red", [])]).ids == []


def test_a_pair_that_follows_no_template_has_none() -> None:
    class Backwards(Tokenizer):
        def encode_pairs(
            self, queries: Sequence[str], texts: Sequence[str]
        ) -> dict[str, list[list[int]]]:
            return super().encode_pairs(texts, queries)

    plain = load_tokenizer(BUNDLED, 64)
    assert find_template(Backwards(plain._tokenizer, 64)) is None


def test_passages_cover_a_long_text(tokenizer: Tokenizer) -> None:
    template = find_template(tokenizer)
    assert template is not None
    text = " ".join(f"{i}" for i in range(100, 250))
    (tokens,) = tokenizer.encode_plain([text])
    pairs = PairTokenizer(tokenizer, 64, template, passages=4)
    found = pairs.encode([("red shoe", ["hat", text, "shoe"])])
    assert found.text == [0, 1, 1, 1, 2]  # 150 tokens, 59 at a time
    assert all(len(ids) <= 64 for ids in found.ids)
    pieces = [ids[4:-1] for ids in found.ids[1:4]]
    assert [piece[0] for piece in pieces] == [tokens[0], tokens[45], tokens[91]]
    assert pieces[2][-1] == tokens[-1]
    assert {token for piece in pieces for token in piece} == set(tokens)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 90))
def test_cutting_leaves_room_and_takes_from_the_longer(first: int, second: int, room: int) -> None:
    a, b = cut_longer(first, second, room)
    assert a + b == min(first + second, room)
    assert a <= first
    assert b <= second
    if a < first and b < second:
        assert abs(a - b) <= 1


@given(st.integers(0, 500), st.integers(0, 60), st.integers(1, 8))
def test_passages_follow_without_gaps(tokens: int, room: int, passages: int) -> None:
    begins = cut_passages(tokens, room, passages)
    assert begins[0] == 0
    assert len(begins) <= passages
    if len(begins) > 1:
        assert all(0 < b - a <= room for a, b in pairwise(begins))
        assert begins[-1] + room == min(tokens, passages * room)


def looked_up(cache: str) -> tuple[float, float]:
    """Hits and misses as the metrics have them."""
    hits, misses = (
        METRICS.get_sample_value(
            "es_rerank_cache_lookups_total", {"cache": cache, "result": result}
        )
        for result in ("hit", "miss")
    )
    return hits or 0.0, misses or 0.0


def test_the_cache_counts_and_keeps_to_its_bytes(tokenizer: Tokenizer) -> None:
    cache = TokenCache(max_bytes=3 * (OVERHEAD_BYTES + 8))
    before = looked_up("token")
    assert (
        cache.tokenise(tokenizer, ["red shoe", "blue hat", "red shoe"], 9)[0].tolist()
        == (tokenizer.encode_plain(["red shoe"])[0])
    )
    assert (cache.hits, cache.misses, len(cache)) == (0, 3, 2)
    assert cache.bytes == 2 * (OVERHEAD_BYTES + 8)
    cache.tokenise(tokenizer, ["red shoe", "red hat"], 9)
    assert (cache.hits, cache.misses, len(cache)) == (1, 4, 3)
    cache.tokenise(tokenizer, ["a b"], 9)
    assert len(cache) == 3
    cache.tokenise(tokenizer, ["blue hat"], 9)  # was used least lately
    assert (cache.hits, cache.misses) == (1, 6)
    assert looked_up("token") == (before[0] + 1, before[1] + 6)
    assert METRICS.get_sample_value("es_rerank_cache_bytes", {"cache": "token"}) == cache.bytes
    assert (
        cache.tokenise(tokenizer, ["red shoe and more"], 2)[0].tolist()
        == (tokenizer.encode_plain(["red shoe"])[0])
    )


def test_several_threads(tokenizer: Tokenizer) -> None:
    cache = TokenCache(max_bytes=2000)
    texts = [f"red shoe {i}" for i in range(30)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cache.tokenise(tokenizer, texts, 9), range(20)))
    assert all(each == found[0] for each in found)
    assert cache.bytes <= 2000
