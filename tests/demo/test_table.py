"""The demonstration's tables and figures, from lists made here."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from es_rerank.demo.showing import Hit, Showing, Side, as_json, average
from es_rerank.demo.table import print_showings


def side(*ids: str, ndcg: float) -> Side:
    hits = tuple(Hit(i, f"Shoe [{i}]", f"brand {i}", 10.5) for i in ids)
    return Side(hits, ndcg, 0.25, len(ids))


SHOWINGS = [
    Showing("red shoes", side("a", "b", ndcg=0.5), side("b", "c", ndcg=1.0), 4.0),
    Showing("鞋", side("a", ndcg=0.25), side(ndcg=0.0), 8.0),
]


def test_means_are_over_the_queries() -> None:
    means = average(SHOWINGS)
    assert means["before"] == {"ndcg10": 0.375, "ild10": 0.25, "brands10": 1.5}
    assert means["after"]["ndcg10"] == pytest.approx(0.5)
    assert means["added_ms"] == pytest.approx(6.0)


def test_the_object_has_every_hit() -> None:
    shown = as_json(SHOWINGS)
    assert shown["queries"][0]["after"]["hits"][1] == {
        "id": "c",
        "title": "Shoe [c]",
        "brand": "brand c",
        "price": 10.5,
    }


@pytest.mark.parametrize("width", [80, 180])
def test_the_tables_say_where_a_hit_came_from(width: int) -> None:
    output = io.StringIO()
    print_showings(Console(file=output, width=width), SHOWINGS, "OpenSearch 2.19.1")
    text = output.getvalue()
    assert "red shoes" in text
    assert "鞋" in text
    assert "[a" in text or "Sho" in text, "a title's brackets are no markup"
    assert ">2" in text, "c was not among the first two"
    assert "0.375" in text
