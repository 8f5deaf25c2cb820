"""Judgments on their way out: CSV or TREC qrels, which `eval` and `train reranker` take."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from es_rerank.errors import DataError

TREC_ENDS = (".qrels", ".trec")
COLUMNS = ("query", "docid", "rating")


def write_judgments(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write rows of query, docid, rating and whatever else they have; returns the files.

    A name that ends in .qrels or .trec gets TREC's form, beside it a file NAME.queries with the
    words of each query's id. Others are CSV. Raises DataError.
    """
    if path.suffix in TREC_ENDS:
        return write_trec(path, rows)
    names = [*COLUMNS, *(name for name in (rows[0] if rows else ()) if name not in COLUMNS)]
    write_whole(path, format_csv(names, rows))
    return [path]


def write_trec(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[Path]:
    """`id 0 document rating` a line; ids are q1, q2 …"""
    ids: dict[str, str] = {}
    lines = []
    for row in rows:
        query, document = str(row["query"]), str(row["docid"])
        if len(document.split()) != 1:
            raise DataError(
                f"TREC's form splits at blanks, and document {document!r} has none or some: write "
                "CSV, to a file named *.csv"
            )
        name = ids.setdefault(query, f"q{len(ids) + 1}")
        lines.append(f"{name} 0 {document} {row['rating']:g}\n")
    words = path.with_name(f"{path.name}.queries")
    write_whole(path, "".join(lines))
    write_whole(words, "".join(f"{name}\t{query}\n" for query, name in ids.items()))
    return [path, words]


def format_csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one, never part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}.") from error
