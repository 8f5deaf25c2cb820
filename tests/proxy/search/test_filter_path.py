"""filter_path as the engines have it; tests/live/test_filter_path.py compares with their own."""

from __future__ import annotations

import pytest

from es_rerank.proxy.search.filter_path import FilterError, read_filter
from es_rerank.proxy.search.request import read_request

ANSWER = (
    b'{"took":1,"_shards":{"total":1},"hits":{"total":{"value":2},"hits":[{"_id":"1","_source":'
    b'{"a": 1.10,"o":{"p":{"q":1},"r":[{"q":1},{"s":2}]}}},{"_id":"2","_source":{"b":[1]}}]}}'
)


def cut(value: str, answer: bytes = ANSWER) -> bytes:
    request = read_request("GET", b"/_search", b"filter_path=" + value.encode(), [], b"", 100)
    found = read_filter(request)
    return answer if found is None else found.cut(answer)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("took", b'{"took":1}'),
        ("took,hits.hits._id", b'{"took":1,"hits":{"hits":[{"_id":"1"},{"_id":"2"}]}}'),
        ("hits.hits._source.a", b'{"hits":{"hits":[{"_source":{"a":1.10}}]}}'),
        ("**.q", b'{"hits":{"hits":[{"_source":{"o":{"p":{"q":1},"r":[{"q":1}]}}}]}}'),
        (
            "hits.hits._source.o.**.q,-**.p",
            b'{"hits":{"hits":[{"_source":{"o":{"r":[{"q":1}]}}}]}}',
        ),
        ("hits.t*.*ue", b'{"hits":{"total":{"value":2}}}'),
        ("hits.hits._source.b", b'{"hits":{"hits":[{"_source":{"b":[1]}}]}}'),
        ("hits.hits._source.b.c", b"{}"),
        ("nothing", b"{}"),
        ("-hits,-took", b'{"_shards":{"total":1}}'),
        ("-hits.hits,-t*", b'{"_shards":{"total":1},"hits":{"total":{"value":2}}}'),
        ("-took,-_shards,-hits.total,-**._source", b'{"hits":{"hits":[{"_id":"1"},{"_id":"2"}]}}'),
        ("-**", b"{}"),
    ],
)
def test_cuts(value: str, expected: bytes) -> None:
    assert cut(value) == expected


def test_without_patterns_the_answer_is_whole() -> None:
    assert cut("") == cut(",") == ANSWER


@pytest.mark.parametrize(
    "value", ["hits.", ".hits", "a..b", "a%5C.b", "hits,%20took", "a&filter_path=b"]
)
def test_what_the_engines_read_in_different_ways(value: str) -> None:
    with pytest.raises(FilterError):
        cut(value)


@pytest.mark.parametrize("empty", [b"{}", b"[]"])
def test_exclusions_that_meet_what_is_empty(empty: bytes) -> None:
    answer = b'{"a":' + empty + b',"b":1}'
    with pytest.raises(FilterError):
        cut("-a.c", answer)
    assert cut("-b", answer) == b'{"a":' + empty + b"}"
