"""A model that reads pairs, counted together with the cosine of plain vectors; its facets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from es_rerank.ranking.blend import Weights
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.pipeline import RankingOptions, Window, finish, prepare, rank
from es_rerank.ranking.score import PairScorer, VectorCache, compare_known

ALONE = RankingOptions(weights=Weights(relevance=1, first_stage=0), diversity=0.0)
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], dtype=np.float32)


class Axis:
    """Embeds every text as the first axis."""

    name, dimensions = "axis", 2

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(np.array([1, 0], dtype=np.float32), (len(texts), 1))

    def unknown_share(self, text: str) -> float:
        return 0.0


class Fixed:
    """Gives texts the scores that they say, and facets by place."""

    name = "fixed"

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([float(text) for text in texts])

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        return [self.score_pairs(query, texts) for query, texts in lists]

    def find_facets(self, query: str, texts: Sequence[str | None]) -> NDArray[np.float32]:
        return np.eye(len(texts), dtype=np.float32)

    def unknown_share(self, text: str) -> float:
        return 0.0


def make(texts: Sequence[str], vectors: NDArray[np.float32] | None) -> Candidates:
    return Candidates(np.ones(len(texts)), texts, vectors)


def test_the_cosine_counts_by_its_share() -> None:
    candidates = make(["0.0", "0.5", "0.1"], VECTORS[:3])
    cache = VectorCache(Axis())
    without = rank("q", candidates, ALONE, PairScorer(Fixed()), cache)
    assert without.relevance == pytest.approx([0.0, 0.5, 0.1])
    ranking = rank("q", candidates, ALONE, PairScorer(Fixed(), 0.6), cache)
    assert ranking.relevance == pytest.approx([0.6, 0.4, 0.08 + 0.36], abs=1e-6)
    assert ranking.order.tolist() == [0, 2, 1]


def test_what_there_was_no_time_for_follows_by_the_cosine() -> None:
    candidates = make(["0", "0", "0", "1"], VECTORS[[1, 2, 0, 1]])
    window = Window("q", candidates, ALONE)
    judged = prepare([window], PairScorer(Fixed(), 0.5), VectorCache(Axis()))
    judged[0].relevance = np.array([np.nan, np.nan, np.nan, 1.0])
    judged[0].late = np.array([True, True, True, False])
    (ranking,) = finish(judged)
    assert not isinstance(ranking, Exception)
    assert ranking.order.tolist() == [3, 2, 1, 0]
    assert ranking.scored == (1, 4)


def test_without_vectors_the_model_decides_alone() -> None:
    candidates = make(["0.0", "0.5", "0.1"], None)
    ranking = rank("q", candidates, ALONE, PairScorer(Fixed(), 0.6), None)
    assert ranking.order.tolist() == [1, 2, 0]


def test_where_there_is_no_time_to_embed_the_model_decides_alone() -> None:
    cache = VectorCache(Axis())
    cache.encode([f"text {i}" for i in range(9)])  # teaches it the speed
    candidates = make(["0.0", "0.5", "0.1"], None)
    ranking = rank("q", candidates, ALONE, PairScorer(Fixed(), 0.6), cache, budget_s=0.0)
    assert ranking.notes == ("vectors-later",)
    assert ranking.relevance == pytest.approx([0.0, 0.5, 0.1])
    assert ranking.order.tolist() == [1, 2, 0]


def test_what_has_no_vector_is_neither_raised_nor_lowered() -> None:
    known = np.array([True, True, True, False])
    candidates = Candidates(np.ones(4), ["0"] * 4, VECTORS, known)
    found = compare_known(np.array([1, 0], dtype=np.float32), candidates)
    assert found == pytest.approx([1, 0, 0.6, 1.6 / 3])
    nothing = Candidates(np.ones(1), ["0"], VECTORS[3:], known[3:])
    assert compare_known(np.array([1, 0], dtype=np.float32), nothing) is None
    assert compare_known(np.array([1, 0, 0], dtype=np.float32), candidates) is None


def test_the_diversifier_sees_the_models_facets() -> None:
    seen = []

    def look(blended: NDArray[np.float64], kernel: object, diversity: float) -> NDArray[np.int64]:
        seen.append(getattr(getattr(kernel, "facets", None), "vectors", None))
        return np.argsort(-blended, kind="stable")

    options = RankingOptions(Weights(1, 0), diversity=0.3, diversifier=look)
    window = Window("q", make(["0.1", "0.5"], VECTORS[:2]), options)
    scorer = PairScorer(Fixed())
    judged = prepare([window], scorer, VectorCache(Axis()))
    judged[0].relevance = np.array([0.1, 0.5])
    (ranking,) = finish(judged)
    assert not isinstance(ranking, Exception)
    assert np.array_equal(np.asarray(seen[0]), np.eye(2))
