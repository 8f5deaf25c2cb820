from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.errors import ConfigError
from es_rerank.evaluation.naming import (
    BY_FIELD,
    MEANINGS,
    NEED_K,
    OURS,
    RELEVANCE,
    Measure,
    choose_measures,
    read_measure,
)


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("nDCG@10", Measure("nDCG", 10)),
        ("ndcg@5", Measure("nDCG", 5)),
        ("nDCG", Measure("nDCG")),
        ("MRR", Measure("RR")),
        ("recall@100", Measure("R", 100)),
        ("AP", Measure("AP")),
        ("ILD@10", Measure("ILD", 10)),
        ("entropy(attributes.brand)@10", Measure("entropy", 10, "attributes.brand")),
        ("gini(seller)@10", Measure("Gini", 10, "seller")),
    ],
)
def test_measures_by_name(text: str, measure: Measure) -> None:
    assert read_measure(text) == measure


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nDGC@10", "did you mean nDCG"),
        ("beauty", "there are nDCG, RR"),
        ("ILD", "needs how many places.*ILD@10"),
        ("R", "needs how many places"),
        ("nDCG@0", "needs how many places"),
        ("entropy@10", r"write entropy\(brand\)@10"),
        ("nDCG(brand)@10", "write nDCG@10"),
        ("alpha_nDCG@50", "place 20 at most"),
        ("", "there are"),
    ],
)
def test_a_wrong_name_says_how_to_mend_it(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_measure(text)


@given(st.sampled_from([*RELEVANCE, *OURS]), st.integers(1, 20))
def test_a_measure_is_written_as_it_is_read(kind: str, k: int) -> None:
    measure = Measure(kind, k, "brand" if kind in BY_FIELD else None)
    assert read_measure(measure.name) == measure
    assert measure.meaning == MEANINGS[kind]
    assert kind in NEED_K or read_measure(kind) == Measure(kind)


def test_what_is_measured_by_default() -> None:
    found = choose_measures(True, ["brand", "seller"], "seller", intents=True, depth=50)
    names = [measure.name for measure in found]
    assert names[:4] == ["nDCG@10", "RR@10", "R@50", "Judged@10"]
    assert {"alpha_nDCG@10", "entropy(seller)@10", "Gini(seller)@10"} <= set(names)
    without = choose_measures(False, [], None, intents=False, depth=50)
    assert [measure.name for measure in without] == ["ILD@10", "overlap@10"]
    assert not any(measure.needs_judgments for measure in without)
