"""`ext.rerank` and `ext.mmr`, in our words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from es_rerank.errors import RequestError
from es_rerank.proxy.search.dialects.dialect import read_dialects
from es_rerank.proxy.search.request import SearchRequest, read_request

QUERY: dict[str, Any] = {
    "bool": {"must": [{"match": {"title.en": {"query": "red shoes"}}}], "boost": 2}
}


def read(ext: Any, parameters: bytes = b"", **more: Any) -> SearchRequest:
    raw = json.dumps({"query": QUERY, "ext": ext, **more}).encode()
    kind = [(b"content-type", b"application/json")]
    request = read_request("POST", b"/_search", parameters, kind, raw, 10_000)
    return read_dialects(request, ["opensearch"])


def context(**keys: Any) -> dict[str, Any]:
    return {"rerank": {"query_context": keys}}


def test_the_words_are_given() -> None:
    request = read(context(query_text="where is it"))
    assert request.block == {"query_text": "where is it"}
    assert request.edited
    assert "ext" not in request.body


@pytest.mark.parametrize(
    "path", [r"query.bool.must.0.match.title\.en.query", "size_text", "query_text.a"]
)
def test_or_where_they_are(path: str) -> None:
    more: dict[str, Any] = {"size_text": "red shoes", "query_text": {"a": "red shoes"}}
    assert read(context(query_text_path=path), **more).block == {"query_text": "red shoes"}


def test_diversity() -> None:
    mmr = {"diversity": 0.6, "candidates": 50, "explain": True, "vector_field_path": "v"}
    mmr |= {"vector_field_data_type": "float", "vector_field_space_type": "l2"}
    block = read({"mmr": mmr, "ubi": {"query_id": "7"}}).block
    assert block == {"diversity": 0.6, "rank_window_size": 50, "explain": True}
    assert read({"mmr": {}}).block == {"diversity": 0.5}
    assert read({"mmr": {"candidates": 0}}).block == {"diversity": 0.5}


def test_both_beside_ours_and_beside_others() -> None:
    ext = {**context(query_text="x"), "mmr": {"diversity": 1}, "ubi": {"a": 1.0}}
    request = read({**ext, "es_rerank": {"query_text": "mine"}})
    assert request.block == {"query_text": "mine", "diversity": 1}
    assert bytes(request.body["ext"]) == b'{"ubi":{"a": 1.0}}'


@pytest.mark.parametrize(
    ("ext", "more", "query"),
    [
        ({"ubi": {}}, {}, b""),
        (context(query_text="x"), {"search_pipeline": "p"}, b""),
        (context(query_text="x"), {}, b"search_pipeline=p"),
        ({"mmr": {}}, {"query": {"knn": {"v": {"vector": [1], "k": 3}}}}, b""),
        ({"mmr": {}}, {"query": {"hybrid": {"queries": []}}}, b""),
    ],
)
def test_what_is_left_to_the_engine(ext: Any, more: Any, query: bytes) -> None:
    request = read(ext, query, **more)
    assert not request.edited
    assert json.loads(bytes(request.body["ext"])) == ext


def test_told_so_a_search_with_a_pipeline_is_ours_too() -> None:
    ext = {**context(query_text="x"), "es_rerank": {"enabled": True}}
    request = read(ext, b"search_pipeline=p")
    assert request.block == {"query_text": "x", "enabled": True}


@pytest.mark.parametrize(
    ("ext", "kind", "reason"),
    [
        ({"mmr": {"lambda": 1}}, "x_content_parse_exception", "query extension does not support"),
        ({"mmr": {"diversity": 1.5}}, "illegal_argument_exception", "between 0 and 1"),
        ({"mmr": {"diversity": "1"}}, "illegal_argument_exception", "must be a number"),
        ({"mmr": {"candidates": -1}}, "illegal_argument_exception", "whole number from 0"),
        ({"mmr": {"explain": 1}}, "illegal_argument_exception", "true or false"),
        ({"mmr": []}, "parsing_exception", "must be an object"),
        ({"rerank": {"foo": 1}}, "x_content_parse_exception", r"unknown field \[foo\]"),
        (context(), "illegal_argument_exception", "exactly one"),
        (context(query_text="a", query_text_path="b"), "illegal_argument_exception", "exactly"),
        (context(query_text_path="query.none"), "illegal_argument_exception", "point to a string"),
        (context(query_text_path="query.bool.must.7"), "illegal_argument_exception", "point to"),
        (context(query_text_path="q" * 1001), "illegal_argument_exception", "at most 1000"),
        (context(query_text=7), "illegal_argument_exception", "must be a string"),
    ],
)
def test_what_the_engine_would_refuse(ext: Any, kind: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        read(ext)
    assert caught.value.kind == kind
