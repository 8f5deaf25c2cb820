"""Which words are mended, and to what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.search.expand.spelling import find_words, read_corrections
from es_rerank.proxy.search.handler import mark


def test_only_words_of_letters_that_are_long_enough() -> None:
    assert find_words("Blutooth speeker, 18v BLUTOOTH tv usb-c Кросовки") == [
        "blutooth",
        "speeker",
        "кросовки",
    ]
    assert len(find_words(" ".join("abcdefghijklmno"[i] * 5 for i in range(15)))) == 10


def told(**counts: int) -> dict[str, Any]:
    return {"known": {"buckets": {word: {"doc_count": n} for word, n in counts.items()}}}


def options(offset: int, length: int, *found: tuple[str, float, int]) -> dict[str, Any]:
    listed = [{"text": text, "score": score, "freq": freq} for text, score, freq in found]
    return {"text": "", "offset": offset, "length": length, "options": listed}


def answer(aggregations: Any, suggest: Any) -> dict[str, msgspec.Raw]:
    parts = {"aggregations": aggregations, "suggest": suggest}
    return {name: msgspec.Raw(msgspec.json.encode(part)) for name, part in parts.items()}


def test_the_most_alike_suggestion_of_any_field_is_taken_for_unknown_words() -> None:
    words = ["runing", "shoes", "zzzz"]
    suggest = {
        "title": [
            options(0, 6, ("racing", 0.66, 90), ("running", 0.83, 8)),
            options(7, 5, ("shoe", 0.75, 3)),
            options(13, 4),
        ],
        "description": [options(0, 6, ("ruling", 0.83, 2))],
    }
    found = read_corrections(answer(told(runing=0, shoes=82, zzzz=0), suggest), words)
    assert found == {"runing": "running"}


def test_an_answer_without_the_parts_is_told_apart() -> None:
    with pytest.raises(KeyError):
        read_corrections({}, ["runing"])


@given(st.text(min_size=1))
def test_no_words_can_break_the_header(words: str) -> None:
    """Whatever is in them: what is shown is letters, digits, `_.-~` and percent signs."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return
    value = mark("applied", "", (), ["spelling"], (), words)
    shown = value.removeprefix(b"applied; expanded=spelling; corrected=")
    assert shown != value
    assert all(chr(byte).isalnum() or chr(byte) in "_.-~%" for byte in shown)
    assert shown.isascii()
