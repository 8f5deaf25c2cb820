"""`ext.es_rerank`: what it takes, what it refuses and how it says so, and whose word counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.config import IndexSettings, RerankSettings
from es_rerank.errors import RequestError
from es_rerank.proxy.search.options import RequestBlock, read_block, resolve_options
from es_rerank.ranking.crowding import Cap

FULL: dict[str, Any] = {
    "enabled": True,
    "query_text": "red shoes",
    "fields": ["title", "summary"],
    "rank_window_size": 200,
    "weights": {"relevance": 0.7, "first_stage": 0.3},
    "min_score": 0.1,
    "diversity": 1,
    "diversify": "mmr",
    "adaptive": False,
    "similarity": {"vector": 1, "attributes": 0, "facets": 0.2},
    "crowding": [{"field": "brand", "max_count": 2, "per": 10, "mode": "demote"}],
    "timeout_ms": 150,
    "explain": True,
    "expand": [],
    "pipeline": "_none",
}


def test_a_full_block_is_taken() -> None:
    assert set(FULL) == set(RequestBlock.model_fields)
    options = resolve_options(read_block(FULL), RerankSettings(), None)
    assert (options.window, options.timeout_s, options.explain) == (200, 0.15, True)
    assert (options.query_text, options.text_fields) == ("red shoes", ("title", "summary"))
    assert options.ranking.crowding == (Cap("brand", 2, 10),)
    assert (options.ranking.diversity, options.ranking.min_score) == (1.0, 0.1)
    assert (options.ranking.weights.relevance, options.ranking.weights.first_stage) == (0.7, 0.3)
    assert (options.ranking.kernel.vector, options.ranking.kernel.attributes) == (1.0, 0.0)
    assert options.ranking.kernel.facets == 0.2
    assert (options.ranking.method, options.ranking.adaptive) == ("mmr", False)
    assert options.clamped == ()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"diversty": 0.3}, ["[diversty]", "did you mean [diversity]?"]),
        ({"window": 10}, ["[window]"]),
        ({"zzz": 1}, ["[zzz]", "it takes adaptive, crowding, diversify, diversity"]),
        ({"lambda": 0.3}, ["[lambda]", "diversity = 1 - lambda"]),
        ({"lambda_mult": 0.3}, ["[lambda_mult]", "use [diversity]"]),
        ({"model": "/etc/passwd"}, ["[model]"]),
        ({"url": "http://x"}, ["[url]"]),
        ({"weights": {"relevanse": 1.0}}, ["[weights.relevanse]", "did you mean [relevance]?"]),
        ({"crowding": [{"feld": "b", "max_count": 1}]}, ["[crowding.0.feld]", "mean [field]?"]),
        ({"similarity": {"vectors": 1.0}}, ["[similarity.vectors]", "did you mean [vector]?"]),
        ({"crowding": [{"field": "b"}]}, ["[crowding.0.max_count]", "required"]),
        ({"crowding": [{"field": "b", "max_count": 1, "mode": "hide"}]}, ["[crowding.0.mode]"]),
        ({"diversify": "shop-plugin"}, ["[diversify]", "'dpp', 'mmr' or 'cap'"]),
        ({"adaptive": 1}, ["[adaptive]", "boolean"]),
        ({"crowding": [{"field": "b", "max_count": 1}] * 6}, ["[crowding]", "at most 5"]),
        ({"diversity": 1.5}, ["[diversity]", "less than or equal to 1"]),
        ({"diversity": -0.1}, ["[diversity]", "greater than or equal to 0"]),
        ({"diversity": "0.3"}, ["[diversity]", "valid number"]),
        ({"rank_window_size": 0}, ["[rank_window_size]"]),
        ({"rank_window_size": 10.5}, ["[rank_window_size]", "valid integer"]),
        ({"rank_window_size": True}, ["[rank_window_size]", "valid integer"]),
        ({"min_score": 2}, ["[min_score]"]),
        ({"timeout_ms": 0}, ["[timeout_ms]"]),
        ({"query_text": "x" * 2001}, ["[query_text]", "at most 2000"]),
        ({"fields": []}, ["[fields]", "at least 1"]),
        ({"weights": {"relevance": -1}}, ["[weights.relevance]"]),
        ([], ["[es_rerank]"]),
        (None, ["[es_rerank]"]),
    ],
)
def test_wrong_blocks_are_told_apart(block: Any, words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        read_block(block)
    for word in words:
        assert word in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(RequestError, match=r"diversity.*; .*explain"):
        read_block({"diversity": 7, "explain": 1})


def test_request_over_index_over_operator() -> None:
    operator = RerankSettings(rank_window_size=50, text_fields=("a",), price_field="p")
    index = IndexSettings(
        rank_window_size=60, diversity=0.7, text_fields=("b",), attribute_fields=("c",)
    )
    plain = resolve_options(None, operator, None)
    assert (plain.window, plain.text_fields, plain.price_field) == (50, ("a",), "p")
    assert plain.ranking.diversity == operator.diversify.diversity
    by_index = resolve_options(None, operator, index)
    assert (by_index.window, by_index.ranking.diversity) == (60, 0.7)
    assert (by_index.text_fields, by_index.attribute_fields) == (("b",), ("c",))
    asked = read_block({"rank_window_size": 70, "diversity": 0.0, "fields": ["d"]})
    by_request = resolve_options(asked, operator, index)
    assert (by_request.window, by_request.ranking.diversity) == (70, 0.0)
    assert by_request.text_fields == ("d",)


@pytest.mark.parametrize(
    ("request_", "index", "operator", "enabled"),
    [
        (None, None, True, True),
        (False, None, True, False),
        (None, False, True, False),
        (True, False, True, True),
        (True, True, False, False),
    ],
)
def test_who_may_switch_on(
    request_: bool | None, index: bool | None, operator: bool, enabled: bool
) -> None:
    block = read_block({} if request_ is None else {"enabled": request_})
    options = resolve_options(block, RerankSettings(enabled=operator), IndexSettings(enabled=index))
    assert options.enabled is enabled


def test_more_than_the_operator_allows_is_clamped_and_named() -> None:
    operator = RerankSettings(max_rank_window_size=300, max_timeout_ms=1000)
    block = read_block({"rank_window_size": 301, "timeout_ms": 5000})
    options = resolve_options(block, operator, None)
    assert (options.window, options.timeout_s) == (300, 1.0)
    assert options.clamped == ("rank_window_size", "timeout_ms")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*FULL, "field", "relevance", "x"]), inner, max_size=4
            )
        ),
        max_leaves=10,
    )
)
def test_no_block_breaks_the_reading(block: Any) -> None:
    try:
        options = resolve_options(read_block(block), RerankSettings(), None)
    except RequestError as error:
        assert "[es_rerank]" in str(error)
    else:
        assert 1 <= options.window <= RerankSettings().max_rank_window_size


@pytest.mark.parametrize(
    ("wished", "operator", "index", "on_request", "expected", "clamped"),
    [
        (None, (), None, (), (), ()),
        (None, ("knn",), None, (), ("knn",), ()),
        (None, ("knn",), (), (), (), ()),
        (None, (), ("knn",), (), ("knn",), ()),
        ("none", ("knn",), None, (), (), ()),
        ("knn", ("knn",), None, (), ("knn",), ()),
        ("knn", (), None, ("knn",), ("knn",), ()),
        ("knn", (), None, (), (), ("expand",)),
        (["knn", "knn"], ("knn",), (), (), (), ("expand",)),
        ([], ("knn",), None, (), (), ()),
    ],
)
def test_candidates_are_added_where_the_operator_allows_it(
    wished: Any,
    operator: tuple[Any, ...],
    index: tuple[Any, ...] | None,
    on_request: tuple[Any, ...],
    expected: tuple[str, ...],
    clamped: tuple[str, ...],
) -> None:
    rerank = RerankSettings(expand=operator, expand_on_request=on_request)
    block = None if wished is None else read_block({"expand": wished})
    options = resolve_options(block, rerank, IndexSettings(expand=index))
    assert (options.expand, options.clamped) == (expected, clamped)


def test_one_expansion_may_stand_without_brackets() -> None:
    assert RerankSettings.model_validate({"expand": "knn"}).expand == ("knn",)
    assert IndexSettings.model_validate({"expand": "none"}).expand == ()
    with pytest.raises(RequestError, match="expand"):
        read_block({"expand": "synonym"})
