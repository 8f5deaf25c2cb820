"""Queries to ask: a line each, or with ids as TREC topics, CSV, JSON lines and UBI have them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from es_rerank.datasets.judgments import QUERY_COLUMNS, read_text
from es_rerank.errors import DataError

ID_COLUMNS = ("query_id", "qid", "id")
JSON_KEYS = ("query", "user_query", "text", "query_text")


def read_queries(path: Path) -> dict[str, str]:
    """Query id -> text, in the file's order; where the file has no ids, the text is the id.

    Understood: a query a line; `id TAB text`; CSV whose header names a query column; JSON lines of
    `query` (or `user_query`, `text`) with or without `id`. Raises DataError.
    """
    text = read_text(path)
    start = text.lstrip()
    if start.startswith("{"):
        return _read_json_lines(text, path)
    lines = [line.strip("\r") for line in text.split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{path} holds no query: write one a line.")
    columns = [name.strip().strip('"').lower() for name in re.split(r"[,;\t]", lines[0])]
    if len(columns) > 1 and set(columns) & set(QUERY_COLUMNS) and not _is_id(columns[0]):
        return _read_csv(text, path)
    if all(line.count("\t") == 1 for line in lines):
        return _take((line.split("\t")[0].strip(), line.split("\t")[1].strip()) for line in lines)
    return _take(("", line.strip()) for line in lines)


def _is_id(column: str) -> bool:
    """Whether a first cell is an id itself rather than a heading."""
    return column not in {*QUERY_COLUMNS, *ID_COLUMNS, "docid", "doc_id", "rating"}


def _read_csv(text: str, path: Path) -> dict[str, str]:
    head = text.lstrip().splitlines()[0]
    reader = csv.DictReader(io.StringIO(text.lstrip()), delimiter=max(",;\t", key=head.count))
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    column = next(names[name] for name in QUERY_COLUMNS if name in names)
    id_column = next((names[name] for name in ID_COLUMNS[:2] if name in names), None)
    try:
        return _take(
            ((row[id_column] or "") if id_column else "", (row[column] or "").strip())
            for row in reader
        )
    except csv.Error as error:
        raise DataError(f"Line {reader.line_num} of {path} is no CSV: {error}.") from error


def _read_json_lines(text: str, path: Path) -> dict[str, str]:
    pairs = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"Line {number} of {path} is no JSON: {error}.") from error
        words = _words(row)
        if words is None:
            raise DataError(
                f"Line {number} of {path} has no text under {', '.join(JSON_KEYS)}: name one."
            )
        # In UBI an id is one search, and the same words come again and again.
        pairs.append(("" if "user_query" in row else str(row.get("id", "")), words))
    return _take(pairs)


def _words(row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return None
    return next((row[key] for key in JSON_KEYS if isinstance(row.get(key), str)), None)


def _take(pairs: Any) -> dict[str, str]:
    queries: dict[str, str] = {}
    for name, words in pairs:
        if words:
            queries.setdefault(name or words, words)
    return queries
