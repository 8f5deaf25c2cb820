"""The int8 code of a unit vector, as it is stored in and read from `es_rerank.code`."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LARGEST = 127.0


def encode_codes(vectors: NDArray[np.float32]) -> list[str]:
    """Code unit vectors, (n, d) float, as base64 of d int8 values each: round(127 · v / max |v|).

    The largest component takes the largest code, so that all 255 levels are used; a vector's length
    is lost, and a row of zeros stays one.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled = np.divide(vectors * LARGEST, largest, out=np.zeros_like(vectors), where=largest > 0)
    codes = np.rint(scaled).astype(np.int8)
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in codes]


def find_dimensions(codes: Sequence[str | None]) -> int:
    """The length that most codes have, in int8 values; 0 where there is no code."""
    lengths = Counter(len(code) * 3 // 4 - code.count("=") for code in codes if code)
    return lengths.most_common(1)[0][0] if lengths else 0


def decode_codes(
    codes: Sequence[str | None], dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read codes back. Returns unit vectors (n, d) float32, and (n,) bool: which rows were there.

    A code that is missing, broken or of another length leaves a row of zeros.
    """
    rows, found = [], []
    for row, code in enumerate(codes):
        if code is None:
            continue
        try:
            raw = binascii.a2b_base64(code, strict_mode=True)
        except ValueError:
            continue
        if len(raw) == dimensions:
            rows.append(row)
            found.append(raw)
    vectors = np.zeros((len(codes), dimensions), dtype=np.float32)
    present = np.zeros(len(codes), dtype=np.bool_)
    vectors[rows] = np.frombuffer(b"".join(found), dtype=np.int8).reshape(len(rows), dimensions)
    present[rows] = True
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    present &= lengths[:, 0] > 0
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors, present
