"""Judgments as people have them: which document is how good for which query.

`read_judgments` reads TREC qrels, CSV, Quepid's exports and LTR files, and says by their content
which is which. Every DataError names the line and how to mend it; what is merely odd is in `notes`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from es_rerank.errors import DataError

Format = Literal["auto", "trec", "csv", "ltr", "quepid"]
SHOWN = 3
"""Examples of what is odd."""
QUERY_COLUMNS = ("query", "query_text", "user_query", "querytext", "q", "keywords", "search_term")
DOCUMENT_COLUMNS = (
    *("docid", "doc_id", "document", "document_id", "doc", "product_id", "productid"),
    *("object_id", "item_id", "sku", "asin", "ean", "id", "_id"),
)
RATING_COLUMNS = (
    *("rating", "grade", "gain", "judgment", "judgement", "relevance", "label", "rel", "score"),
)
UNDERSTOOD = (
    "These are understood: TREC qrels (`query 0 document rating` a line), CSV with the columns "
    "query, docid, rating, LTR (`rating qid:1 # document query`), and Quepid's JSON of ratings, "
    "cases, books and RRE"
)
LTR_LINE = re.compile(r"(\S+)\s+qid:(\S+)\s.*?#\s*(\S+)(?:\s+(.*\S))?\s*$")


@dataclass(frozen=True)
class Judgments:
    """ratings: query id -> document id -> rating. queries: query id -> text, where it is known.

    subtopics: query id -> document id -> the intents it serves, where those are judged. weights:
    query id -> document id -> how sure its rating is, 0 to 1, where that is told. notes: what was
    odd, in sentences.
    """

    ratings: Mapping[str, Mapping[str, float]]
    queries: Mapping[str, str] = field(default_factory=dict)
    subtopics: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Table:
    """Ratings as they come in; knows what was odd."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.ratings: dict[str, dict[str, float]] = {}
        self.queries: dict[str, str] = {}
        self.subtopics: dict[str, dict[str, list[str]]] = {}
        self.weights: dict[str, dict[str, float]] = {}
        self._repeated: list[str] = []
        self._negative: list[str] = []
        self._blank: list[str] = []

    def add(self, query: str, document: str, said: Any, place: str, *, text: str = "") -> None:
        """Take one rating. Raises DataError for no number, and for a second, different rating."""
        rating = self.number(said, place)
        if rating < 0:
            self._negative.append(place)
            rating = 0.0
        if text:
            self.queries.setdefault(query, text)
        known = self.ratings.setdefault(query, {})
        if document in known:
            self._repeated.append(place)
        if known.setdefault(document, rating) != rating:
            raise DataError(
                f"{place} of {self.source} rates document {document!r} of query {query!r} a "
                "second time and differently: keep one of them."
            )

    def leave(self, place: str) -> None:
        """Note a line that names a document without rating it."""
        self._blank.append(place)

    def finish(self) -> Judgments:
        """What was read. Raises DataError where that is nothing."""
        if not any(self.ratings.values()):
            raise DataError(f"{self.source} holds no rating. {UNDERSTOOD}.")
        odd = (
            (self._repeated, "repeat a rating that was there already"),
            (self._negative, "hold a negative rating, which counts as 0"),
            (self._blank, "have no rating, and were left out"),
        )
        notes = [
            f"{len(places)} entries of {self.source} {what} ({_examples(places)})."
            for places, what in odd
            if places
        ]
        empty = [query for query, rated in self.ratings.items() if not any(rated.values())]
        if empty:
            notes.append(
                f"{len(empty)} of {len(self.ratings)} queries have no rating above 0, and count in "
                f"no measure of relevance ({_examples(list(map(repr, empty)))})."
            )
        return Judgments(self.ratings, self.queries, self.subtopics, tuple(notes), self.weights)

    def number(self, said: Any, place: str) -> float:
        """A rating as a number. Raises DataError."""
        try:
            rating = float(said)
        except (TypeError, ValueError):
            rating = math.nan
        if not math.isfinite(rating):
            raise DataError(f"{place} of {self.source} has the rating {said!r}: write a number.")
        return rating


