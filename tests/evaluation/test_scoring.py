from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.datasets.judgments import Judgments
from es_rerank.errors import ConfigError
from es_rerank.evaluation.collection import Run, Times
from es_rerank.evaluation.documents import Documents
from es_rerank.evaluation.gate import check_gates, read_gate
from es_rerank.evaluation.measures import ndcg
from es_rerank.evaluation.naming import Measure, read_measure
from es_rerank.evaluation.page import write_page
from es_rerank.evaluation.report import Report, as_json
from es_rerank.evaluation.scoring import Ground, check_ratings, score_runs
from es_rerank.evaluation.table import print_report
from es_rerank.evaluation.verdict import judge

VALUES = {
    "a": {"brand": "x", "seller": "s"},
    "b": {"brand": "x", "seller": "s"},
    "c": {"brand": "y", "seller": "t"},
    "d": {},
}
VECTORS = {name: np.eye(4, dtype=np.float32)[i] for i, name in enumerate("abcd")}
RATINGS: dict[str, dict[str, float]] = {"q": {"a": 1, "c": 3}, "r": {"b": 2}, "none": {"a": 0}}
GROUND = Ground(Documents(VALUES, VECTORS), Judgments(RATINGS), intent_fields=("brand",))
RUNS = {
    "engine": {"q": ["a", "b", "c"], "r": ["d", "b"], "none": ["a"]},
    "ours": {"q": ["c", "d", "a"], "r": ["b", "d"], "none": ["a"]},
}
NAMES: tuple[str, ...] = ("nDCG@10", "RR", "R@2", "Judged@2", "alpha_nDCG@10", "ILD@2", "overlap@2")
NAMES += ("coverage(brand)@2", "entropy(brand)@3", "distinct(brand)@3", "Gini(seller)@2")
MEASURES = [read_measure(name) for name in NAMES]


def report(**others: Any) -> Report:
    scores = score_runs(RUNS, MEASURES, GROUND, "engine")
    return Report(
        "products: <b>3</b> queries",
        "engine",
        {"q": "<script>lamp</script>", "r": "bag", "none": "x"},
        {name: Run(run, None if name == "engine" else {}) for name, run in RUNS.items()},
        MEASURES,
        scores,
        titles={"a": "A <i>lamp</i>"},
        **others,
    )


def test_values_by_hand() -> None:
    found = score_runs(RUNS, MEASURES, GROUND, "engine").by_query
    assert set(found["engine"]["nDCG@10"]) == {"q", "r"}
    assert found["ours"]["nDCG@10"]["q"] == pytest.approx(ndcg(["c", "d", "a"], RATINGS["q"]))
    assert found["engine"]["RR"] == {"q": 1.0, "r": 0.5}
    assert found["engine"]["R@2"] == {"q": 0.5, "r": 1.0}
    assert found["engine"]["Judged@2"] == {"q": 0.5, "r": 0.5, "none": 1.0}
    assert found["ours"]["overlap@2"] == {"q": 0.0, "r": 1.0, "none": 1.0}
    assert "overlap@2" not in found["engine"]
    assert found["engine"]["coverage(brand)@2"]["q"] == 0.5
    assert found["ours"]["distinct(brand)@3"]["q"] == 2.0
    assert found["engine"]["ILD@2"]["q"] == pytest.approx(1.0)
    assert math.isnan(found["engine"]["ILD@2"]["none"])


def test_exposure_adds_up_over_queries() -> None:
    summaries = score_runs(RUNS, MEASURES, GROUND, "engine").summaries
    # engine: s has q's two places, one of r's and none's one; t has nothing.
    assert summaries["engine"]["Gini(seller)@2"].mean == pytest.approx(0.5)
    seller_s, seller_t = 1 + 1.0, 1.0  # ours: r and none at place 1; q's first is t's
    expected = (seller_s - seller_t) / (2 * (seller_s + seller_t))
    ours = summaries["ours"]["Gini(seller)@2"]
    assert ours.mean == pytest.approx(expected)
    assert ours.against is not None
    assert ours.against.difference == pytest.approx(expected - 0.5)


def test_what_nobody_rated_may_be_left_out() -> None:
    ground = Ground(Documents(), Judgments({"q": {"b": 1}}), unrated="leave-out")
    found = score_runs({"engine": {"q": ["x", "y", "b"]}}, [Measure("RR")], ground, "engine")
    assert found.by_query["engine"]["RR"] == {"q": 1.0}


