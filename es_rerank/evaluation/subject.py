"""What is asked and by what it is judged: queries with their words, and ratings where there are."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from es_rerank.datasets.judgments import Judgments
from es_rerank.errors import DataError

SEED = 20
SHOWN = 3


@dataclass(frozen=True)
class Subject:
    """queries: id -> words. judgments: of these queries alone; None where there are none."""

    queries: Mapping[str, str]
    judgments: Judgments | None = None
    notes: tuple[str, ...] = ()


def join_subject(
    judgments: Judgments | None, queries: Mapping[str, str], limit: int | None = None
) -> Subject:
    """Bring ratings and words together by the query's id.

    queries: id -> words, of a file of their own; empty where there is none. limit: at most so many
    queries, drawn at random. Raises DataError where nothing is left to be asked.
    """
    if judgments is None:
        return Subject(draw(queries, limit))
    words = {**judgments.queries, **queries}
    # A file of words without ids knows a query by its words.
    known = {query: words[query] for query in judgments.ratings if query in words}
    without = [query for query in judgments.ratings if query not in words]
    if not known:
        mend = (
            f"the file of queries has {examples(list(queries))}: its ids must be those of the "
            "judgments"
            if queries
            else "name a file of `id TAB words` lines with --queries"
        )
        raise DataError(f"The judged queries ({examples(without)}) have no words: {mend}.")
    notes = list(judgments.notes)
    if without:
        notes.append(
            f"{len(without)} judged queries have no words and were left out ({examples(without)})."
        )
    unjudged = [query for query in queries if query not in judgments.ratings]
    if unjudged:
        notes.append(
            f"{len(unjudged)} queries have no judgments and were left out ({examples(unjudged)})."
        )
    asked = draw(known, limit)
    kept = {query: judgments.ratings[query] for query in asked}
    return Subject(asked, replace(judgments, ratings=kept), tuple(notes))


def draw(queries: Mapping[str, str], limit: int | None) -> dict[str, str]:
    """At most so many queries, always the same, in their order."""
    if limit is None or len(queries) <= limit:
        return dict(queries)
    chosen = set(random.Random(SEED).sample(sorted(queries), limit))
    return {query: words for query, words in queries.items() if query in chosen}


def examples(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(map(repr, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
