"""Click logs: what was shown at which place for which query, and what of it was clicked.

Three forms are read. UBI events, with or without `ubi_queries`; flat events, an action a row, with
columns for action, query, session, document and place; and shows, a shown document a row, with
columns query, docid, rank, clicked, session. CSV or JSON lines, gzipped or not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.datasets.judgments import DOCUMENT_COLUMNS, QUERY_COLUMNS, read_text
from es_rerank.datasets.ubi import CLICKS, VIEWS, find_shown, read_rows
from es_rerank.errors import DataError

DEEPEST = 50
SEARCH_COLUMNS = ("query_id", "qid", "search_id", "search")
SESSION_COLUMNS = ("session", "session_id", "sid", "s")
RANK_COLUMNS = ("rank", "position", "pos", "ordinal", "place")
CLICKED_COLUMNS = ("clicked", "click", "clicks", "c")
ACTION_COLUMNS = ("action", "action_name", "event", "a")
YES, NO = frozenset({"1", "true", "yes", "1.0"}), frozenset({"0", "false", "no", "", "0.0"})
FORMS = (
    "A log is UBI events, or rows with the columns query, docid, rank, clicked (0 or 1) and "
    "session, or rows with action, query, docid, rank and session"
)
UNSEEN = (
    "nothing says what else was shown, and so what was seen and not clicked: name the searches "
    "(`ubi_queries`) with --searches, or log an event `impression` for each product shown; "
    "--any-event takes every event about a product for proof that it was shown"
)

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ClickLog:
    """Shown documents, n of them.

    search: (n,) which search, query and document: (n,) numbers into `queries` and `documents`,
    rank: (n,) from 1, clicked: (n,) bool. sessions: whether it is known which shows belong to one
    search. notes: what was odd.
    """

    search: Ids
    query: Ids
    document: Ids
    rank: Ids
    clicked: NDArray[np.bool_]
    queries: Sequence[str]
    documents: Sequence[str]
    sessions: bool = True
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.search)


class Collector:
    """Shows as they come in. A document counts once for a search: at the place where it was first
    seen, and as clicked if it ever was."""

    def __init__(self) -> None:
        self.searches: dict[Any, int] = {}
        self.queries: dict[str, int] = {}
        self.documents: dict[str, int] = {}
        self.rows: dict[tuple[int, int], list[int]] = {}
        self.viewed: set[int] = set()

    def add(
        self, search: Any, query: str, document: str, rank: int, clicked: bool, *, view: bool = True
    ) -> None:
        """Take a show; view: whether it tells of more than the click itself."""
        at = self.searches.setdefault(search, len(self.searches))
        item = self.documents.setdefault(document, len(self.documents))
        row = self.rows.get((at, item))
        if row is None:
            asked = self.queries.setdefault(query, len(self.queries))
            self.rows[at, item] = [asked, rank, int(clicked)]
        else:
            row[2] |= clicked
        if view:
            self.viewed.add(at)

    def finish(self, source: str, deepest: int, sessions: bool = True) -> ClickLog:
        """What was read. Raises DataError where nothing can be learnt from it."""
        rows = np.array(
            [(at, item, *row) for (at, item), row in self.rows.items() if at in self.viewed],
            dtype=np.int64,
        ).reshape(-1, 5)
        notes = []
        blind = len(self.searches) - len(self.viewed)
        if not len(rows):
            raise DataError(
                f"{source} holds {len(self.rows)} clicks, but {UNSEEN}."
                if self.rows
                else f"{source} shows no document for a query at a place. {FORMS}."
            )
        if blind:
            notes.append(f"{blind} searches were left out: of them only clicks are known.")
        if rows[:, 3].min() <= 0:
            rows[:, 3] += 1 - rows[:, 3].min()
        deep = rows[:, 3] > deepest
        if deep.any():
            notes.append(f"{int(deep.sum())} shows below place {deepest} were left out.")
            rows = rows[~deep]
        if not rows[:, 4].any():
            raise DataError(f"{source} holds no click on a document that its search showed.")
        return ClickLog(
            rows[:, 0],
            rows[:, 2],
            rows[:, 1],
            rows[:, 3],
            rows[:, 4].astype(bool),
            list(self.queries),
            list(self.documents),
            sessions,
            tuple(notes),
        )


def read_log(
    path: Path, searches: Path | None = None, any_event: bool = False, deepest: int = DEEPEST
) -> ClickLog:
    """Read a log. Raises DataError, which names the line.

    searches: UBI's `ubi_queries`, which say what was shown. any_event: take every event about a
    document for proof that it was shown. deepest: places below are left out.
    """
    rows = read_csv_rows(path) if is_csv(path) else read_rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty. {FORMS}.")
    rows = chain([first], rows)
    collector = Collector()
    if "event_attributes" in first or "action_name" in first:
        take_ubi(collector, rows, () if searches is None else read_rows(searches))
    elif searches is not None:
        raise DataError(f"{path} has no UBI events, so --searches has nothing to belong to.")
    elif find_column(first, CLICKED_COLUMNS) is not None:
        known = take_shows(collector, rows, path, first)
        return collector.finish(str(path), deepest, known)
    else:
        take_events(collector, rows, path, first, any_event)
    return collector.finish(str(path), deepest)


def take_ubi(
    collector: Collector, events: Iterable[Mapping[str, Any]], queries: Iterable[Mapping[str, Any]]
) -> None:
    """UBI events: what was shown is in the queries, or in events that tell of a view."""
    found = find_shown(events, queries)
    for name, shown in found.searches.items():
        clicked = found.clicked.get(name, ())
        for document, place in shown.documents.items():
            collector.add(name, shown.query, document, place, document in clicked)


def take_events(
    collector: Collector,
    rows: Iterable[Mapping[str, Any]],
    path: Path,
    first: Mapping[str, Any],
    any_event: bool,
) -> None:
    """Flat events. A search is its id where there is one, else session and query."""
    action = need_column(first, ACTION_COLUMNS, "action", path)
    query = need_column(first, QUERY_COLUMNS, "query", path)
    rank = need_column(first, RANK_COLUMNS, "rank", path)
    document = need_column(first, (*DOCUMENT_COLUMNS, "asin"), "docid", path)
    search = find_column(first, SEARCH_COLUMNS)
    session = find_column(first, SESSION_COLUMNS)
    for row in rows:
        words, item, place = row.get(query), row.get(document), read_rank(row.get(rank))
        if not words or not item or place is None:
            continue
        name = row.get(search) if search else None
        what = str(row.get(action) or "").lower()
        clicked, seen = what in CLICKS, what in VIEWS or any_event
        if clicked or seen:
            key = name or (row.get(session) if session else None, words)
            collector.add(key, str(words).strip(), str(item), place, clicked, view=seen)


def take_shows(
    collector: Collector, rows: Iterable[Mapping[str, Any]], path: Path, first: Mapping[str, Any]
) -> bool:
    """A shown document a row. Returns whether rows of one search are known to belong together."""
    clicked = need_column(first, CLICKED_COLUMNS, "clicked", path)
    query = need_column(first, QUERY_COLUMNS, "query", path)
    rank = need_column(first, RANK_COLUMNS, "rank", path)
    document = need_column(first, DOCUMENT_COLUMNS, "docid", path)
    search = find_column(first, SEARCH_COLUMNS)
    session = find_column(first, SESSION_COLUMNS)
    for number, row in enumerate(rows, start=1):
        words, item, place = row.get(query), row.get(document), read_rank(row.get(rank))
        said = str(row.get(clicked) or "").strip().lower()
        if not words or not item or place is None or said not in YES | NO:
            raise DataError(
                f"Row {number} of {path} needs a query, a docid, a rank that is a whole number and "
                f"clicked as 0 or 1; it has {words!r}, {item!r}, {row.get(rank)!r}, "
                f"{row.get(clicked)!r}."
            )
        name = row.get(search) if search else None
        key = name or ((row.get(session), words) if session else number)
        collector.add(key, str(words).strip(), str(item), place, said in YES)
    return bool(search or session)


def find_column(row: Mapping[str, Any], known: Sequence[str]) -> str | None:
    """The row's key that is one of the known names."""
    return next((name for name in known if name in row), None)


def need_column(row: Mapping[str, Any], known: Sequence[str], what: str, path: Path) -> str:
    """The same. Raises DataError where there is none."""
    found = find_column(row, known)
    if found is None:
        raise DataError(
            f"{path} has no column {what!r}: it has {', '.join(map(str, row))[:200]}. {FORMS}."
        )
    return found


def read_rank(said: Any) -> int | None:
    """A place as a whole number; None where it is none."""
    try:
        number = float(said)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def is_csv(path: Path) -> bool:
    """By the name, with or without .gz."""
    return path.name.removesuffix(".gz").endswith((".csv", ".tsv"))


def read_csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows by lower-case column name; comma, semicolon or tab. Raises DataError."""
    text = read_text(path)
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        for row in reader:
            if row:
                yield dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise DataError(f"Line {reader.line_num} of {path} is no CSV: {error}.") from error
