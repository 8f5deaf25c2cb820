"""Click logs in the forms they come in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from es_rerank.errors import DataError
from es_rerank.training.clicks.attraction import judge_log
from es_rerank.training.clicks.log import ClickLog, read_log

PUBLIC = Path("/work/shared/data")


def shows(log: ClickLog) -> list[tuple[str, str, int, bool]]:
    return [
        (log.queries[q], log.documents[d], int(r), bool(c))
        for q, d, r, c in zip(log.query, log.document, log.rank, log.clicked, strict=True)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def test_shows_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "\ufeffQuery;DocID;rank;clicked;session\n"
        "red shoes;a;1;0;s1\nred shoes;b;2;1;s1\nred shoes;b;1;true;s2\nhat;a;1;0;s2\n",
        encoding="utf-8",
    )
    log = read_log(path)
    assert shows(log) == [
        ("red shoes", "a", 1, False),
        ("red shoes", "b", 2, True),
        ("red shoes", "b", 1, True),
        ("hat", "a", 1, False),
    ]
    assert log.search.tolist() == [0, 0, 1, 2]  # a session that searches twice is two searches
    assert log.sessions


def test_shows_without_sessions_are_each_a_search_of_its_own(tmp_path: Path) -> None:
    rows = [{"query": "hat", "docid": "a", "rank": 1, "clicked": i % 2} for i in range(4)]
    log = read_log(write(tmp_path / "log.jsonl.gz", rows))
    assert len(log) == 4
    assert not log.sessions


def test_a_document_counts_once_for_a_search(tmp_path: Path) -> None:
    row = {"query": "hat", "docid": "a", "session": "s", "clicked": 0, "rank": 3}
    log = read_log(write(tmp_path / "log.jsonl", [row, {**row, "rank": 9, "clicked": 1}]))
    assert shows(log) == [("hat", "a", 3, True)]


@pytest.mark.parametrize(
    "change", [{"clicked": "perhaps"}, {"rank": "first"}, {"rank": 1.5}, {"docid": ""}]
)
def test_a_show_that_is_none_names_its_row(tmp_path: Path, change: dict[str, Any]) -> None:
    row = {"query": "hat", "docid": "a", "session": "s", "clicked": 1, "rank": 1}
    with pytest.raises(DataError, match=r"Row 2 of .*log\.jsonl needs"):
        read_log(write(tmp_path / "log.jsonl", [row, {**row, **change}]))


def event(action: str, document: str | None, place: int | None, **others: Any) -> dict[str, Any]:
    found = {"t": 1, "u": "u", "s": "s1", "a": action, "q": "hat", "asin": document, "pos": place}
    return {**found, **others}


def test_flat_events(tmp_path: Path) -> None:
    rows = [
        event("on_search", None, None),
        event("impression", "a", 0),
        event("impression", "b", 1),
        event("click", "b", 1),
        event("add_to_cart", "c", 2),
        event("brand_filter", "x", 0),
        event("impression", "a", 4, s="s2"),
        event("impression", "d", 3, q=None),
        event("click", "a", 3, s="s3"),
    ]
    log = read_log(write(tmp_path / "events.jsonl", rows))
    assert shows(log) == [
        ("hat", "a", 1, False),
        ("hat", "b", 2, True),
        ("hat", "c", 3, True),
        ("hat", "a", 5, False),
    ]
    assert log.notes == ("1 searches were left out: of them only clicks are known.",)
    many = read_log(tmp_path / "events.jsonl", any_event=True)
    assert len(many) == 6


def test_clicks_alone_say_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", [event("item_click", "a", 3)])
    with pytest.raises(DataError, match=r"1 clicks, but nothing.*--searches.*--any-event"):
        read_log(path)


def test_ubi_events_with_their_searches(tmp_path: Path) -> None:
    searches = [
        {"query_id": f"s{i}", "user_query": "hat", "query_response_hit_ids": ["a", "b"]}
        for i in range(2)
    ]
    clicked = {"object": {"object_id": "b"}, "position": {"ordinal": 2}}
    events = [{"query_id": "s1", "action_name": "click", "event_attributes": clicked}]
    log = read_log(
        write(tmp_path / "events.jsonl", events), write(tmp_path / "searches.jsonl", searches)
    )
    assert shows(log) == [
        ("hat", "a", 1, False),
        ("hat", "b", 2, False),
        ("hat", "a", 1, False),
        ("hat", "b", 2, True),
    ]


def test_places_too_deep_are_left_out(tmp_path: Path) -> None:
    rows = [event("impression", "a", 1), event("click", "a", 1), event("impression", "b", 60)]
    log = read_log(write(tmp_path / "events.jsonl", rows))
    assert len(log) == 1
    assert log.notes == ("1 shows below place 50 were left out.",)


def test_a_log_of_another_form_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no column 'rank'.*impressions|no column 'rank'.*A log is"
    ):
        read_log(write(tmp_path / "log.jsonl", [{"query": "hat", "docid": "a", "clicked": 1}]))
    with pytest.raises(DataError, match="is empty"):
        read_log(write(tmp_path / "empty.jsonl", []))
    with pytest.raises(DataError, match="no click on a document"):
        read_log(write(tmp_path / "views.jsonl", [event("impression", "a", 1)]))


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the public data are not here")
def test_public_events_can_be_read() -> None:
    log = read_log(PUBLIC / "esci_ubi_events.jsonl.gz")
    assert len(log) > 1500
    assert log.clicked.sum() > 100
    assert log.rank.min() == 1
    found = judge_log(log, least_views=1.0)
    assert found.judgments
    with pytest.raises(DataError, match="nothing says what else was shown"):
        read_log(PUBLIC / "icecat_ubi_events.jsonl.gz")
    clicks = read_log(PUBLIC / "icecat_ubi_events.jsonl.gz", any_event=True)
    assert len(clicks) > 5000
    with pytest.raises(DataError, match="two different places"):  # made-up events: no product moves
        judge_log(clicks)
    assert judge_log(clicks, known={1: 1.0, 5: 0.5}, least_views=1.0).judgments
