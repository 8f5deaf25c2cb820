"""The benchmark of sentiment: its sets, and rivals that say what they say."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import sentiment
from es_rerank.demo import sample
from es_rerank.errors import ConfigError
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE, polarities
from es_rerank.training.sentiment.recipe import Reviews
from es_rerank.training.sentiment.reviews import load_reviews


def test_what_is_measured_by_was_not_learned_from() -> None:
    learnt = {review.text for review in load_reviews(Reviews()).train}
    sets = sentiment.list_sets()
    assert len(sets) == 6
    for own in sets:
        says = {review.says for review in own.reviews}
        assert {BLAME, PRAISE} <= says
        assert len(own.reviews) >= 20
        if own.name != "held-out reviews":
            assert learnt.isdisjoint(review.text for review in own.reviews)


def test_every_template_of_the_samples_reviews_is_known() -> None:
    known = sentiment.list_templates()
    used = {template for row in sample.load_reviews() for template in row["template"]}
    assert used <= set(known)


def test_scores_become_readings() -> None:
    said = sentiment.spread_scores([0.9, 0.02, -0.02, -0.7, 0.0], 0.05)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert said.argmax(axis=1).tolist() == [PRAISE, NEITHER, NEITHER, BLAME, NEITHER]
    assert (np.sign(polarities(said)) == [1, 1, -1, -1, 0]).all()


def test_a_set_becomes_rows() -> None:
    (own, *_) = sentiment.list_sets()

    def perfect(texts: Sequence[str]) -> Any:
        return np.eye(3)[[review.says for review in own.reviews]]

    def blind(texts: Sequence[str]) -> Any:
        return np.eye(3)[[PRAISE] * len(texts)]

    rows = sentiment.compare_set(own, perfect, blind)
    assert [row.ours for row in rows] == [1.0, 1.0]
    assert all(row.theirs < 0.5 for row in rows)
    assert rows[0].spread is not None
    assert rows[0].spread.low == rows[0].spread.high == 1.0


def test_a_missing_rival_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith(("vaderSentiment", "snownlp")):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for language, name in sentiment.RIVALS.items():
        with pytest.raises(ConfigError, match=rf"{name} is not installed .*es-rerank\[sentiment\]"):
            sentiment.load_rival(language)


def test_vader() -> None:
    pytest.importorskip("vaderSentiment")
    said = polarities(sentiment.load_rival("en")(["I love it", "I hate it", "a lamp"]))
    assert (np.sign(said) == [1, -1, 0]).all()


def test_snownlp() -> None:
    pytest.importorskip("snownlp")
    said = polarities(sentiment.load_rival("zh")(["质量很好，非常满意", "垃圾，太差了"]))
    assert (np.sign(said) == [1, -1]).all()
