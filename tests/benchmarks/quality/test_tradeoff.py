"""Curves of relevance against variety, on numbers made here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.tradeoff import PRICES, RIVAL, buy, draw_page, list_lines, price_rows
from es_rerank.proxy.search.options import read_block

START, PRICE, GOOD = "relevance only", "unrated 0 | nDCG@10", "ILD@10"
ONE = np.array([[1.0]])


def test_every_point_is_something_that_can_be_asked_for() -> None:
    lines = list_lines(facets=True)
    runs = {name: block for line in lines.values() for name, block in line.items()}
    assert len({str(block) for block in runs.values()}) == len(runs)
    for block in runs.values():
        read_block(block)
    assert RIVAL in lines
    assert set(list_lines(facets=False)) == {name for name in lines if "facet" not in name}


def test_the_price_is_paid_between_two_strengths() -> None:
    paid = np.array([[0.80], [0.79], [0.75]])
    had = np.array([[0.40], [0.45], [0.65]])
    assert buy(paid, had, ONE, 0.01) == pytest.approx([0.45])
    assert buy(paid, had, ONE, 0.02) == pytest.approx([0.50])
    assert buy(paid, had, ONE, 0.5) == pytest.approx([0.65])
    assert buy(paid, had, ONE, 0.0) == pytest.approx([0.40])


def test_a_curve_that_only_loses_gives_what_relevance_alone_gives() -> None:
    paid = np.array([[0.80], [0.79]])
    had = np.array([[0.40], [0.35]])
    assert buy(paid, had, ONE, 0.05) == pytest.approx([0.40])


def measured(better: str) -> dict[str, dict[str, dict[str, float]]]:
    """Each strength costs .005 of nDCG; `better` gives twice the variety of the others."""
    found = {START: {PRICE: dict.fromkeys("abc", 0.8), GOOD: dict.fromkeys("abc", 0.4)}}
    for line, runs in list_lines(facets=False).items():
        for step, name in enumerate(runs, start=1):
            gain = 0.02 * step * (2 if line == better else 1)
            found[name] = {
                PRICE: dict.fromkeys("abc", 0.8 - 0.005 * step),
                GOOD: {"a": 0.4 + gain, "b": 0.4 + gain, "c": float("nan")},
            }
    return found


def test_ways_are_compared_at_an_equal_price() -> None:
    better = "DPP, cosine kernel, adaptive"
    lines = list_lines(facets=False)
    rows = {row.what: row for row in price_rows(measured(better), lines, START, PRICE, (GOOD,))}
    assert len(rows) == len(lines) * len(PRICES)
    row = rows[f"{better}, at -0.01 | {GOOD}"]
    assert [row.ours, row.theirs, row.n] == pytest.approx([0.48, 0.44, 2])
    assert row.spread is not None
    assert row.spread.low == pytest.approx(row.spread.high) == pytest.approx(0.04)
    same = rows[f"DPP, cosine kernel, at -0.01 | {GOOD}"]
    assert same.ratio == pytest.approx(1.0)


def test_the_page_has_a_line_for_each_way_and_measure() -> None:
    lines = list_lines(facets=False)
    page = draw_page(measured(RIVAL), lines, START, PRICE, (GOOD,), "Curves & more")
    assert page.count("<polyline") == len(lines)
    assert page.count("stroke-dasharray") == 2 * len(lines) // 2
    assert "<h1>Curves &amp; more</h1>" in page
    assert "script" not in page
