"""Bent answers through the splicer: no answer, or the same hits in their own bytes.

Budget: a sixth of SOAK_SECONDS (600 by default); the short one 3 s.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from es_rerank.cluster.fields import IndexFields
from es_rerank.proxy.search.additions import Additions
from es_rerank.proxy.search.splice import AnswerError, place_hits, read_answer, write_answer
from es_rerank.proxy.search.window import gather
from es_rerank.ranking.pipeline import RankingOptions, rank
from tests.soak.mutate import SOAK_S, at_most, bend_bytes, bend_value, examples, write_json

SEED = 20
NAMES = ["hits", "_score", "_source", "_id", "fields", "took", "total", "title", "brand", "price"]
FIELDS = IndexFields(("title", "text.en"), ("brand", "n.colour"), "price", None, "c", "m")
ADDED = Additions(("title",), ("c",))
HIDDEN = {"_score", "fields", "_explanation"}


def make_answer(rng: random.Random) -> Any:
    """An answer as the engines give it, with hits of every kind."""
    hits = []
    for number in range(rng.choice([0, 1, 2, 5, 12])):
        hit: dict[str, Any] = {"_index": "i", "_id": str(number), "_score": 20.5 - number}
        if rng.random() < 0.9:
            hit["_source"] = {
                "title": rng.choice(["red shoe", ["a", "b"], None, "é <b>x</b>"]),
                "text": {"en": "words"},
                "brand": rng.choice(["Acme", ["A", "B"], 7, True, {}]),
                "n": [{"colour": "red"}, {"colour": "blue"}],
                "price": rng.choice([1, "2.5", [3], None, "x"]),
                "vector": [0.5] * 5,
            }
        if rng.random() < 0.6:
            hit["fields"] = {"title": ["red"], "c": [rng.choice(["AQI=", "x", 1])], "own": [1]}
        if rng.random() < 0.2:
            hit["_explanation"] = {"value": 1.0, "description": "d", "details": []}
        if rng.random() < 0.2:
            hit |= {
                "highlight": {"title": ["<em>"]},
                "sort": [1],
                "inner_hits": {"x": {"hits": []}},
            }
        hits.append(hit)
    return {
        "took": rng.choice([0, 3]),
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1},
        "hits": {"total": {"value": len(hits), "relation": "eq"}, "max_score": 20.5, "hits": hits},
        "aggregations": {"b": {"buckets": [{"key": "Acme", "doc_count": 1.10}]}},
    }


def texts(value: bytes) -> Any:
    """A value by its own bytes, so that 1.0 and 1 differ."""
    text = value.decode("utf-8", "surrogateescape")  # what is no UTF-8 goes on as it came
    return json.loads(
        text, parse_int=lambda s: f"#{s}", parse_float=lambda s: f"#{s}", strict=False
    )


class NoModel:
    """A scorer that is never asked."""

    name = "none"

    def unknown_share(self, query: str) -> float:
        return 0.0

    def score(self, query: str, candidates: Any) -> Any:
        raise AssertionError("asked without a query")


def splice(rng: random.Random, seen: Counter[str]) -> None:
    """Bend one answer, rank it, put it together, and compare."""
    value: Any = make_answer(rng)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        value = bend_value(rng, value, NAMES)
    body = write_json(rng, value)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        body = bend_bytes(rng, body)
    try:
        answer = read_answer(body)
        candidates = gather(answer.hits, FIELDS, ["size"], 2, rng.random() < 0.5)
        order = [int(i) for i in rank(None, candidates, OPTIONS, NoModel()).order]
        assert sorted(order) == list(range(len(answer.hits)))
        page = place_hits(answer, order, 0, len(order), ADDED, {})
        written = write_answer(answer, page, 2, rng.random() < 0.1)
    except AnswerError:
        seen["no answer"] += 1
        return
    seen["spliced"] += 1
    before, after = texts(body), texts(written)
    hits, placed = before["hits"].pop("hits"), after["hits"].pop("hits")
    assert without(before, {"took"}) == without(after, {"took"})
    for place, (position, hit) in enumerate(zip(order, placed, strict=True)):
        assert without(hit, HIDDEN) == without(hits[position], HIDDEN)
        if "_score" in hit and "_score" in hits[place]:
            assert hit["_score"] == hits[place]["_score"]


def without(value: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name not in names}


OPTIONS = RankingOptions(diversity=0.3)


@pytest.mark.live
@pytest.mark.parametrize(
    "seconds",
    [3.0, pytest.param(SOAK_S / 6, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_an_answer_keeps_its_hits_or_is_none(seconds: float) -> None:
    seen: Counter[str] = Counter()
    for number in examples(seconds):
        rng = random.Random(f"{SEED} {number}")
        try:
            with at_most(5.0):
                splice(rng, seen)
        except BaseException as error:
            error.add_note(f"example {number}")
            raise
    print(f"\n{number + 1} answers: {dict(seen)}")
    assert seen["spliced"] > number / 10
    assert seen["no answer"] > number / 50
