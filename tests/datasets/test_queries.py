from __future__ import annotations

from pathlib import Path

import pytest

from es_rerank.datasets.queries import read_queries
from es_rerank.errors import DataError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("desk lamp\n\nbag\ndesk lamp\n", {"desk lamp": "desk lamp", "bag": "bag"}),
        ("301\tdesk lamp\n302\tbag\n", {"301": "desk lamp", "302": "bag"}),
        ("shirt, blue\nbag\n", {"shirt, blue": "shirt, blue", "bag": "bag"}),
        ("query,docid,rating\nbag,a,1\nbag,b,0\n", {"bag": "bag"}),
        ("query_id;query\n7;bag\n", {"7": "bag"}),
        ('{"id": "q1", "query": "bag", "kinds": []}\n', {"q1": "bag"}),
        ('{"query_id": "s1", "user_query": "bag"}\n{"user_query": "bag"}\n', {"bag": "bag"}),
        ("狗窝\r\n猫\r\n", {"狗窝": "狗窝", "猫": "猫"}),
    ],
)
def test_queries_in_their_many_forms(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    path = tmp_path / "queries"
    path.write_text(text, encoding="utf-8")
    assert read_queries(path) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n", "holds no query"),
        ('{"query": "bag"}\n{"words": 1}\n', "Line 2 .*no text under query"),
        ('{"query": "bag"\n', "Line 1 .*no JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "queries"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=complaint):
        read_queries(path)
