"""Answers taken apart and put together: every hit once, in its own bytes."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.search.additions import Additions
from es_rerank.proxy.search.splice import (
    AnswerError,
    SearchAnswer,
    place_hits,
    read_answer,
    write_answer,
)

NONE = Additions()


def raw_hit(text: str) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def make_answer(hits: list[str], rest: str = "") -> SearchAnswer:
    listed = ",".join(hits)
    return read_answer(
        f'{{"took":3,"hits":{{"total":7,"max_score":9.0,"hits":[{listed}]}}{rest}}}'.encode()
    )


@st.composite
def placings(draw: st.DrawFn) -> tuple[int, list[int], int, int]:
    """How many hits, the order of the window, and a page."""
    count = draw(st.integers(0, 30))
    window = draw(st.integers(0, count))
    order = draw(st.permutations(range(window)))
    return count, list(order), draw(st.integers(0, 35)), draw(st.integers(0, 35))


@given(placings())
def test_pages_hold_every_hit_once_in_its_bytes(case: tuple[int, list[int], int, int]) -> None:
    count, order, start, size = case
    scores = [f"{count - i}.50" for i in range(count)]
    hits = [
        f'{{"_index":"i","_id":"{i}","_score":{scores[i]},"_source":{{"n": 1.0E-5, "i" :{i}.0}}}}'
        for i in range(count)
    ]
    answer = make_answer(hits)
    whole = place_hits(answer, order, 0, count, NONE, {})
    final = [*order, *range(len(order), count)]
    for place, (position, written) in enumerate(zip(final, whole, strict=True)):
        assert written.decode() == hits[position].replace(
            f'"_score":{scores[position]}', f'"_score":{scores[place]}'
        )
    assert place_hits(answer, order, start, size, NONE, {}) == whole[start : start + size]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ('{"title":["a"],"code":["x"]}', None),
        ('{"title":["a"],"price":[1.10]}', '{"price":[1.10]}'),
        ('{"variants":[{"colour":["red"]}]}', None),
        (
            '{"variants":[{"colour":["red"],"n":[1.0]},{"colour":["b"]}]}',
            '{"variants":[{"n":[1.0]}]}',
        ),
        ('{"variants":["plain"]}', '{"variants":["plain"]}'),
        ('{"other":[{"colour":["red"]}]}', '{"other":[{"colour":["red"]}]}'),
    ],
)
def test_only_what_was_added_leaves_the_fields(fields: str, left: str | None) -> None:
    answer = make_answer([f'{{"_id":"1","_score":1.0,"fields":{fields}}}'])
    added = Additions(("title", "variants.colour"), ("code",))
    (written,) = place_hits(answer, [0], 0, 1, added, {})
    shown = "" if left is None else f',"fields":{left}'
    assert written.decode() == f'{{"_id":"1","_score":1.0{shown}}}'


def test_explanations_wrap_the_engines_own() -> None:
    hits = [
        '{"_id":"0","_score":2.0,"_explanation":{"value":2.0,"description":"e"}}',
        '{"_id":"1","_score":1.0,"_explanation":{"value":1.0,"description":"e"}}',
    ]
    moved = [json.loads(h) for h in place_hits(make_answer(hits), [1, 0], 0, 2, NONE, {})]
    assert [hit["_id"] for hit in moved] == ["1", "0"]
    for hit, own in zip(moved, (1.0, 2.0), strict=True):
        assert hit["_explanation"]["value"] == hit["_score"]
        assert hit["_explanation"]["details"] == [{"value": own, "description": "e"}]
    still = place_hits(make_answer(hits), [0, 1], 0, 2, NONE, {})
    assert [h.decode() for h in still] == hits
    own_words = {0: {"description": "why", "details": [{"value": 7}]}}
    (told,) = place_hits(make_answer(hits[:1]), [0], 0, 1, NONE, own_words)
    assert json.loads(told)["_explanation"] == {
        "value": 2.0,
        "description": "why",
        "details": [{"value": 7}, {"value": 2.0, "description": "e"}],
    }


def test_answers_keep_their_other_parts() -> None:
    answer = make_answer(
        ['{"_id":"0"}'], ',"aggregations":{"a": 1.0E-5},"_shards":{"total":123456789012345678901}'
    )
    assert write_answer(answer, [b'{"_id":"9"}'], 4, False) == (
        b'{"took":7,"hits":{"total":7,"max_score":9.0,"hits":[{"_id":"9"}]},'
        b'"aggregations":{"a": 1.0E-5},"_shards":{"total":123456789012345678901}}'
    )
    pretty = write_answer(answer, [b'{"_id":"9"}'], 0, True)
    assert b"\n  " in pretty
    assert json.loads(pretty)["took"] == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"hits":[]}',
        b'{"hits":{}}',
        b'{"hits":{"hits":[1]}}',
        b'{"hits":{"hits":[{"_source":{"t":"\\ud83d"}}]}}',
        b"\x1f\x8b",
    ],
)
def test_what_is_no_answer_is_told(body: bytes) -> None:
    with pytest.raises(AnswerError):
        read_answer(body)
