"""How varied a ranking is in the values of one attribute, and how fair it is to who sells.

Ours, in the style of ir-measures: each judges the first k of one ranking, but for exposure, which
adds up over all queries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Value = Hashable | None
"""The value of an attribute; None where a document has none."""


def coverage(values: Sequence[Value], available: Iterable[Value], k: int = 10) -> float:
    """How many different values the first k show, as a share of how many could be shown there.

    available: the values of all candidates, shown or not. Subtopic recall (Zhai, Cohen and
    Lafferty, SIGIR 2003), held to the k places there are. nan where no candidate has a value.
    """
    possible = {value for value in available if value is not None}
    shown = {value for value in values[:k] if value is not None}
    most = min(len(possible | shown), k)
    return len(shown) / most if most else math.nan


def entropy(values: Sequence[Value], k: int = 10) -> float:
    """Shannon entropy of the values in the first k, bits: 0 for one value, log2 k for k of them.

    Documents without a value do not count; nan where none has one.
    """
    counts = Counter(value for value in values[:k] if value is not None)
    whole = sum(counts.values())
    if not whole:
        return math.nan
    return max(-math.fsum(n / whole * math.log2(n / whole) for n in counts.values()), 0.0)


def overlap(ranking: Sequence[str], other: Sequence[str], k: int = 10) -> float:
    """How much of the first k two rankings share, 0 to 1; nan where both are empty."""
    ours, theirs = set(ranking[:k]), set(other[:k])
    longest = max(len(ours), len(theirs))
    return len(ours & theirs) / longest if longest else math.nan


def exposure(
    rankings: Mapping[str, Sequence[Value]], owners: Sequence[Hashable], k: int = 10
) -> NDArray[np.float64]:
    """How much each owner is seen in the first k of each query, (queries, owners).

    rankings: query -> the owner at each place. A place is seen by 1 / log2(rank + 1) (Singh and
    Joachims, Fairness of Exposure in Rankings, KDD 2018).
    """
    column = {owner: i for i, owner in enumerate(owners)}
    seen = np.zeros((len(rankings), len(owners)))
    for row, places in enumerate(rankings.values()):
        for rank, owner in enumerate(places[:k], start=1):
            if owner is not None:
                seen[row, column[owner]] += 1 / math.log2(rank + 1)
    return seen


def gini(exposures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gini coefficient of the last axis: 0 where all have the same, (n - 1) / n where one has
    all. (..., n) not negative -> (...), nan where nobody has anything."""
    ordered = np.sort(exposures, axis=-1)
    count = ordered.shape[-1]
    weights = 2 * np.arange(1, count + 1) - count - 1
    total = ordered.sum(axis=-1)
    spread = (ordered * weights).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.maximum(spread, 0.0) / (count * total), np.nan)
