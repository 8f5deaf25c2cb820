from __future__ import annotations

import importlib.util
import math
import shutil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from es_rerank.errors import ConfigError
from es_rerank.evaluation.measures import (
    alpha_ndcg_by_query,
    binary_by_query,
    distinct,
    ild,
    ndcg,
    ndcg_by_query,
    rated_only,
    subtopics_by_query,
    with_positive,
)

IDS = [f"d{number}" for number in range(25)]


@st.composite
def judged_rankings(draw: st.DrawFn) -> tuple[list[str], dict[str, int]]:
    """A ranking and ratings that overlap in part, with at least one positive."""
    ranking = draw(st.lists(st.sampled_from(IDS), unique=True, max_size=25))
    grades = draw(st.dictionaries(st.sampled_from(IDS), st.integers(0, 4), min_size=1))
    grades[draw(st.sampled_from(sorted(grades)))] = draw(st.integers(1, 4))
    return ranking, grades


def test_ndcg_by_hand() -> None:
    # gains 3, 0, 7 against the ideal 7, 3, 1
    found = 3 / math.log2(2) + 7 / math.log2(4)
    ideal = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(4)
    grades = {"a": 2, "b": 0, "c": 3, "d": 1}
    assert ndcg(["a", "b", "c"], grades) == pytest.approx(found / ideal)
    assert ndcg(["a", "b", "c"], grades, k=1) == pytest.approx(3 / 7)


def test_ndcg_takes_fractional_grades() -> None:
    assert ndcg(["b", "a"], {"a": 0.5}) == pytest.approx(1 / math.log2(3))


def test_ndcg_without_a_positive_is_zero() -> None:
    assert ndcg(["a"], {"a": 0}) == 0.0
    assert ndcg(["a"], {}) == 0.0


def test_ndcg_refuses_a_repeated_document() -> None:
    with pytest.raises(ValueError, match="repeat"):
        ndcg(["a", "a"], {"a": 1})


@given(judged_rankings(), st.integers(1, 20))
def test_ndcg_agrees_with_ir_measures(judged: tuple[list[str], dict[str, int]], k: int) -> None:
    ranking, grades = judged
    library = ndcg_by_query({"a query": grades}, {"a query": ranking}, k)
    assert library == {"a query": pytest.approx(ndcg(ranking, grades, k), abs=1e-12)}


@given(judged_rankings())
def test_ndcg_is_one_for_the_ideal_order_only_and_never_more(
    judged: tuple[list[str], dict[str, int]],
) -> None:
    ranking, grades = judged
    ideal = sorted(grades, key=lambda document: -grades[document])
    assert ndcg(ideal, grades) == pytest.approx(1.0)
    assert 0.0 <= ndcg(ranking, grades) <= 1.0 + 1e-12


@pytest.mark.skipif(shutil.which("perl") is None, reason="gdeval is a Perl script")
def test_ndcg_is_what_ir_measures_calls_exp_log2() -> None:
    import ir_measures

    qrels = {"1": {"a": 3, "b": 1, "c": 0, "d": 2}, "2": {"a": 1, "e": 1}}
    run = {"1": ["c", "d", "x", "b"], "2": ["y", "e"]}
    rounded = ir_measures.iter_calc(
        [ir_measures.parse_measure("nDCG(dcg='exp-log2')@10")],
        [ir_measures.Qrel(q, d, r) for q, ratings in qrels.items() for d, r in ratings.items()],
        [ir_measures.ScoredDoc(q, d, -i) for q, ids in run.items() for i, d in enumerate(ids)],
    )
    expected = {metric.query_id: pytest.approx(metric.value, abs=1e-5) for metric in rounded}
    assert ndcg_by_query(qrels, run) == expected


def test_ndcg_by_query_leaves_out_queries_without_a_positive_and_keeps_missing_ones() -> None:
    qrels = {"flat screen tv": {"a": 2}, "nothing good": {"a": 0}, "not run": {"b": 1}}
    run = {"flat screen tv": ["a"], "nothing good": ["a"], "not rated": ["a"]}
    assert ndcg_by_query(qrels, run) == {"flat screen tv": 1.0, "not run": 0.0}
    assert with_positive(qrels) == ["flat screen tv", "not run"]
    assert ndcg_by_query({}, run) == {}
    assert ndcg_by_query(qrels, {}) == {"flat screen tv": 0.0, "not run": 0.0}


def test_alpha_ndcg_by_hand() -> None:
    # Clarke et al. 2008 with alpha .5: a subtopic seen n times already gains .5 ** n.
    subtopics = {"1": ["brand:x", "type:y"], "2": ["brand:x"], "4": ["brand:z", "type:y"]}
    qrels = {"a query": {"1": 3, "2": 1, "3": 0, "4": 2}}
    run = {"a query": ["3", "2", "unrated", "1"]}
    found = 1 / math.log2(3) + (0.5 + 1) / math.log2(5)
    ideal = 2 / math.log2(2) + (1 + 0.5) / math.log2(3) + 0.5 / math.log2(4)
    measured = alpha_ndcg_by_query(qrels, subtopics, run)
    assert measured == {"a query": pytest.approx(found / ideal)}


