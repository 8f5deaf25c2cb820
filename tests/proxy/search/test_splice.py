"""Answers taken apart and put together: every hit once, in its own bytes."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.search.additions import Additions
from es_rerank.proxy.search.splice import (
    AnswerError,
    SearchAnswer,
    cut_hits,
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


def test_what_was_left_out_does_not_come_back_behind_the_window() -> None:
    """Nor do the hits past the window bear other scores than their own."""
    hits = [f'{{"_id":"{i}","_score":{9 - i}.0}}' for i in range(5)]
    page = [json.loads(h) for h in place_hits(make_answer(hits), [2, 0], 0, 5, NONE, {}, 3)]
    assert [(hit["_id"], hit["_score"]) for hit in page] == [
        ("2", 9.0),
        ("0", 8.0),
        ("3", 6.0),
        ("4", 5.0),
    ]


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=4),
    st.dictionaries(st.text(max_size=4), JSON, max_size=2),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_the_hits_are_cut_out_and_nothing_else(
    hits: list[dict[str, object]], rest: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    value = {**rest, "hits": {"total": [{}], "hits": hits, "after": "[{}]"}, "z": [{"hits": []}]}
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    answer = read_answer(body)
    assert [{k: json.loads(bytes(v)) for k, v in hit.items()} for hit in answer.hits] == hits
    cut = cut_hits(body, answer.hits)
    value["hits"]["hits"] = []  # type: ignore[index]
    if hits and hits[0] and hits[-1] and re.fullmatch("[a-z]+", next(iter(hits[0]))):
        assert json.loads(cut) == value
    written = json.loads(write_answer(answer, [], 0, False))
    assert written == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"hits":{"hits":[{"a":1,"b":{"c":2},"a":3}]}}',  # the first key comes once more
        b'{"hits":{"hits":[{"\\u0061":1}]}}',
        b'{"hits":{"hits":[{}, {"a":1}]}}',
        b'{"hits":{"hits":[{"a":1}]},"hits":{"hits":[{"a":2}],"b":1}}',
    ],
)
def test_hits_with_odd_ends_are_read_all_the_same(body: bytes) -> None:
    answer = read_answer(body)
    whole = json.loads(body)
    page = place_hits(answer, [], 0, 10, NONE, {})
    assert [json.loads(hit) for hit in page] == whole["hits"]["hits"]
    assert json.loads(write_answer(answer, page, 0, False)) == whole


@pytest.mark.parametrize(
    "answer",
    [
        b'{"took":"long","hits":{"hits":[{"_score":2.0},{"a":1},{"_score":null}]}}',
        b'{"took":1.5,"hits":{"hits":[{"fields":null},{"fields":{"n":{"x":1}}},{"fields":[]}]}}',
    ],
)
def test_odd_members_stay_as_they_are(answer: bytes) -> None:
    taken = read_answer(answer)
    page = place_hits(taken, [2, 1, 0], 0, 3, Additions(("n.x",)), {})
    written = json.loads(write_answer(taken, page, 5, False))
    whole = json.loads(answer)
    assert written["took"] == whole["took"]
    assert sorted(map(str, written["hits"]["hits"])) == sorted(map(str, whole["hits"]["hits"]))
