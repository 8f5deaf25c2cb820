from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_rerank.datasets.ubi import judge_clicks, read_rows
from es_rerank.demo import sample
from es_rerank.errors import DataError


def search(number: int, ids: Sequence[str], text: str = "bag") -> dict[str, Any]:
    return {"query_id": f"s{number}", "user_query": text, "query_response_hit_ids": list(ids)}


def event(number: int, document: str, action: str = "click", **others: Any) -> dict[str, Any]:
    attributes = {"object": {"object_id": document}, "position": {"ordinal": others.pop("at", 1)}}
    row = {"query_id": f"s{number}", "action_name": action, "event_attributes": attributes}
    return {**row, **others}


def test_grades_by_hand() -> None:
    # Place 1 is clicked in 6 of 10 searches, place 2 in 2 of 10.
    queries = [search(i, ("a", "b") if i < 5 else ("b", "a")) for i in range(10)]
    clicks = [event(i, "a") for i in range(5)] + [event(5, "b")] + [event(i, "a") for i in (6, 7)]
    found = judge_clicks([*clicks, event(0, "a"), event(0, "a", "add_to_cart")], queries)
    # a: 7 clicks where 5 · .6 + 5 · .2 = 4 were to be expected; b: 1 of 4.
    assert found.ratings == {"bag": {"a": 3.0, "b": 1.0}}
    assert found.queries == {"bag": "bag"}
    assert "favour the order that was shown" in " ".join(found.notes)


def test_pairs_seen_too_rarely_are_left_out() -> None:
    queries = [search(i, ("a", "b")) for i in range(5)] + [search(9, ("a", "c"))]
    found = judge_clicks([event(0, "a")], queries)
    assert set(found.ratings["bag"]) == {"a"}  # at place 2 no click is to be expected at all
    with pytest.raises(DataError, match=r"shown 7 times.*--least-views"):
        judge_clicks([event(0, "a")], queries, least_views=7)


def test_views_may_come_as_events() -> None:
    events = [
        event(i, document, "impression", user_query="bag", at=place)
        for i in range(6)
        for place, document in enumerate(("a", "b"))
    ]
    found = judge_clicks([*events, event(0, "a"), event(1, "b"), event(77, "b")])
    assert found.ratings == {"bag": {"a": 2.0, "b": 2.0}}
    assert "1 searches were left out" in found.notes[-1]


def test_what_cannot_be_judged_says_why() -> None:
    with pytest.raises(DataError, match="name the searches"):
        judge_clicks([event(0, "a")])
    with pytest.raises(DataError, match="same field of the documents"):
        judge_clicks([event(0, "ean-1")], [search(0, ("a",))])


def test_the_samples_clicks_agree_with_its_truth() -> None:
    """More clicked is better by the generator's grades, which the clicks were drawn from."""
    found = judge_clicks(sample.load_ubi_events(), sample.load_ubi_queries())
    names = {query.text: query.id for query in sample.load_queries()}
    truth = sample.load_qrels()
    true: dict[float, list[int]] = defaultdict(list)
    for query, rated in found.ratings.items():
        if query in names:
            for document, grade in rated.items():
                true[grade].append(truth[names[query]].get(document, 0))
    assert min(len(grades) for grades in true.values()) > 20
    assert np.mean(true[2] + true[3]) > np.mean(true[1]) + 0.3
    assert np.mean(true[1]) > np.mean(true[0]) + 0.3


def test_rows_of_lines_lists_and_hits(tmp_path: Path) -> None:
    rows = [{"query_id": "a"}, {"query_id": "b"}]
    forms = [
        "".join(json.dumps(row) + "\n" for row in rows),
        json.dumps(rows),
        "".join(json.dumps({"_index": "ubi_events", "_source": row}) + "\n" for row in rows),
        "".join('{"index": {}}\n' + json.dumps(row) + "\n" for row in rows),
    ]
    for number, form in enumerate(forms):
        path = tmp_path / str(number)
        path.write_text(form)
        assert list(read_rows(path)) == rows
    (tmp_path / "bad").write_text('{"a": 1}\n3\n')
    with pytest.raises(DataError, match=r"Line 2 .*no JSON object"):
        list(read_rows(tmp_path / "bad"))
    (tmp_path / "worse").write_text("{")
    with pytest.raises(DataError, match="neither JSON lines"):
        list(read_rows(tmp_path / "worse"))
