"""What a model can do in the time there is, as its calls have shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.scoring.pace import (
    CALL_S,
    LEAST_TOKENS,
    MOST_TOKENS,
    Pace,
    count_tokens,
)


def test_nothing_is_known_at_first() -> None:
    pace = Pace()
    assert (pace.tokens_per_s, pace.estimate_s(1000)) == (0.0, 0.0)
    assert pace.room(0.001) == pace.call_tokens() == LEAST_TOKENS


def test_the_latest_calls_count_most() -> None:
    pace = Pace()
    for _ in range(20):
        pace.learn(1000, 1.0)
    assert pace.tokens_per_s == pytest.approx(1000)
    for _ in range(20):
        pace.learn(1000, 0.1)
    assert 8000 < pace.tokens_per_s < 10_000


@given(st.floats(1, 1e7), st.floats(1e-4, 100))
def test_a_call_is_bounded_by_its_length_and_by_the_time_left(speed: float, left_s: float) -> None:
    pace = Pace()
    pace.learn(round(speed * 1000), 1000.0)
    room = pace.room(left_s)
    assert room <= min(max(speed * CALL_S * 1.01, LEAST_TOKENS), MOST_TOKENS)
    assert pace.estimate_s(room) <= left_s


def test_tokens_are_counted_by_bytes() -> None:
    assert count_tokens("abcd", ["", "x" * 396, "x" * 10_000, "鞋" * 4], 512) == [4, 103, 512, 7]
