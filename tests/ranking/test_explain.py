from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.blend import Weights, blend, share_blend
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.crowding import Cap
from es_rerank.ranking.diversity.kernel import KernelWeights
from es_rerank.ranking.explain import describe_strength, explain_course
from es_rerank.ranking.pipeline import Ranking, RankingOptions, rank
from es_rerank.ranking.score import PairScorer
from tests.ranking.bag_of_words import WordOverlap
from tests.ranking.test_pipeline import OPTIONS, windows

SCORES = st.lists(st.floats(-5, 5) | st.just(float("nan")), min_size=6, max_size=6)


@given(windows(), OPTIONS, st.sampled_from([None, "red shoe"]))
def test_the_moves_add_up_to_the_rank(
    candidates: Candidates, options: RankingOptions, query: str | None
) -> None:
    ranking = rank(query, candidates, options, PairScorer(WordOverlap()))
    assert ranking.course is not None
    lines = explain_course(ranking.course)
    assert sorted(lines) == list(range(len(candidates)))
    for place, position in enumerate(ranking.order.tolist(), start=1):
        own = lines[position]
        assert own[0].value == position + 1
        assert sum(line.value for line in own) == place
        for line in own[1:]:
            assert line.value
            assert line.text.startswith("places moved by ")


@given(SCORES, st.none() | SCORES, st.sampled_from([(1, 1), (1, 0), (0, 1), (0, 0)]), SCORES)
def test_the_parts_add_up_to_the_blended_score(
    first: list[float],
    relevance: list[float] | None,
    shares: tuple[float, float],
    other: list[float],
) -> None:
    model = None if relevance is None else np.array(relevance)
    signal, weights = np.array(other), Weights(*shares)
    blended = blend(np.array(first), model, weights, [(signal, 0.5)])
    parts = share_blend(np.array(first), model, weights, [("x", signal, 0.5)])
    assert sum(parts.values()) == pytest.approx(blended, abs=1e-12)


def ranked(**changes: object) -> Ranking:
    brands = ["a", "a", "b", "a"]
    candidates = Candidates(
        np.array([4.0, 3.9, 3.0, 2.0]),
        ["red shoe"] * 4,
        attributes={"brand": brands, "type": ["shoe"] * 4},
    )
    options = RankingOptions(Weights(0.0, 1.0), 0.5, KernelWeights(0, 1), adaptive=False)
    return rank(None, candidates, replace(options, **changes), PairScorer(WordOverlap()))  # type: ignore[arg-type]


def test_neighbours_above_are_named() -> None:
    ranking = ranked()
    assert ranking.order.tolist() == [0, 2, 1, 3]
    assert ranking.course is not None
    lines = explain_course(ranking.course)
    (rank_line, moved) = lines[1]
    assert (rank_line.value, moved.value) == (2, 1)
    assert moved.text == "places moved by diversity (dpp, strength 0.5)"
    assert [(part.value, part.text) for part in moved.parts] == [
        (1.0, "like the hit at rank 1: same brand, type"),
        (0.5, "like the hit at rank 2: same type"),
    ]
    assert [line.value for line in lines[2]] == [3, -1]
    assert lines[2][1].parts == ()


def test_how_open_the_search_was_is_said() -> None:
    course = ranked(adaptive=True).course
    assert course is not None
    assert course.openness is not None
    assert course.strength == 0.5 * course.openness
    told = describe_strength(replace(course, strength=0.1, openness=2.0))
    assert told == "dpp, strength 0.1: the search leaves 2 times the usual open"


def test_the_cap_that_held_is_named() -> None:
    ranking = ranked(diversity=0.0, crowding=(Cap("brand", 1, 3), Cap("type", 9)))
    assert ranking.order.tolist() == [0, 2, 1, 3]
    assert ranking.course is not None
    moved = explain_course(ranking.course)[1][1]
    assert moved.text == "places moved by crowding"
    (part,) = moved.parts
    assert (part.value, part.text) == (2, "at most 1 of brand 'a' in 3: it was number")
