"""The scorer without a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.lexical import LexicalModel, read_words

MODEL = LexicalModel()
TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red Running-Shoes, size 42!", ["red", "running", "shoe", "size", "42"]),
        ("Batteries and glasses on buses", ["battery", "and", "glasse", "on", "buse"]),
        ("glass bus is gas", ["glass", "bus", "is", "gas"]),
        ("Café crème ŒUVRE Straße", ["cafe", "creme", "œuvre", "strasse"]),
        ("红色跑鞋", ["红色", "色跑", "跑鞋"]),
        ("鞋", ["鞋"]),
        ("耐克Air运动鞋2024款", ["耐克", "air", "运动", "动鞋", "2024", "款"]),
        ("…!", []),
    ],
)
def test_words_are_read(text: str, words: list[str]) -> None:
    assert list(read_words(text)) == words


def test_words_in_common_count() -> None:
    texts = ["red running shoe", "red hat", "garden gnome", "RED RUNNING SHOES"]
    scores = MODEL.score_pairs("red running shoes", texts)
    assert scores[0] == scores[3] == 1.0
    assert scores[0] > scores[1] > scores[2] == 0.0


def test_a_word_that_is_rare_in_the_window_weighs_more() -> None:
    texts = ["shoe red", "shoe blue", "shoe blue", "blue hat"]
    scores = MODEL.score_pairs("red shoe", texts)
    assert scores[0] == 1.0
    assert 0 < scores[1] < 0.5
    assert MODEL.score_pairs("red shoe", ["red hat", *texts[1:]])[0] > 0.5


def test_chinese_is_matched_by_pairs() -> None:
    scores = MODEL.score_pairs("跑步鞋", ["男士跑步鞋", "皮鞋", "跑步机"])
    assert scores[0] == 1.0
    assert scores[0] > scores[2] > scores[1] == 0.0


def test_a_query_without_words_scores_nothing() -> None:
    assert list(MODEL.score_pairs("?!", ["a", "b"])) == [0.0, 0.0]
    assert MODEL.score_pairs("a", []).shape == (0,)


@given(st.text(max_size=30), TEXTS)
def test_scores_are_shares_whatever_the_order(query: str, texts: list[str]) -> None:
    scores = MODEL.score_pairs(query, texts)
    assert scores.shape == (len(texts),)
    assert np.all((scores >= 0) & (scores <= 1 + 1e-9))
    np.testing.assert_array_equal(MODEL.score_pairs(query, texts[::-1]), scores[::-1])
    (listed,) = MODEL.score_lists([(query, texts)])
    np.testing.assert_array_equal(listed, scores)
