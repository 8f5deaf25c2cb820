from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.ranking.crowding import Cap, crowd

Values = list[str | None]
CAPS = st.lists(
    st.builds(
        Cap,
        st.sampled_from(["brand", "type", "?"]),
        st.integers(1, 4),
        st.integers(1, 12),
        st.sampled_from(["demote", "drop"]),
    ),
    max_size=3,
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], dict[str, Values]]:
    n = draw(st.integers(0, 20))
    values = st.lists(st.none() | st.sampled_from("abc"), min_size=n, max_size=n)
    order = draw(st.permutations(range(n)))
    return order, {"brand": draw(values), "type": draw(values)}


def breaks(placed: list[int], i: int, attributes: dict[str, Values], caps: list[Cap]) -> bool:
    """Whether `i` at the next place breaks a cap."""
    for cap in caps:
        values = attributes.get(cap.field)
        if values is None or values[i] is None:
            continue
        window = [*placed, i][-cap.per :]
        if sum(values[j] == values[i] for j in window) > cap.max_count:
            return True
    return False


@given(windows(), CAPS)
def test_the_first_that_keeps_the_caps_comes_next(
    window: tuple[list[int], dict[str, Values]], caps: list[Cap]
) -> None:
    """A permutation; a cap breaks only where nothing left keeps them; the order is kept else."""
    order, attributes = window
    found, dropped = crowd(np.array(order, dtype=np.int64), attributes, caps)
    result = found.tolist()
    assert sorted(result) == sorted(order)
    hard = [cap for cap in caps if cap.mode == "drop"]
    waiting = list(order)
    for k, i in enumerate(result[: len(result) - dropped]):
        keeping = [j for j in waiting if not breaks(result[:k], j, attributes, caps)]
        enough = [j for j in waiting if not breaks(result[:k], j, attributes, hard)]
        assert i == (keeping or enough)[0]
        waiting.remove(i)
    kept = result[: len(result) - dropped]
    assert all(breaks(kept, i, attributes, hard) for i in waiting)  # none was dropped for nothing
    assert waiting == result[len(kept) :]
    for k, i in enumerate(kept):
        assert not breaks(kept[:k], i, attributes, hard)


@given(windows())
def test_without_caps_the_order_stays(window: tuple[list[int], dict[str, Values]]) -> None:
    order, attributes = window
    for caps in ([], [Cap("unknown", 1)]):
        found, dropped = crowd(np.array(order, dtype=np.int64), attributes, caps)
        assert (found.tolist(), dropped) == (order, 0)


def test_two_of_a_brand_in_four() -> None:
    brands: Values = ["a", "a", "a", "a", "b", None, "b", "c"]
    order, _ = crowd(np.arange(8), {"brand": brands}, [Cap("brand", 2, per=4)])
    assert [brands[i] for i in order] == ["a", "a", "b", None, "a", "a", "b", "c"]


def test_what_would_break_a_cap_at_the_end_is_dropped() -> None:
    brands: Values = ["a", "a", "a", "b", "a", "c"]
    order, dropped = crowd(np.arange(6), {"brand": brands}, [Cap("brand", 1, 2, "drop")])
    assert ([brands[i] for i in order[:-dropped]], dropped) == (["a", "b", "a", "c", "a"], 1)
    order, dropped = crowd(np.arange(6), {"brand": brands}, [Cap("brand", 1, 10, "drop")])
    assert (order.tolist(), dropped) == ([0, 3, 5, 1, 2, 4], 3)


def test_a_missing_value_is_never_capped() -> None:
    for mode in ("demote", "drop"):
        cap = Cap("brand", 1, mode=mode)
        order, dropped = crowd(np.arange(5), {"brand": [None] * 5}, [cap])
        assert (order.tolist(), dropped) == ([0, 1, 2, 3, 4], 0)


@pytest.mark.parametrize("types", [["t"] * 1000, [str(i) for i in range(1000)]])
def test_a_large_window_of_one_brand_is_quick(types: Values) -> None:
    """A request chooses the caps; it must not be able to occupy the model's thread."""
    attributes: dict[str, Values] = {"brand": ["a"] * 1000, "type": types}
    started = time.thread_time()
    crowd(np.arange(1000), attributes, [Cap("brand", 2, per=1000), Cap("type", 1, per=1000)])
    assert time.thread_time() - started < 1.0
