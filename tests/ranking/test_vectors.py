from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from es_rerank.ranking.vectors import decode_codes, encode_codes, find_dimensions

ROWS = arrays(np.float32, (2, 48), elements=st.floats(-1, 1, width=32)).filter(
    lambda rows: bool((np.linalg.norm(rows, axis=1) > 1e-3).all())
)


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@given(ROWS)
def test_the_code_keeps_the_cosine(rows: np.ndarray) -> None:
    """Rounding moves a component by at most m / 254, m the largest; the vector by √d times that.

    A vector moved by e and scaled back to length 1 has a cosine of at least √(1 - e²) with itself,
    and its cosine with another moved alike differs by at most twice its new distance, 2 · 2e.
    """
    vectors = unit(rows)
    read, present = decode_codes(encode_codes(vectors), 48)
    assert present.all()
    assert np.allclose(np.linalg.norm(read, axis=1), 1, atol=1e-6)
    error = np.sqrt(48) * np.abs(vectors).max() / 254
    assert ((vectors * read).sum(axis=1) >= np.sqrt(max(1 - error**2, 0)) - 1e-6).all()
    assert abs(vectors[0] @ vectors[1] - read[0] @ read[1]) <= 4 * error


def test_at_384_dimensions_the_cosine_is_off_by_less_than_four_thousandths() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(200, 384)))
    read, _ = decode_codes(encode_codes(vectors), 384)
    assert np.abs(vectors @ vectors.T - read @ read.T).max() < 0.004


@given(st.lists(st.integers(-127, 127), min_size=3, max_size=3))
def test_codes_are_int8_in_base64_and_the_largest_is_127(rest: list[int]) -> None:
    code = [127, *rest]
    row = unit(np.array([code], dtype=np.float32))
    raw = base64.b64decode(encode_codes(row)[0])
    assert np.frombuffer(raw, dtype=np.int8).tolist() == code
    read, present = decode_codes([base64.b64encode(raw).decode()], 4)
    assert present.tolist() == [True]
    assert np.allclose(read, row)


def test_a_row_of_zeros_stays_one() -> None:
    read, present = decode_codes(encode_codes(np.zeros((1, 4), dtype=np.float32)), 4)
    assert not read.any()
    assert not present.any()


def test_what_is_no_code_leaves_zeros() -> None:
    good = encode_codes(np.array([[0.6, 0.8]], dtype=np.float32))[0]
    codes = [None, good, "", "%%%", "naïve", base64.b64encode(b"123").decode(), "AAA=", "fw%A="]
    vectors, present = decode_codes(codes, 2)
    assert present.tolist() == [False, True, False, False, False, False, False, False]
    assert not vectors[~present].any()
    assert vectors.dtype == np.float32


def test_no_codes() -> None:
    vectors, present = decode_codes([], 384)
    assert vectors.shape == (0, 384)
    assert present.shape == (0,)
    assert encode_codes(vectors) == []


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 384])
def test_codes_tell_their_own_length(d: int) -> None:
    codes = encode_codes(np.ones((3, d), dtype=np.float32))
    assert find_dimensions([None, *codes, encode_codes(np.ones((1, d + 1), np.float32))[0]]) == d
    assert find_dimensions([None, ""]) == 0
