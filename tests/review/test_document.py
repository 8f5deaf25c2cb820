"""A decision changes one text and its provenance, and no other byte of a document."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.document import splice
from es_rerank.review.asking import ReviewError
from es_rerank.review.decide import choose_text, tidy_text
from es_rerank.review.document import Got, read_items, split_own, write_decided
from es_rerank.review.log import make_key

ORIGIN: dict[str, Any] = {
    "recipe": "r",
    "source_hash": "h",
    "time": "2026-01-01T00:00:00+00:00",
    "version": "1",
    "fields": [],
    "model": "m",
    "outcome": "flagged",
    "reasons": ["number: 300 g is not in the source"],
    "review": "waiting",
    "draft": "A shoe of 300 g.",
}


def got(source: bytes, own: dict[str, Any]) -> Got:
    raw = splice(source, orjson.dumps(own))
    return Got("i", "1", 7, None, msgspec.Raw(raw))


def own(**more: Any) -> dict[str, Any]:
    provenance = {"vector": {"recipe": "v"}, "text-advert": ORIGIN}
    return {"vector": [0.1, 0.25], "text": {"tags": ["a"]}, "provenance": provenance, **more}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just('"es_rerank":{'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
SOURCES = st.dictionaries(
    st.text(max_size=6).filter(lambda name: not name.startswith("es_rerank")), JSON, max_size=4
)


@given(SOURCES, st.integers(0, 1), st.none() | st.text(min_size=1, max_size=9))
def test_all_other_bytes_stay(source: dict[str, Any], indent: int, text: str | None) -> None:
    body = json.dumps(source, indent=indent or None, ensure_ascii=False).encode("utf-8", "ignore")
    before = got(body, own())
    assert split_own(bytes(before.source))[0] == splice(body, b"{}").replace(
        b',"es_rerank":{}', b""
    ).replace(b'{"es_rerank":{}', b"{")
    after = write_decided(before, "text-advert", text, None, {"review": "edited", "by": "me"})
    assert after.startswith(split_own(bytes(before.source))[0][:-1])
    found = json.loads(after)["es_rerank"]
    assert found["vector"] == [0.1, 0.25]
    assert b'"vector":[0.1,0.25]' in after
    assert found["text"] == {"tags": ["a"], **({} if text is None else {"advert": text})}
    origin = found["provenance"]["text-advert"]
    assert origin["fields"] == ([] if text is None else ["text.advert"])
    assert (origin["review"], origin["by"], origin.get("draft")) == ("edited", "me", None)
    assert origin["source_hash"] == "h"
    assert found["provenance"]["vector"] == {"recipe": "v"}


def test_what_something_else_wrote_is_found_too() -> None:
    raw = b'{ "es_rerank" : {"provenance":{}} , "price": 1.10 }'
    body, members = split_own(raw)
    assert body == b'{"price":1.10}'
    assert json.loads(members) == {"provenance": {}}


def test_the_summary_stands_where_it_always_did() -> None:
    provenance = {"summary": {**ORIGIN, "draft": "S"}}
    before = got(b'{"a":1}', {"provenance": provenance})
    (item,) = read_items(before)
    assert (item.form, item.state, item.text, item.is_shown) == ("summary", "waiting", "S", False)
    after = write_decided(before, "summary", "S", None, {"review": "approved"})
    assert json.loads(after)["es_rerank"]["summary"] == "S"
    (item,) = read_items(Got("i", "1", 7, None, msgspec.Raw(after)))
    assert (item.state, item.text, item.is_shown) == ("approved", "S", True)
    again = write_decided(
        Got("i", "1", 7, None, msgspec.Raw(after)), "summary", None, "S", {"review": "rejected"}
    )
    assert "summary" not in json.loads(again)["es_rerank"]
    assert json.loads(again)["es_rerank"]["provenance"]["summary"]["draft"] == "S"


def test_what_was_looked_at_is_told_from_what_is_there() -> None:
    (item,) = read_items(got(b"{}", own()))
    changed = {**ORIGIN, "draft": "Another."}
    (other,) = read_items(got(b"{}", own(provenance={"text-advert": changed})))
    assert item.seen != other.seen
    assert item.seen == read_items(got(b'{"a":2}', own()))[0].seen
    assert item.source == {}


def test_which_text_is_shown() -> None:
    (item,) = read_items(got(b"{}", own()))
    assert choose_text(item, "approved", None) == "A shoe of 300 g."
    assert choose_text(item, "rejected", "x") is None
    assert choose_text(item, "edited", " A shoe\n of 250 g.\u200b ") == "A shoe of 250 g."
    with pytest.raises(ReviewError, match="is empty"):
        choose_text(item, "edited", " \n\u200b")
    blocked = {k: v for k, v in ORIGIN.items() if k not in {"draft", "review"}}
    (gone,) = read_items(
        got(b"{}", own(provenance={"text-advert": {**blocked, "outcome": "blocked"}}))
    )
    with pytest.raises(ReviewError, match="is not kept"):
        choose_text(gone, "approved", None)
    assert choose_text(gone, "edited", "New.") == "New."
    assert tidy_text("a\n\n b ", as_list=True) == ["a", "b"]
    with pytest.raises(ReviewError, match="at most 5000"):
        tidy_text("x" * 5001, as_list=False)


@given(
    st.lists(st.text(max_size=4), min_size=3, max_size=3),
    st.lists(st.text(max_size=4), min_size=3, max_size=3),
)
def test_keys_tell_texts_apart(one: list[str], two: list[str]) -> None:
    if not any("\0" in part for part in (*one, *two)):
        keys = [make_key(a, d, None, s) for a, d, s in (one, two)]
        assert (keys[0] == keys[1]) == (one == two)
