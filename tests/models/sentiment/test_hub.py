"""A hub's classifier as a reader: labels of every kind, the model's own scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from es_rerank.errors import ModelError
from es_rerank.models.sentiment.hub import read_labels
from es_rerank.models.sentiment.reader import identify_sentiment, load_sentiment
from tests.models.sentiment.conftest import TinyClassifier


@pytest.mark.parametrize(
    ("labels", "means"),
    [
        (["NEGATIVE", "POSITIVE"], [0, 2]),
        (["positive", "neutral", "negative"], [2, 1, 0]),
        (["1 star", "2 stars", "3 stars", "4 stars", "5 stars"], [0, 0, 1, 2, 2]),
        (["Very Negative", "Negative", "Neutral", "Positive", "Very Positive"], [0, 0, 1, 2, 2]),
        (["LABEL_0", "LABEL_1"], [0, 2]),
        (["LABEL_0", "LABEL_1", "LABEL_2"], [0, 1, 2]),
        (["negative (stars 1, 2 and 3)", "positive (stars 4 and 5)"], [0, 2]),
        (["负面", "正面"], [0, 2]),
        (["neg", "neu", "pos"], [0, 1, 2]),
    ],
)
def test_what_labels_mean(labels: list[str], means: list[int]) -> None:
    values = read_labels("m", dict(enumerate(labels)))
    np.testing.assert_array_equal(values.argmax(axis=1), means)
    np.testing.assert_allclose(values.sum(axis=1), 1)


@pytest.mark.parametrize("labels", [["sports", "politics"], ["neutral", "positive"], ["LABEL_0"]])
def test_labels_that_say_neither_good_nor_bad(labels: list[str]) -> None:
    with pytest.raises(ModelError, match=r"name a|name another"):
        read_labels("m", dict(enumerate(labels)))


def test_it_says_what_the_model_says(tiny_classifier: TinyClassifier) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tiny_classifier(["negative", "neutral", "positive"])
    texts = ["good lamp", "bad", "", "very good very bad lamp"]
    reader = load_sentiment(str(folder), "cpu")
    said = reader.read(texts)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        for text, row in zip(texts, said, strict=True):
            logits = model(**tokenizer(text, return_tensors="pt")).logits
            np.testing.assert_allclose(row, logits.softmax(-1).numpy()[0], atol=1e-5)
    assert len({tuple(row) for row in said.round(4)}) == 4
    assert reader.read([]).shape == (0, 3)
    assert identify_sentiment(str(folder)) == str(folder)


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_sentiment("./absent")
