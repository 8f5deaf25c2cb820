"""Documents keep their bytes; values are found wherever a mapping allows them."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.document import (
    Hit,
    Hits,
    clean_text,
    decode_answer,
    document_text,
    join_texts,
    read_document,
    read_text,
    read_values,
    splice,
    text_template,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6).filter(lambda key: key != "es_rerank"), JSON)


@given(OBJECTS, OBJECTS, st.sampled_from([None, 2]))
def test_splice_adds_the_patch_and_nothing_else(
    source: dict[str, Any], patch: dict[str, Any], indent: int | None
) -> None:
    raw = json.dumps(source, ensure_ascii=False, indent=indent).encode()
    spliced = splice(raw, json.dumps(patch).encode()).decode()
    assert "\n" not in spliced
    assert json.loads(spliced) == {**source, "es_rerank": patch}


def test_splice_keeps_numbers_as_they_are_written() -> None:
    raw = b'{"v": 1.10, "big": 123456789012345678901234567890, "e": 1.0E-5, "s": "\\ud83d\\n"}\n'
    assert splice(raw, b"{}").decode() == (
        '{"v": 1.10, "big": 123456789012345678901234567890, "e": 1.0E-5, "s": "\\ud83d\\n"'
        ',"es_rerank":{}}'
    )


def _hit(source: bytes) -> Hit:
    return Hit(id="1", source=msgspec.Raw(source))


def test_an_earlier_enrichment_is_taken_out() -> None:
    raw = b'{"v":1.10,"es_rerank":{"vector":[1]},"es_rerank.code":"x","es_reranked":1.0}'
    document = read_document(_hit(raw))
    assert document.raw == b'{"v":1.10,"es_reranked":1.0}'
    assert document.source == {"v": 1.1, "es_reranked": 1.0}


def test_a_hit_without_source_is_refused() -> None:
    with pytest.raises(ValueError, match="no _source"):
        read_document(Hit(id="1"))
    with pytest.raises(ValueError, match="no object"):
        read_document(_hit(b"[1]"))


def test_lone_surrogates_and_big_integers_are_read() -> None:
    document = read_document(_hit(b'{"a":"x\\ud800y","b":123456789012345678901234567890}'))
    assert document.source["b"] == 123456789012345678901234567890
    assert read_text(document.source, "a") == "xy"


def test_answers_keep_sources_raw() -> None:
    answer = decode_answer(
        b'{"took":1,"hits":{"total":{"value":1},"hits":[{"_index":"i","_id":"1","_routing":"r",'
        b'"_source":{"v":1.10},"sort":[7]}]}}'
    )
    assert answer["took"] == 1
    assert isinstance(answer["hits"], Hits)
    (hit,) = answer["hits"].hits
    assert (hit.id, hit.routing, hit.sort) == ("1", "r", [7])
    assert read_document(hit).raw == b'{"v":1.10}'


@given(JSON)
def test_other_answers_are_decoded_as_json_does(value: Any) -> None:
    assert decode_answer(json.dumps(value).encode()) == value


def test_values_at_a_path() -> None:
    source = {
        "a": {"b": [1, None, 2], "c": None},
        "n": [{"b": "x"}, {"b": ["y", {"b": "z"}]}, None],
        "a.b": 3,
        "flat": "t",
    }
    assert list(read_values(source, "a.b")) == [3, 1, 2]
    assert list(read_values(source, "n.b")) == ["x", "y"]
    assert list(read_values(source, "flat.b")) == []
    assert list(read_values(source, "a")) == []
    assert list(read_values(source, "absent")) == []


@given(OBJECTS, st.text(max_size=6))
def test_any_source_and_path_may_be_asked(source: dict[str, Any], path: str) -> None:
    read_text(source, path)
    document_text(source, [path, f"{path}.{path}"])


def test_text_of_odd_values() -> None:
    assert read_text({"t": ["a", None, 5, ["b", ""]]}, "t") == "a, 5, b"
    assert read_text({"t": "<p>Big&nbsp;&amp; red</p>\n<br/>a < b  and c > d"}, "t") == (
        "Big & red a < b and c > d"
    )
    assert clean_text("  深红色\u3000的 鞋 ") == "深红色 的 鞋"


def test_texts_are_joined_as_the_template_says() -> None:
    source = {"title": "Red shoe", "name": "Red shoe", "description": "Runs.", "more": "Far"}
    fields = ("title", "name", "absent", "description", "more")
    assert document_text(source, fields) == "Red shoe. Runs. Far"
    assert join_texts(["红鞋。", "跑步"]) == "红鞋。 跑步"
    assert text_template(("title", "description")) == "{title}. {description}"


@given(st.text())
def test_white_space_is_what_regular_expressions_call_so(text: str) -> None:
    plain = re.sub(r"[<&]", "", text).encode("utf-8", "ignore").decode()
    assert clean_text(plain) == re.sub(r"\s+", " ", plain).strip()