def test_the_least_relevant_rating_is_a_choice() -> None:
    ground = Ground(Documents(), Judgments({"q": {"a": 1, "b": 2}}), relevant_from=2)
    found = score_runs({"engine": {"q": ["a", "b"]}}, [Measure("RR")], ground, "engine")
    assert found.by_query["engine"]["RR"] == {"q": 0.5}


@given(st.permutations("abcdef"), st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30)))
def test_the_linear_gain_by_hand(ranking: list[str], ratings: dict[str, float]) -> None:
    ground = Ground(Documents(), Judgments({"q": {**ratings, "a": 7.0}}), gain="linear")
    found = score_runs({"e": {"q": ranking}}, [Measure("nDCG", 3)], ground, "e")
    gains = ground.judgments.ratings["q"] if ground.judgments else {}
    best = sorted(gains.values(), reverse=True)[:3]

    def discounted(values: list[float]) -> float:
        return sum(value / math.log2(rank + 1) for rank, value in enumerate(values, start=1))

    expected = discounted([gains.get(d, 0) for d in ranking[:3]]) / discounted(best)
    assert found.by_query["e"]["nDCG@3"]["q"] == pytest.approx(expected)


def test_fractional_ratings_are_taken() -> None:
    ground = Ground(Documents(), Judgments({"q": {"a": 2.5, "b": 0.5}}))
    found = score_runs({"e": {"q": ["b", "a"]}}, [Measure("nDCG", 10)], ground, "e")
    expected = ndcg(["b", "a"], {"a": 2.5, "b": 0.5})
    assert found.by_query["e"]["nDCG@10"]["q"] == pytest.approx(expected)


def test_gains_are_not_taken_for_grades() -> None:
    ground = Ground(Documents(), Judgments({"q": {"a": 100.0}}))
    with pytest.raises(ConfigError, match="--gain linear"):
        check_ratings(ground, MEASURES)


def test_without_judgments_relevance_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="--judgments"):
        score_runs(RUNS, [Measure("nDCG", 10)], Ground(Documents()), "engine")


def test_gates() -> None:
    done = report()
    assert check_gates([read_gate("nDCG@10=0.5"), read_gate("Gini(seller)@2=0.4")], done) == []
    missed = check_gates([read_gate("engine:nDCG@10=0.99"), read_gate("Gini(seller)@2=0.1")], done)
    assert re.match(r"nDCG@10 of engine is 0\.\d+, not at least 0.99", missed[0])
    assert missed[1].endswith("not at most 0.1")
    assert "cannot be measured" in check_gates([read_gate("P@3=0.1")], done)[0]
    with pytest.raises(ConfigError, match="there are engine, ours"):
        check_gates([read_gate("other:nDCG@10=1")], done)
    for wrong in ("nDCG@10", "nDCG@10=x", "=1"):
        with pytest.raises(ConfigError):
            read_gate(wrong)


def test_the_page_loads_nothing_and_escapes_everything() -> None:
    summary = report().summary("ours", "nDCG@10")
    assert summary is not None
    assert summary.against is not None
    times = {name: Times({"q": 3.0, "r": 5.0}, {}) for name in RUNS}
    page = write_page(
        report(verdict=judge(summary.against, "nDCG@10", "m"), times=times, notes=["<x>"])
    )
    assert "<script" not in page
    assert "&lt;script&gt;lamp" in page
    assert "A &lt;i&gt;lamp" in page
    assert not re.search(r"(src|href)=|https?://|url\(", page)
    assert "default-src 'none'" in page
    assert page.count("<svg") >= 3
    assert page.count("<table") == page.count("</table>")
    assert "Reranking helps here" in page


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(times={"ours": Times({"q": 3.0}, {})}, notes=["[odd] thing"]))
    shown = capsys.readouterr().out
    assert "entropy(brand)@3" in shown
    assert "Note: [odd] thing" in shown
    assert "page of 10, ms, median" in shown


def test_the_json_is_valid_and_whole() -> None:
    found = json.loads(json.dumps(as_json(report()), allow_nan=False))
    assert list(found["runs"]) == ["engine", "ours"]
    ours = found["runs"]["ours"]["measures"]
    assert set(ours) == set(NAMES)
    assert set(ours["nDCG@10"]) >= {"mean", "interval", "n", "difference", "p_value"}
    assert found["by_query"]["none"]["measures"]["engine"]["ILD@2"] is None