def read_judgments(path: Path, kind: Format = "auto") -> Judgments:
    """Read a file of judgments, gzipped where its name ends in .gz. Raises DataError."""
    text = read_text(path)
    if kind == "auto":
        kind = recognise(text, path)
    return READERS[kind](text, str(path))


def recognise(text: str, path: Path) -> Format:
    """Say by the content which format it is. Raises DataError where none fits."""
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return "quepid"
    line = next((line for line in text.splitlines() if line.strip()), "")
    if LTR_LINE.match(line):
        return "ltr"
    if len(line.split()) == 4 and _is_number(line.split()[3]):
        return "trec"
    columns = {name.strip().lower() for name in re.split(r"[,;\t]", line)}
    if columns & set(QUERY_COLUMNS) and columns & set(RATING_COLUMNS):
        return "csv"
    raise DataError(
        f"{path} is of no known form: it begins with {line[:80]!r}. {UNDERSTOOD}; "
        f"--format ({', '.join(get_args(Format)[1:])}) names one where that is in doubt."
    )


def read_trec(text: str, source: str) -> Judgments:
    """TREC qrels: `query iteration document rating`.

    Where the second column holds more than one value for a query it names the intent, as in TREC's
    diversity tasks: a document's rating is then its best, and it serves the intents rated above 0.
    """
    rows: list[tuple[str, str, str, str, str]] = []
    seen: dict[str, set[str]] = {}
    for place, line in _lines(text):
        parts = line.split()
        if len(parts) != 4:
            raise DataError(
                f"{place} of {source} has {len(parts)} columns, not TREC's four "
                "`query 0 document rating`."
            )
        rows.append((place, *parts))  # type: ignore[arg-type]
        seen.setdefault(parts[0], set()).add(parts[1])
    table = Table(source)
    if all(len(names) == 1 for names in seen.values()):
        for place, query, _, document, rating in rows:
            table.add(query, document, rating, place)
        return table.finish()
    best: dict[tuple[str, str], float] = {}
    for place, query, intent, document, said in rows:
        found = table.number(said, place)
        if found > 0:
            table.subtopics.setdefault(query, {}).setdefault(document, []).append(intent)
        best[query, document] = max(best.get((query, document), 0.0), found)
    for (query, document), most in best.items():
        table.add(query, document, most, "a line")
    return table.finish()


def read_csv(text: str, source: str) -> Judgments:
    """CSV with a header: columns for the query, the document and the rating, others as they like.

    Quepid's basic export is of this form, with a line of the query alone where nothing is rated.
    """
    head = text.lstrip().splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text.lstrip()), delimiter=delimiter)
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}

    def column(known: Sequence[str], what: str) -> str:
        for name in known:
            if name in names:
                return names[name]
        raise DataError(
            f"{source} has no column for the {what}: its header is {head[:120]!r}; call one "
            f"{known[0]!r}."
        )

    query_column = column(QUERY_COLUMNS, "query")
    document_column = column(DOCUMENT_COLUMNS, "document")
    rating_column = column(RATING_COLUMNS, "rating")
    weight_column = names.get("weight")
    table = Table(source)
    try:
        for row in reader:
            place = f"Line {reader.line_num}"
            # Quepid puts a blank before texts that a spreadsheet would take for a formula.
            query = (row[query_column] or "").strip()
            document, rating = (row[document_column] or "").strip(), row[rating_column]
            if not query:
                raise DataError(f"{place} of {source} names no query.")
            if document and rating and rating.strip():
                table.add(query, document, rating, place, text=query)
                if weight_column is not None and (weight := row[weight_column]):
                    sure = table.weights.setdefault(query, {})
                    sure[document] = table.number(weight, place)
            else:
                table.queries.setdefault(query, query)
                table.leave(place)
    except csv.Error as error:
        raise DataError(f"Line {reader.line_num} of {source} is no CSV: {error}.") from error
    return table.finish()


