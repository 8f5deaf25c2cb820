"""The sheet that people fill in: a CSV of suggested pairs with an empty column `rating`.

What is read back is checked line by line, and all that is wrong is told at once. Nothing is lost:
judgments made before stay, a sheet with ratings in it is never written over.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from es_rerank.datasets.judgments import read_judgments, read_text
from es_rerank.errors import DataError
from es_rerank.training.judgments import COLUMNS, format_csv, write_whole
from es_rerank.training.suggest.choice import Suggestion

RATINGS = frozenset({"0", "1", "2", "3"})
UNSURE = "?"
MOST_TOLD = 10
HOW = "0 (wrong), 1 (poor), 2 (good), 3 (perfect), ? for no opinion, or nothing"


@dataclass(frozen=True)
class Line:
    """One judged pair of a sheet. row: everything the sheet says of it, by column."""

    query: str
    document: str
    rating: int
    row: dict[str, str]


@dataclass(frozen=True)
class Sheet:
    """A sheet that came back: what was rated, how many lines were left open and given a `?`."""

    rated: tuple[Line, ...]
    open: int
    unsure: int


def write_sheet(path: Path, suggestions: Sequence[Suggestion]) -> None:
    """Write a sheet to be filled in. Raises DataError where the file has ratings already."""
    if path.is_file() and _has_ratings(path):
        raise DataError(
            f"{path} holds ratings, which would be lost: read them first (--read {path}), or "
            "name another file with --out"
        )
    judges = list(dict.fromkeys(name for each in suggestions for name in each.ranks))
    names = [*COLUMNS, "title", "reason", "place", *(f"place by {judge}" for judge in judges)]
    rows = [
        {
            "query": each.query,
            "docid": each.document,
            "title": each.title,
            "reason": each.reason,
            "place": each.place,
            **{f"place by {judge}": rank for judge, rank in each.ranks.items()},
        }
        for each in suggestions
    ]
    write_whole(path, format_csv(names, rows))


def read_sheet(path: Path) -> Sheet:
    """Read a sheet, as spreadsheets save it too. Raises DataError, which names every bad line."""
    text = read_text(path)
    head = text.lstrip().partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text.lstrip(), newline=""), delimiter=max(",;\t", key=head.count)
    )
    wrong: list[str] = []
    rated: dict[tuple[str, str], Line] = {}
    places: dict[tuple[str, str], int] = {}
    empty = unsure = 0
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in COLUMNS if name not in names]:
            raise DataError(
                f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: its "
                f"first line must be the one that `train suggest` wrote, not {head[:80]!r}"
            )
        for cells in reader:
            number = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            row = dict(zip(names, (cell.strip() for cell in cells), strict=False))
            said = row.get("rating", "")
            if len(cells) > len(names):
                wrong.append(
                    f"line {number} has {len(cells)} cells and the header {len(names)}: put a text "
                    "that holds the separator between quotes"
                )
                continue
            if not row.get("query") or not row.get("docid"):
                wrong.append(f"line {number} has lost its query or docid")
                continue
            if not said:
                empty += 1
                continue
            if said == UNSURE:
                unsure += 1
                continue
            rating = _read_rating(said)
            if rating is None:
                wrong.append(f"line {number} has the rating {said!r}: write {HOW}")
                continue
            pair = row["query"], row["docid"]
            if pair in rated and rated[pair].rating != rating:
                wrong.append(
                    f"line {number} rates {pair[1]!r} for {pair[0]!r} {rating}, and line "
                    f"{places[pair]} rates it {rated[pair].rating}: keep one"
                )
                continue
            rated.setdefault(pair, Line(*pair, rating, row))
            places.setdefault(pair, number)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} of {path} is no CSV: {error}") from error
    if wrong:
        more = f"; and {len(wrong) - MOST_TOLD} lines more" if len(wrong) > MOST_TOLD else ""
        raise DataError(f"{path}: {'; '.join(wrong[:MOST_TOLD])}{more}. Nothing was taken over.")
    return Sheet(tuple(rated.values()), empty, unsure)


def merge_sheet(sheet: Sheet, into: Path) -> tuple[int, int]:
    """Add what was rated to a CSV of judgments; returns how many are new, and how many there are.

    The columns and lines that are there stay as they are. Raises DataError where a pair was rated
    differently before; nothing is written then.
    """
    names, rows = _read_rows(into) if into.is_file() else ([*COLUMNS], [])
    before = read_judgments(into).ratings if rows else {}
    wrong, new = [], []
    for line in sheet.rated:
        known = before.get(line.query, {}).get(line.document)
        if known is None:
            new.append({"query": line.query, "docid": line.document, "rating": str(line.rating)})
        elif known != line.rating:
            wrong.append(
                f"{line.document!r} for {line.query!r} was rated {known:g} before and now "
                f"{line.rating}"
            )
    if wrong:
        more = f"; and {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
        raise DataError(
            f"{into}: {'; '.join(wrong[:MOST_TOLD])}{more}. Change one of both. Nothing was taken "
            "over."
        )
    if new:
        write_whole(into, format_csv(names, [*rows, *new]))
    return len(new), len(rows) + len(new)


def _read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    text = read_text(path)
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    rows = list(reader)
    names = list(reader.fieldnames or ())
    if not set(COLUMNS) <= set(names):
        raise DataError(
            f"{path} is no CSV with the columns {', '.join(COLUMNS)}, which judgments are added to"
        )
    return names, rows


def _read_rating(said: str) -> int | None:
    """A whole rating, as spreadsheets write it too (`2.0`, `2,0`)."""
    short = said.replace(",", ".").removesuffix(".0")
    return int(short) if short in RATINGS else None


def _has_ratings(path: Path) -> bool:
    """Whether anybody has written into the column `rating`; an unreadable file may hold some."""
    try:
        _, rows = _read_rows(path)
    except DataError:
        return True
    return any((row.get("rating") or "").strip() for row in rows)
