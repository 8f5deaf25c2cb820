"""Judgments out of clicks, from User Behavior Insights (UBI, schema 1.3): `ubi_queries` says what
was shown, `ubi_events` what was clicked.

The estimate is clicks over expected clicks (COEC; Zhang and Jones, Comparing Click Logs and
Editorial Labels for Training Query Rewriting, WWW 2007): a product's clicks, divided by those that
its places would bring an average product. It takes the worst of the position bias away, and no
more: what was never shown has no clicks, so the order that was shown is favoured, and looks, price
and habit count as relevance.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from es_rerank.datasets.judgments import Judgments
from es_rerank.errors import DataError

CLICKS = frozenset({"click", "item_click", "product_click", "add_to_cart", "purchase"})
VIEWS = frozenset({"impression", "view", "item_view", "product_impression"})
LEAST_VIEWS = 5
"""Times a product must have been shown for a query before its clicks say anything."""
STEPS = (0.0, 0.75, 1.5)
"""Clicks over expected ones above which the grade is 1, 2 and 3."""
CAVEAT = (
    "Grades were made of clicks over expected clicks: 0 without a click, 1 below .75, 2 below 1.5, "
    "3 from there. They favour the order that was shown, since what nobody saw nobody clicked; "
    "read them as a hint, and let people rate the queries that matter."
)


@dataclass(frozen=True)
class Shown:
    """One search: its words, and the places at which it showed which document."""

    query: str
    documents: Mapping[str, int]


@dataclass(frozen=True)
class Log:
    """Searches by their id, and the documents clicked by the search's id. strangers: how many of
    the latter nothing is known of."""

    searches: Mapping[str, Shown]
    clicked: Mapping[str, set[str]]
    strangers: int


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines, or of one JSON list; `_source` around a row is taken off.

    Raises DataError naming the line.
    """
    try:
        with _open(path) as file:
            first = file.read(1)
            file.seek(0)
            if first == "[":
                yield from (_row(row, path, i) for i, row in enumerate(json.load(file), 1))
                return
            for number, line in enumerate(file, start=1):
                if line.strip() and not line.startswith('{"index"'):  # of a bulk file
                    yield _row(json.loads(line), path, number)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is neither JSON lines nor a JSON list: {error}.") from error


def judge_clicks(
    events: Iterable[Mapping[str, Any]],
    queries: Iterable[Mapping[str, Any]] = (),
    least_views: int = LEAST_VIEWS,
) -> Judgments:
    """Grades 0 to 3 of (query, document) from what was shown and clicked.

    queries: rows of `ubi_queries`; without them, or for a search that is not among them, what was
    shown is taken from events that tell of a view. A pair shown fewer than `least_views` times has
    no grade. Raises DataError where nothing can be judged.
    """
    log = find_shown(events, queries)
    return _grade(log.searches, log.clicked, least_views, log.strangers)


def find_shown(
    events: Iterable[Mapping[str, Any]], queries: Iterable[Mapping[str, Any]] = ()
) -> Log:
    """Join events with the searches they belong to; `queries` as for `judge_clicks`.

    Raises DataError where no search is known.
    """
    searches = _read_searches(queries)
    seen: dict[str, dict[str, int]] = defaultdict(dict)
    clicked: dict[str, set[str]] = defaultdict(set)
    words: dict[str, str] = {}
    count = 0
    for row in events:
        count += 1
        search, found = str(row.get("query_id", "")), _read_object(row)
        if search not in searches and isinstance(row.get("user_query"), str):
            words.setdefault(search, row["user_query"].strip())
        if found is None:
            continue
        document, place = found
        action = str(row.get("action_name", "")).lower()
        if action in CLICKS:
            clicked[search].add(document)
        elif action in VIEWS and place is not None:
            seen[search].setdefault(document, place)
    for search, text in words.items():
        if seen[search] and text:
            searches[search] = Shown(text, seen[search])
    if not searches:
        raise DataError(
            f"{count} events, but nothing says what was searched for and shown: name the searches "
            "(`ubi_queries`, with user_query and query_response_hit_ids) as well."
        )
    return Log(searches, clicked, sum(search not in searches for search in clicked))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _grade(
    searches: Mapping[str, Shown],
    clicked: Mapping[str, set[str]],
    least_views: int,
    strangers: int,
) -> Judgments:
    views: Counter[int] = Counter()
    clicks: Counter[int] = Counter()
    for search, shown in searches.items():
        for document, place in shown.documents.items():
            views[place] += 1
            clicks[place] += document in clicked.get(search, ())
    if not clicks.total():
        raise DataError(
            "No click is on a document that its search showed: object_id of the events and "
            "query_response_hit_ids must be the same field of the documents."
        )
    expected: dict[tuple[str, str], float] = defaultdict(float)
    had: Counter[tuple[str, str]] = Counter()
    times: Counter[tuple[str, str]] = Counter()
    for search, shown in searches.items():
        for document, place in shown.documents.items():
            pair = shown.query, document
            times[pair] += 1
            expected[pair] += clicks[place] / views[place]
            had[pair] += document in clicked.get(search, ())
    ratings: dict[str, dict[str, float]] = {}
    for (query, document), count in times.items():
        if count >= least_views and expected[query, document] > 0:
            rate = had[query, document] / expected[query, document]
            ratings.setdefault(query, {})[document] = float(sum(rate > step for step in STEPS))
    if not ratings:
        raise DataError(
            f"No document was shown {least_views} times for one query: there are too few searches "
            f"({len(searches)}) to judge by clicks. --least-views takes fewer."
        )
    notes = [
        f"{sum(map(len, ratings.values()))} of {len(times)} pairs of query and document were shown "
        f"{least_views} times or more.",
        CAVEAT,
    ]
    if strangers:
        notes.append(f"Clicks of {strangers} searches were left out: nothing says what they show.")
    return Judgments(ratings, {query: query for query in ratings}, notes=tuple(notes))


def _read_searches(rows: Iterable[Mapping[str, Any]]) -> dict[str, Shown]:
    searches = {}
    for row in rows:
        text, ids = row.get("user_query"), row.get("query_response_hit_ids")
        if isinstance(text, str) and text.strip() and isinstance(ids, list):
            places = {str(document): place for place, document in enumerate(ids, start=1)}
            searches[str(row.get("query_id", ""))] = Shown(text.strip(), places)
    return searches


def _read_object(row: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The document that an event is about, and its place."""
    attributes = row.get("event_attributes")
    if not isinstance(attributes, Mapping):
        return None
    item, position = attributes.get("object"), attributes.get("position")
    name = item.get("object_id") if isinstance(item, Mapping) else None
    place = position.get("ordinal") if isinstance(position, Mapping) else None
    return None if name is None else (str(name), place if isinstance(place, int) else None)


def _row(row: Any, path: Path, number: int) -> dict[str, Any]:
    source = row.get("_source", row) if isinstance(row, dict) else row
    if not isinstance(source, dict):
        raise DataError(f"Line {number} of {path} is no JSON object.")
    return source