def read_ltr(text: str, source: str) -> Judgments:
    """`rating qid:N [features] # document [query]`, which LTR tools and Quepid write."""
    table = Table(source)
    for place, line in _lines(text):
        found = LTR_LINE.match(line)
        if found is None:
            raise DataError(f"{place} of {source} is not `rating qid:1 # document query`.")
        rating, query, document, words = found.groups()
        table.add(query, document, rating, place, text=words or "")
    return table.finish()


def read_quepid(text: str, source: str) -> Judgments:
    """Quepid's JSON: ratings and cases (`queries`), RRE (`relevant_documents`), and books
    (`query_doc_pairs`), whose several judgements of a document are averaged."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{source} is no JSON: {error}.") from error
    table = Table(source)
    if isinstance(found, dict) and isinstance(found.get("query_doc_pairs"), list):
        for place, entry in _entries(found["query_doc_pairs"], source):
            _add_pair(table, entry, place)
    elif isinstance(found, dict) and isinstance(found.get("queries"), list):
        for place, entry in _entries(found["queries"], source):
            _add_query(table, entry, place)
    else:
        raise DataError(
            f"{source} is JSON without `queries` or `query_doc_pairs`, so none of Quepid's exports."
            " Clicks (UBI) are read with --clicks."
        )
    return table.finish()


READERS: Mapping[str, Callable[[str, str], Judgments]] = {
    "trec": read_trec,
    "csv": read_csv,
    "ltr": read_ltr,
    "quepid": read_quepid,
}


def read_text(path: Path) -> str:
    """A file's text, gzipped where its name ends in .gz. Raises DataError."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
                return file.read()
        return path.read_text(encoding="utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _add_pair(table: Table, entry: Mapping[str, Any], place: str) -> None:
    query, document = entry.get("query_text"), entry.get("doc_id")
    if not isinstance(query, str) or document is None:
        raise DataError(f"{place} of {table.source} lacks `query_text` or `doc_id`.")
    given = [
        table.number(judgement["rating"], place)
        for judgement in entry.get("judgements") or ()
        if isinstance(judgement, dict)
        and judgement.get("rating") is not None
        and not judgement.get("unrateable")
        and not judgement.get("judge_later")
    ]
    if given:
        table.add(query, str(document), math.fsum(given) / len(given), place, text=query)
    else:
        table.leave(place)


def _add_query(table: Table, entry: Mapping[str, Any], place: str) -> None:
    placeholders = entry.get("placeholders")
    query = entry.get("query") or entry.get("query_text")
    if query is None and isinstance(placeholders, dict):
        query = placeholders.get("$query")
    if not isinstance(query, str):
        raise DataError(f"{place} of {table.source} has no `query`.")
    table.queries.setdefault(query, query)
    ratings = entry.get("ratings") or {}
    if isinstance(ratings, list):  # of older versions
        ratings = {rating.get("doc_id"): rating.get("rating") for rating in ratings}
    by_rating = entry.get("relevant_documents") or {}
    if not isinstance(ratings, dict) or not isinstance(by_rating, dict):
        raise DataError(f"{place} of {table.source} has ratings that are no object.")
    for document, rating in ratings.items():
        if rating is None:
            table.leave(place)
        else:
            table.add(query, str(document), rating, place, text=query)
    for rating, documents in by_rating.items():
        for document in documents:
            table.add(query, str(document), rating, place, text=query)


def _entries(entries: Sequence[Any], source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError(f"Entry {number} of {source} is no object.")
        yield f"Entry {number}", entry


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"Line {number}", line


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _examples(places: Sequence[str]) -> str:
    return ", ".join(places[:SHOWN]) + (", …" if len(places) > SHOWN else "")
