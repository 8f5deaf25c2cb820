"""Explanations of places."""

from __future__ import annotations

import msgspec
import numpy as np

from es_rerank.proxy.search.explain import explain_places
from es_rerank.ranking.pipeline import Ranking, RankingOptions


def test_every_hit_of_the_window_is_explained() -> None:
    hits = [
        {"_score": msgspec.Raw(b"3.0")},
        {"_score": msgspec.Raw(b"2.0")},
        {"_score": msgspec.Raw(b"null")},
    ]
    ranking = Ranking(
        order=np.array([2, 0, 1]),
        blended=np.array([0.5, 0.1, 1.0]),
        relevance=np.array([0.2, np.nan, 0.9]),
    )
    told = explain_places(ranking, hits, RankingOptions())
    assert sorted(told) == [0, 1, 2]
    assert told[2]["description"].startswith("es-rerank: rank 1, was 3;")
    assert [part["value"] for part in told[0]["details"]] == [3.0, 0.5, 0.2]
    assert [part["value"] for part in told[1]["details"]] == [2.0, 0.1]  # unscored
    assert [part["value"] for part in told[2]["details"]] == [0.0, 1.0, 0.9]
    msgspec.json.encode(told)  # numbers of Python, not of numpy


def test_without_a_model_there_is_no_relevance() -> None:
    ranking = Ranking(order=np.array([0]), blended=np.array([0.5]), relevance=None)
    (told,) = explain_places(ranking, [{"_score": msgspec.Raw(b"1")}], RankingOptions()).values()
    assert len(told["details"]) == 2
