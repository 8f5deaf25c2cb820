"""The catalogue's words, and what is nearest to another."""

from __future__ import annotations

import msgspec
import numpy as np

from es_rerank.proxy.search.expand.vocabulary import Vocabulary, count_common, read_words


def test_words_of_letters_are_read_from_a_hits_fields() -> None:
    fields = {"title": ["Red SHOES, size 42 eu", "für Läufer"], "brand": ["Acme"]}
    hit = {"fields": msgspec.Raw(msgspec.json.encode(fields))}
    words = read_words(hit)
    assert words == {"red", "shoes", "size", "für", "läufer", "acme"}


def test_a_word_counts_once_it_stands_in_three_documents() -> None:
    documents = [{"shoe", "hat"}, {"shoe", "hat"}, {"shoe", "hat"}, {"shoe"}, {"cap"}, {"cap"}]
    assert count_common(documents) == ["shoe", "hat"]


def test_the_nearest_words_are_alike_enough_or_none() -> None:
    rows = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
    vocabulary = Vocabulary(("run", "jog", "hat"), rows)
    asked = np.array([[0.96, 0.28], [0, -1]], dtype=np.float32)
    assert vocabulary.nearest(asked, 0.7, 2) == [["run", "jog"], []]
    assert vocabulary.nearest(asked, 0.7, 1) == [["run"], []]
    assert Vocabulary((), np.zeros((0, 2), np.float32)).nearest(asked, 0.7, 2) == [[], []]
