"""Weak labels: queries with texts and how good each is, a JSON object a line.

    {"query": "red shoe", "texts": ["Red running shoe ...", "Blue hat ..."], "gains": [3, 0]}

gains: one for each text, 0 or more, the higher the better. Further keys are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import DataError


@dataclass(frozen=True)
class LabelledList:
    """A query's texts with their gains, (n,)."""

    query: str
    texts: tuple[str, ...]
    gains: NDArray[np.float64]

    @property
    def tells(self) -> bool:
        """Whether some texts are better than others."""
        return len(self.gains) > 1 and float(np.ptp(self.gains)) > 0


def read_labels(path: Path) -> list[LabelledList]:
    """The lists of a file that tell something. Raises DataError, naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the labels in {path} cannot be read: {error}") from None
    found = [
        read_line(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()
    ]
    telling = [each for each in found if each.tells]
    if not telling:
        raise DataError(f"{path} has no list in which one text is better than another")
    return telling


def read_line(line: str, where: str) -> LabelledList:
    """Raises DataError."""
    try:
        row = json.loads(line)
        query, texts = row["query"], row["texts"]
        gains = np.asarray(row["gains"], np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{where} is no {{"query": TEXT, "texts": [TEXT, ...], "gains": [NUMBER, ...]}}: '
            f"{type(error).__name__} {error}"
        ) from None
    strings = isinstance(query, str) and isinstance(texts, list)
    if not strings or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: query is a text, and texts a list of texts")
    if gains.shape != (len(texts),) or not np.isfinite(gains).all() or (gains < 0).any():
        raise DataError(f"{where}: {len(texts)} texts want {len(texts)} gains, each 0 or more")
    return LabelledList(query, tuple(texts), gains)


def split(
    lists: Sequence[LabelledList],
) -> tuple[list[LabelledList], list[LabelledList]]:
    """Those that choices are made by, and those that are held out to judge by: every second."""
    if len(lists) == 1:
        return list(lists), list(lists)
    return list(lists[::2]), list(lists[1::2])