def test_alpha_ndcg_prefers_an_uncovered_subtopic() -> None:
    qrels = {"q": {"a": 1, "b": 1, "c": 1}}
    subtopics = {"a": ["x"], "b": ["x"], "c": ["y"]}
    spread = alpha_ndcg_by_query(qrels, subtopics, {"q": ["a", "c", "b"]})["q"]
    same = alpha_ndcg_by_query(qrels, subtopics, {"q": ["a", "b", "c"]})["q"]
    assert spread == pytest.approx(1.0)
    assert same < spread


def test_alpha_ndcg_leaves_out_queries_without_a_subtopic_to_find() -> None:
    qrels = {"none positive": {"a": 0}, "no subtopic": {"b": 2}, "fine": {"c": 1, "d": 1}}
    subtopics = {"a": ["x"], "c": ["x", "y"], "d": ["z"]}
    run = {query: ["a", "b"] for query in qrels}
    assert alpha_ndcg_by_query(qrels, subtopics, run) == {"fine": 0.0}


def test_alpha_ndcg_is_judged_to_rank_20_at_most() -> None:
    with pytest.raises(ValueError, match="20"):
        alpha_ndcg_by_query({"q": {"a": 1}}, {"a": ["x"]}, {"q": ["a"]}, k=21)


def test_measuring_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def absent(name: str, package: str | None = None) -> Any:
        return None if name == "pyndeval" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(ConfigError, match=r"pyndeval.*es-rerank\[eval\]"):
        ndcg_by_query({"q": {"a": 1}}, {"q": ["a"]})


def test_ild_by_hand() -> None:
    vectors = [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]]
    assert ild(vectors[:2]) == pytest.approx(1.0)
    assert ild(vectors[:3]) == pytest.approx((1 + 0 + 1) / 3)
    assert ild(vectors, k=2) == pytest.approx(1.0)
    assert ild([vectors[0], vectors[3]]) == pytest.approx(2.0)


def test_ild_of_fewer_than_two_is_undefined() -> None:
    assert math.isnan(ild([[1.0, 2.0]]))
    assert math.isnan(ild(np.zeros((0, 4))))
    assert math.isnan(ild([[1.0], [1.0]], k=1))


def test_ild_takes_a_matrix_only() -> None:
    with pytest.raises(ValueError, match="shape"):
        ild([1.0, 2.0])


FLOATS = st.floats(-1e200, 1e200, allow_subnormal=False)


@given(arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 5)), elements=FLOATS))
def test_ild_stays_in_its_range_and_ignores_order_and_length(vectors: np.ndarray[Any, Any]) -> None:
    value = ild(vectors)
    assert -1e-9 <= value <= 2 + 1e-9
    assert ild(vectors[::-1]) == pytest.approx(value, abs=1e-9)
    assert ild(vectors * 8) == pytest.approx(value, abs=1e-9)


def test_distinct_counts_values_in_the_first_k() -> None:
    assert distinct(["hp", "hp", None, "dell", "acer"], k=4) == 2
    assert distinct([], k=10) == 0
    assert distinct(iter(["a", "b"]), k=10) == 2


def test_rated_only_keeps_the_order_of_what_is_rated() -> None:
    qrels = {"q": {"a": 0, "b": 2}}
    assert rated_only({"q": ["x", "b", "y", "a"], "other": ["a"]}, qrels) == {
        "q": ["b", "a"],
        "other": [],
    }


BINARY = ("RR", "RR@10", "R@100", "P@5", "AP")


@given(judged_rankings())
def test_binary_measures_by_hand(judged: tuple[list[str], dict[str, int]]) -> None:
    ranking, grades = judged
    relevant = {document for document, grade in grades.items() if grade > 0}
    places = [rank for rank, document in enumerate(ranking, start=1) if document in relevant]
    found = {name: binary_by_query(name, {"q": grades}, {"q": ranking})["q"] for name in BINARY}
    assert found["RR"] == pytest.approx(1 / places[0] if places else 0)
    assert found["RR@10"] == pytest.approx(1 / places[0] if places and places[0] <= 10 else 0)
    assert found["R@100"] == pytest.approx(len(places) / len(relevant))
    assert found["P@5"] == pytest.approx(sum(place <= 5 for place in places) / 5)
    assert all(0 <= value <= 1 for value in found.values())


@given(judged_rankings(), st.sampled_from(["alpha_nDCG", "ERR_IA"]), st.integers(1, 20))
def test_measures_of_intents_are_shares_and_see_only_the_first_k(
    judged: tuple[list[str], dict[str, int]], name: str, k: int
) -> None:
    ranking, grades = judged
    turned = [*ranking[:k], *reversed(ranking[k:])]
    values = [
        subtopics_by_query(name, {"q": grades}, lambda _, d: [d[-1]], {"q": run}, k)["q"]
        for run in (ranking, turned)
    ]
    assert values[0] == values[1]
    assert 0 <= values[0] <= 1 + 1e-9


def test_err_ia_by_hand() -> None:
    # Each intent weighs the same; ndeval divides by what a list all of one intent would reach.
    covers = {"a": ["x"], "b": ["y"], "c": ["x"]}
    measured = subtopics_by_query(
        "ERR_IA", {"q": {"a": 1, "b": 1, "c": 1}}, lambda _, d: covers[d], {"q": ["a", "b"]}, 10
    )
    most = sum(0.5 ** (rank - 1) / rank for rank in range(1, 11))
    assert measured["q"] == pytest.approx((1 / 1 + 1 / 2) / 2 / most)
