from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.models.remote.refusal import (
    find_limit,
    hide,
    read_fault,
    read_message,
    read_retry_after,
)
from es_rerank.models.remote.shapes import SHAPES, Api, ShapeError, find_api

TEXTS = ["red shoe", "hat"]


@pytest.mark.parametrize(
    ("api", "model", "body"),
    [
        ("tei", "m", {"query": "red", "texts": TEXTS, "truncate": True, "raw_scores": True}),
        (
            "infinity",
            "",
            {"query": "red", "documents": TEXTS, "raw_scores": True, "return_documents": False},
        ),
        ("cohere", "m", {"model": "m", "query": "red", "documents": TEXTS, "top_n": 2}),
        (
            "jina",
            "m",
            {
                "model": "m",
                "query": "red",
                "documents": TEXTS,
                "top_n": 2,
                "return_documents": False,
            },
        ),
        (
            "voyage",
            "m",
            {"model": "m", "query": "red", "documents": TEXTS, "top_k": 2, "truncation": True},
        ),
    ],
)
def test_requests(api: Api, model: str, body: dict[str, Any]) -> None:
    assert json.loads(SHAPES[api].write("red", TEXTS, model)) == body


@pytest.mark.parametrize(
    ("api", "answer"),
    [
        ("tei", '[{"index": 1, "score": 0.5}, {"index": 0, "score": -3}]'),
        ("infinity", '{"results": [{"index": 1, "relevance_score": 0.5, "document": null}, %s]}'),
        ("infinity", '{"data": [{"index": 1, "relevance_score": 0.5}, %s], "object": "rerank"}'),
        ("cohere", '{"id": "x", "results": [{"index": 1, "relevance_score": 0.5}, %s]}'),
        ("jina", '{"usage": {}, "results": [{"index": 1, "relevance_score": 0.5}, %s]}'),
        ("voyage", '{"object": "list", "data": [{"relevance_score": 0.5, "index": 1}, %s]}'),
    ],
)
def test_answers(api: Api, answer: str) -> None:
    other = '{"index": 0, "relevance_score": -3}'
    data = answer.replace("%s", other).encode()
    assert SHAPES[api].read(data, 2).tolist() == [-3.0, 0.5]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20),
    st.sampled_from(list(SHAPES)),
    st.randoms(),
)
def test_scores_come_back_in_the_order_of_the_texts(
    scores: list[float], api: Api, shuffle: Any
) -> None:
    key = "score" if api == "tei" else "relevance_score"
    items = [{"index": i, key: score} for i, score in enumerate(scores)]
    shuffle.shuffle(items)
    answer = items if api == "tei" else {"data" if api == "voyage" else "results": items}
    assert SHAPES[api].read(json.dumps(answer).encode(), len(scores)).tolist() == scores


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>", "did not answer in the tei shape"),
        (b"\xff\xfe\x00", "did not answer in the tei shape"),
        (b'{"results": []}', "did not answer in the tei shape"),
        (b'[{"index": 0}, {"index": 1}]', "did not answer in the tei shape"),
        (b'[{"index": 0, "score": null}]', "did not answer in the tei shape"),
        (b'[{"index": 7, "score": 1.0}]', "it scored a text 7 of 2"),
        (b'[{"index": -1, "score": 1.0}]', "it scored a text -1 of 2"),
        (b'[{"index": 0.5, "score": 1.0}]', "did not answer in the tei shape"),
        (b'[{"index": Infinity, "score": 1}]', "it scored a text inf of 2"),
        (b"[1, 2]", "did not answer in the tei shape"),
        (b"5", "did not answer in the tei shape"),
        (b"[]", "left texts unscored"),
        (b'[{"index": 0, "score": 1.0}, {"index": 0, "score": 2.0}]', "left texts unscored"),
        (b'[{"index": 0, "score": 1}, {"index": 1, "score": NaN}]', "left texts unscored"),
        (b'[{"index": 0, "score": 1}, {"index": 1, "score": 1e999}]', "left texts unscored"),
    ],
)
def test_wrong_answers(content: bytes, told: str) -> None:
    with pytest.raises(ShapeError, match=told):
        SHAPES["tei"].read(content, 2)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"5", b'{"results": 5}', b'{"data": [[]]}'])
def test_wrong_answers_of_other_shapes(content: bytes) -> None:
    with pytest.raises(ShapeError, match="did not answer in the jina shape"):
        SHAPES["jina"].read(content, 2)


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://api.cohere.com/v2/rerank", "cohere"),
        ("https://api.cohere.com", "cohere"),
        ("https://api.cohere.ai/v1/rerank", "jina"),
        ("https://api.jina.ai/v1/rerank", "jina"),
        ("https://api.voyageai.com/v1/rerank", "voyage"),
        ("https://ai.mongodb.com/v1/rerank", "voyage"),
        ("http://gpu:8000/v2/rerank", "cohere"),
        ("http://gpu:8000/v1/rerank", "jina"),
        ("http://gpu:8000/rerank", None),
        ("http://gpu:8000", None),
        ("http://notcohere.com:8000/rerank", None),
    ],
)
def test_an_address_tells_the_shape(url: str, api: Api | None) -> None:
    assert find_api(urlsplit(url)) == api


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("batch size 64 > maximum allowed batch size 32", 32),
        ("List should have at most 2048 items after validation, not 3000", 2048),
        ("The number of documents cannot exceed 1,000", 1000),
        ("The number of documents exceeds the maximum of 512", 512),
        ("too many documents", None),
        ("maximum allowed batch size 0", None),
    ],
)
def test_a_limit_is_read_from_the_message(said: str, most: int | None) -> None:
    assert find_limit(said) == most


def test_messages_of_all_kinds() -> None:
    assert read_message({"error": {"message": "no", "code": 1}}) == "no"
    assert read_message({"error": "no", "error_type": "Validation"}) == "no"
    assert read_message(
        {"detail": [{"loc": ["body", "query"], "msg": "no", "input": "secret"}]}
    ) == ("body.query: no")
    assert read_message({"message": "no"}) == "no"
    assert read_message({"other": 1}) == ""
    assert read_fault(b"<html>no</html>") == ""
    assert read_fault(b"length limit\nexceeded\x00") == "length limit exceeded"
    assert hide("max 2", ["red", "2"]) == "max 2"
    assert hide("no " + "red shoe " * 5, ["hat", "Red shoe red  shoe red hat"]) == ""


@given(st.text(min_size=1), st.text(), st.text())
def test_a_message_never_repeats_what_was_asked(query: str, before: str, after: str) -> None:
    said = hide(read_fault(json.dumps({"error": f"{before} {query} {after}"}).encode()), [query])
    if query.split():
        assert said == "" or " ".join(query.lower().split()) not in said.lower()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("-1", 0.0), ("999999", 60.0), ("soon", None), ("nan", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert read_retry_after(value) == seconds
    assert read_retry_after(None) is None
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    far = read_retry_after("Fri, 31 Dec 2066 23:59:59 GMT")
    assert far is not None
    assert math.isclose(far, 60.0)
