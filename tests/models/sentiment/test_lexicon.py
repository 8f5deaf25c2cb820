"""Words of opinion: tables that agree with themselves, negation, wishes, contrast."""

from __future__ import annotations

import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.models.sentiment.features import NAMES, count_words
from es_rerank.models.sentiment.grams import SIZE, count_grams
from es_rerank.models.sentiment.lexicon import find_language, read_opinions


def _sum(text: str) -> float:
    return sum(hit.weight for hit in read_opinions(text).hits)


@pytest.mark.parametrize("name", ["english", "chinese"])
def test_no_word_weighs_twice(name: str) -> None:
    file = resources.files("es_rerank.models.sentiment") / "tables" / f"{name}.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    seen: dict[str, str] = {}
    for weight, words in table["weights"].items():
        for word in words.split():
            assert seen.setdefault(word, weight) == weight, word
    assert len(seen) > 1000


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("The sound is good.", "The sound is not good."),
        ("It is very comfortable.", "It is not very comfortable."),
        ("No problems at all.", "Problems all the time."),
        ("It works great.", "I wish it worked great."),
        ("Not bad.", "Bad."),
        ("sooo goooood", "sooo baaaad"),
        ("I would buy it again.", "I wouldn't buy it again."),
        ("👍", "👎"),
        ("质量很好", "质量不是很好"),
        ("不会失望", "非常失望"),
        ("没有异味", "有异味"),
        ("不仅好看还便宜", "既不好看也不便宜"),
        ("特别舒服", "一点也不舒服"),
    ],
)
def test_what_stands_around_a_word_counts(better: str, worse: str) -> None:
    assert _sum(better) > _sum(worse)


def test_a_contrast_is_seen() -> None:
    found = read_opinions("It looks nice but it broke.")
    assert (found.hits[0].after, found.hits[0].weight > 0) == (False, True)
    assert (found.hits[-1].after, found.hits[-1].weight < 0) == (True, True)
    found = read_opinions("外观漂亮，但是质量太差。")
    assert (found.hits[0].after, found.hits[0].weight > 0) == (False, True)
    assert found.hits[-1].after
    assert found.hits[-1].weight < 0


@pytest.mark.parametrize(
    ("text", "language"),
    [("good", "en"), ("质量很好", "zh"), ("iPhone手机不错", "zh"), ("", "en"), ("12 !", "en")],
)
def test_the_language_is_found(text: str, language: str) -> None:
    assert find_language(text) == language


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    for language in ("en", "zh"):
        numbers = count_words(read_opinions(text, language))
        assert numbers.shape == (len(NAMES),)
        assert np.isfinite(numbers).all()
        grams = count_grams([text, ""], language)
        assert grams.shape == (2, SIZE)
