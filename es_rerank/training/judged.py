"""Groups out of judgments of one's own: people's, or those that clicks became.

Queries are parted, not pairs: what is held out shares no query with training, however its words
are ordered or bent. Weak queries that say the same as a held-out one are taken out as well.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from es_rerank.datasets.judgments import read_judgments
from es_rerank.datasets.queries import read_queries
from es_rerank.errors import DataError
from es_rerank.models.embedder import Embedder
from es_rerank.ranking.lexical import read_words
from es_rerank.training.catalogue import Product
from es_rerank.training.grading import PERFECT
from es_rerank.training.groups import Group
from es_rerank.training.recipe import Judged

KIND = "judged"
WORDS_END = ".queries"
FILLED = 4
"""One in so many of a group is a random product that nobody judged, taken for wrong."""


@dataclass(frozen=True)
class Ratings:
    """Grades 0 to 3: query -> document -> grade, parted by query."""

    train: Mapping[str, Mapping[str, float]]
    held: Mapping[str, Mapping[str, float]]


def load_ratings(judged: Judged, seed: int) -> Ratings:
    """Read the files; the highest rating of a file counts as 3. Raises DataError.

    A file NAME of TREC qrels has the words of its queries' ids in NAME.queries.
    """
    merged: dict[str, dict[str, float]] = {}
    for name in judged.files:
        path = Path(name)
        found = read_judgments(path)
        words = path.with_name(f"{path.name}{WORDS_END}")
        texts = read_queries(words) if words.is_file() else found.queries
        highest = max((r for rated in found.ratings.values() for r in rated.values()), default=0.0)
        if highest <= 0:
            raise DataError(f"{path} rates nothing above 0: there is nothing to learn from it.")
        for query, rated in found.ratings.items():
            text = texts.get(query)
            if text is None:
                raise DataError(
                    f"{path} does not say the words of query {query!r}: put them into {words}, "
                    "`id TAB words` a line"
                )
            weights = found.weights.get(query, {})
            for document, rating in rated.items():
                if weights.get(document, 1.0) >= judged.least_weight:
                    merged.setdefault(text, {}).setdefault(document, rating * PERFECT / highest)
    keys = sorted({make_key(query) for query in merged})
    held = choose_held(keys, judged.held_out, seed)
    return Ratings(
        {query: rated for query, rated in merged.items() if make_key(query) not in held},
        {query: rated for query, rated in merged.items() if make_key(query) in held},
    )


def choose_held(keys: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """The share of keys with the lowest hashes, at least one: another file moves few of them."""
    order = sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    return frozenset(order[: max(1, round(len(order) * share))]) if len(order) > 1 else frozenset()


def make_key(query: str) -> str:
    """What queries have in common that say the same: their words, folded, in no order."""
    return " ".join(sorted(set(read_words(query)))) or query


def leave_out(groups: Sequence[Group], queries: Mapping[str, object]) -> list[Group]:
    """The groups whose query says nothing that one of the queries says: weak ones may."""
    keys = {make_key(query) for query in queries}
    return [group for group in groups if make_key(group.query) not in keys]


def check_judged(judged: Judged, learnt: int, tested: int) -> None:
    """Raise DataError where the judgments give nothing to learn from, or to test by."""
    files = ", ".join(judged.files)
    if not learnt:
        raise DataError(
            f"{files}: no query has a good and a worse product that the catalogue knows. Judgments "
            "must name products by their `id` there"
        )
    if not tested and judged.alone:
        raise DataError(
            f"{files}: too few queries to hold some back for validation; judge more, or mix them "
            "with weak labels"
        )


def make_judged(
    ratings: Mapping[str, Mapping[str, float]],
    products: Sequence[Product],
    vectors: NDArray[np.float32],
    embedder: Embedder,
    size: int,
    chance: random.Random | None,
) -> list[Group]:
    """Groups of at most `size` products for each query that has a good and a worse one.

    vectors: (n, d) of the products. chance: for training, where groups are filled up with products
    that nobody judged; None for validation, where a query is one group of all that was judged.
    """
    rows = {product.id: row for row, product in enumerate(products)}
    queries = [query for query, rated in ratings.items() if any(d in rows for d in rated)]
    if not queries:
        return []
    groups = []
    for query, vector in zip(queries, embedder.encode(queries), strict=True):
        known = {rows[d]: grade for d, grade in ratings[query].items() if d in rows}
        for part in _part(known, size, len(products), chance):
            at = np.array(list(part), dtype=np.int32)
            grades = np.array(list(part.values()), dtype=np.float32)
            if grades.max() > grades.min():
                cosines = (vectors[at] @ vector).astype(np.float32)
                groups.append(Group(query, KIND, at, grades, cosines, ()))
    return groups


def _part(
    known: Mapping[int, float], size: int, total: int, chance: random.Random | None
) -> list[dict[int, float]]:
    """A query's rows in groups, good ones spread over them, each filled with random ones."""
    if chance is None:
        return [dict(known)]
    filled = max(1, size // FILLED)
    room = max(2, size - filled)
    count = -(-len(known) // room)
    order = sorted(known, key=lambda row: (-known[row], chance.random()))
    parts: list[dict[int, float]] = []
    for i in range(count):
        part = {row: known[row] for row in order[i::count]}
        for row in (chance.randrange(total) for _ in range(filled)):
            if row not in known:
                part[row] = 0.0
        parts.append(part)
    return parts
