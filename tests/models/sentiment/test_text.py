"""A review's text is anybody's: HTML, control characters, any length, no text at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.models.sentiment.text import MAX_CHARS, clean_review, encoded_part


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Good<br/>shoe", "Good\nshoe"),
        ("<p>Good &amp; <b>cheap</b></p>", "Good & cheap"),
        ("a\x00b\u200bc\u202e", "abc"),
        ("a \t b\r\n\r\n c", "a b\nc"),
        ("half \ud83d emoji", "half emoji"),
        ("3 < 4 and 5 > 4", "3 < 4 and 5 > 4"),
        (None, ""),
        (3.5, ""),
        (["a"], ""),
        ({"a": 1}, ""),
        ("  ", ""),
    ],
)
def test_what_is_left_of_it(value: Any, text: str) -> None:
    assert clean_review(value) == text


def test_of_a_long_one_both_ends_are_kept() -> None:
    text = clean_review("begin " + "x" * 5_000_000 + " end")
    assert len(text) == MAX_CHARS
    assert text.startswith("begin")
    assert text.endswith(" end")
    assert len(encoded_part(text)) <= 600
    assert "\n" not in encoded_part(text)


@pytest.mark.parametrize("hostile", ["<" * 50_000, "<a" * 50_000, "<!--" * 50_000, "&" * 50_000])
def test_a_hostile_one_takes_no_time(hostile: str) -> None:
    assert len(clean_review(hostile)) <= MAX_CHARS


@given(st.text(max_size=400))
def test_a_clean_text_stays_as_it_is(text: str) -> None:
    clean = clean_review(text)
    assert len(clean) <= MAX_CHARS
    clean.encode("utf-8")
    if "<" not in clean and "&" not in clean:
        assert clean_review(clean) == clean
