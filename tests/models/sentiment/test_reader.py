"""The model that comes with the package: what it says, and that it is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_rerank.errors import ModelError
from es_rerank.models.manifest import MANIFEST
from es_rerank.models.sentiment.head import polarities, spread
from es_rerank.models.sentiment.manifest import DEFAULT, HEAD, read_manifest
from es_rerank.models.sentiment.reader import OwnReader, load_own, load_sentiment

PRAISE = [
    "Absolutely love it, works perfectly and arrived a day early.",
    "The best blender I have ever owned.",
    "Exactly as described, very happy.",
    "质量很好，物流也快，推荐购买。",
    "非常满意，会回购。",
]
BLAME = [
    "Broke after two days. Waste of money.",
    "Terrible quality, I want a refund.",
    "It does not work and nobody answers my emails.",
    "质量太差，用了两天就坏了。",
    "千万不要买，客服态度恶劣。",
]


@pytest.fixture(scope="module")
def reader() -> OwnReader:
    return load_own(DEFAULT, "default", "cpu")


def test_praise_and_blame_are_told_apart(reader: OwnReader) -> None:
    said = reader.read([*PRAISE, *BLAME])
    assert (polarities(said)[: len(PRAISE)] > 0.2).all()
    assert (polarities(said)[len(PRAISE) :] < -0.2).all()
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert (said >= 0).all()


def test_a_text_is_read_the_same_alone_and_among_others(reader: OwnReader) -> None:
    together = reader.read([*PRAISE, *BLAME])
    for row, text in enumerate([*PRAISE, *BLAME]):
        np.testing.assert_allclose(reader.read([text])[0], together[row], atol=1e-4)


def test_texts_without_words(reader: OwnReader) -> None:
    assert reader.read([]).shape == (0, 3)
    said = reader.read(["", " ", "123", "...", "\ud800", "日本語", "ελληνικά", "x" * 3000])
    assert np.isfinite(said).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-20, 20), max_size=8), st.floats(0.01, 3))
def test_an_ordinal_heads_sign_and_order(scores: list[float], cut: float) -> None:
    said = spread(np.array(scores), -cut, cut)
    assert (said >= 0).all()
    np.testing.assert_allclose(said.sum(axis=1), 1)
    np.testing.assert_array_equal(np.sign(polarities(said).round(9)) * np.sign(scores) >= 0, True)


def test_a_folder_that_is_not_whole(tmp_path: Path) -> None:
    assert read_manifest(DEFAULT).training["learnt"] > 1000
    shutil.copytree(DEFAULT, tmp_path / "model")
    head = tmp_path / "model" / HEAD
    head.write_bytes(head.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is missing or is not the file"):
        load_sentiment(str(tmp_path / "model"))
    (tmp_path / "model" / MANIFEST).write_text("{}")
    with pytest.raises(ModelError, match="no sentiment model of format"):
        load_sentiment(str(tmp_path / "model"))
