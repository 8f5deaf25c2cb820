"""The fused list: every page of it a slice, scores that never rise."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from es_rerank.proxy.search.expand.fuse import Found, Fused, explain_ranks, fuse
from es_rerank.proxy.search.splice import SearchAnswer

IDS = st.lists(st.integers(0, 40), unique=True, max_size=30)


def hit(key: int, score: float | None, **more: Any) -> dict[str, msgspec.Raw]:
    members = {"_index": "shop", "_id": str(key), "_score": score, **more}
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}


def answer(hits: list[dict[str, msgspec.Raw]]) -> SearchAnswer:
    top = hits[0]["_score"] if hits else msgspec.Raw(b"null")
    return SearchAnswer({}, {"total": msgspec.Raw(b"7"), "max_score": top}, hits)


def ids(fused: Fused) -> list[str]:
    return [msgspec.json.decode(one["_id"]) for one in fused.answer.hits]


def scores(fused: Fused) -> list[float]:
    return [msgspec.json.decode(one["_score"]) for one in fused.answer.hits]


def test_reciprocal_ranks_decide_and_ties_go_to_the_words() -> None:
    own = answer([hit(1, 9.5), hit(2, 8.25), hit(3, 7.0), hit(4, 1.5)])
    near = Found("neighbours", [hit(3, 0.9), hit(8, 0.8), hit(2, 0.7)])
    fused = fuse(own, [near], 4)
    # 3: 1/63 + 1/61, 2: 1/62 + 1/63, 1: 1/61, 8: 1/62; 4 comes after them.
    assert ids(fused) == ["3", "2", "1", "8", "4"]
    assert scores(fused)[:4] == [9.5, 8.25, 7.0, 1.5]
    assert 0 < scores(fused)[4] < 1.5
    assert fused.ranks[0] == {"words": 3, "neighbours": 1}
    assert fused.ranks[3] == {"neighbours": 2}
    tied = fuse(answer([hit(1, 3.0)]), [Found("neighbours", [hit(2, 0.5)])], 2)
    assert ids(tied) == ["1", "2"]


def test_without_own_hits_the_scores_are_the_neighbours() -> None:
    fused = fuse(answer([]), [Found("neighbours", [hit(3, 0.9), hit(8, 0.8)])], 5)
    assert ids(fused) == ["3", "8"]
    assert scores(fused) == [0.9, 0.8]
    assert fused.answer.hits_object["max_score"] == msgspec.Raw(b"0.9")
    assert fused.answer.hits_object["total"] == msgspec.Raw(b"7")


def test_scores_that_are_null_stay_null() -> None:
    fused = fuse(answer([hit(1, None)]), [Found("neighbours", [hit(2, 0.5)])], 5)
    assert scores(fused) == [None, None]


def test_the_same_id_in_two_indices_is_two_documents() -> None:
    fused = fuse(answer([hit(1, 2.0)]), [Found("neighbours", [hit(1, 0.5, _index="b")])], 5)
    assert ids(fused) == ["1", "1"]


def test_a_moved_explanation_bears_the_score_of_its_place() -> None:
    told = {"value": 7.0, "description": "words", "details": []}
    near = Found("neighbours", [hit(2, 0.5, _explanation=told)])
    fused = fuse(answer([hit(1, 7.0, _explanation=told)]), [near], 2)
    kept, moved = (msgspec.json.decode(one["_explanation"]) for one in fused.answer.hits)
    assert kept == told
    assert moved["value"] == scores(fused)[1]
    assert moved["details"] == [told]


def test_explained_ranks_come_last() -> None:
    told = {0: {"description": "rank 1", "details": [{"value": 1}]}}
    details = explain_ranks(told, [{"words": 4, "neighbours": 2}])[0]["details"]
    assert details == [
        {"value": 1},
        {"value": 4, "description": "rank by words", "details": []},
        {"value": 2, "description": "rank by neighbours", "details": []},
    ]


@settings(max_examples=300, deadline=None)
@given(
    IDS,
    IDS,
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.25]), min_size=30, max_size=30),
    st.integers(1, 20),
    st.integers(1, 7),
)
def test_every_page_is_a_slice_of_one_list(
    own_ids: list[int], near_ids: list[int], levels: list[float], window: int, size: int
) -> None:
    """However deep the own list was read, as long as it reaches the page's end."""
    levels = sorted(levels, reverse=True)
    own = [hit(key, levels[place]) for place, key in enumerate(own_ids)]
    near = Found("neighbours", [hit(key, 0.5) for key in near_ids[:window]])
    whole = fuse(answer(own), [near], window)
    pages: list[Any] = []
    for start in range(0, len(own_ids) + window + size, size):
        asked = max(window, start + size)
        page = fuse(answer(own[:asked]), [near], window).answer.hits[start : start + size]
        pages.extend(page)
    assert pages == list(whole.answer.hits)
    listed = ids(whole)
    assert len(listed) == len(set(listed))
    assert set(listed) >= {str(key) for key in own_ids}
    assert set(listed) <= {str(key) for key in [*own_ids, *near_ids]}
    assert scores(whole) == sorted(scores(whole), reverse=True)
    assert scores(whole)[: len(own)] == levels[: len(own)]
    tail = [key for key in map(str, own_ids) if key not in listed[:window]]
    assert listed[window:] == tail
