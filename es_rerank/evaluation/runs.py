"""Collect a run: put queries to a search endpoint, keep the order of the ids and the times."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from es_rerank.errors import ClusterError, DataError

TIMEOUT_S = 120.0
OUTCOME_HEADER = "X-Es-Rerank"
SHOWN_CHARS = 300


@dataclass(frozen=True)
class Answer:
    """One search: ids best first, the engine's `took`, the time seen by the client.

    `outcome` is the header X-Es-Rerank, "" where the engine itself answered.
    """

    ids: tuple[str, ...]
    took_ms: float
    elapsed_ms: float
    outcome: str


class Endpoint:
    """An engine or a proxy in front of one, on kept-alive connections."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        **tls: Any,
    ) -> None:
        """`tls`: what urllib3's PoolManager takes, such as `ca_certs`."""
        self.url = url.rstrip("/")
        self._headers = {**(headers or {}), "content-type": "application/json"}
        self._timeout_s = timeout_s
        self._pool = urllib3.PoolManager(**tls)

    def search(self, index: str, body: Mapping[str, Any], id_field: str | None = None) -> Answer:
        """POST one search body to `/index/_search`.

        id_field: the field whose value stands for a document, where that is not `_id`; the first
        hit of several with one value stands for all. Raises ClusterError when there is no answer,
        another status than 200, a search that timed out in the engine, or a shard that failed: such
        a ranking must not be measured.
        """
        if id_field is not None:
            body = {**body, "fields": [*body.get("fields", ()), id_field]}
        found, elapsed_ms, outcome = self.ask(index, body)
        try:
            ids = dict.fromkeys(identify(hit, id_field) for hit in found["hits"]["hits"])
            took_ms = float(found["took"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClusterError(
                f"{self.url} answered a search of {index}, but not with a search answer."
            ) from error
        return Answer(tuple(ids), took_ms, elapsed_ms, outcome)

    def ask(self, index: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], float, str]:
        """POST one search body; returns the answer, milliseconds, and the header X-Es-Rerank.

        Raises ClusterError as `search` does.
        """
        where = f"{self.url}/{urllib.parse.quote(index, safe=',*')}/_search"
        data = json.dumps(body).encode()
        start = time.perf_counter()
        try:
            answer = self._pool.request(
                "POST",
                where,
                body=data,
                headers=self._headers,
                timeout=self._timeout_s,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(
                f"{where} did not answer ({error}). Check the address and that it is up."
            ) from error
        elapsed_ms = (time.perf_counter() - start) * 1000
        if answer.status != 200:
            said = answer.data[:SHOWN_CHARS].decode("utf-8", "replace")
            raise ClusterError(f"{where} answered with status {answer.status}: {said}")
        try:
            found = json.loads(answer.data)
            partial = found.get("timed_out") or found.get("_shards", {}).get("failed")
        except (ValueError, AttributeError) as error:
            raise ClusterError(f"{where} answered, but not with a search answer.") from error
        if partial:
            raise ClusterError(f"{where} answered with part of the hits only; run it again.")
        return found, elapsed_ms, answer.headers.get(OUTCOME_HEADER, "")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def identify(hit: Mapping[str, Any], id_field: str | None = None) -> str:
    """What a hit is known by. Raises KeyError where the field has no value."""
    return str(hit["_id"] if id_field is None else hit["fields"][id_field][0])


def collect(
    endpoint: Endpoint,
    index: str,
    bodies: Mapping[str, Mapping[str, Any]],
    progress: Callable[[str], None] = lambda query: None,
) -> dict[str, Answer]:
    """Search once for every query, `bodies` being query -> search body, one after another."""
    answers = {}
    for query, body in bodies.items():
        progress(query)
        answers[query] = endpoint.search(index, body)
    return answers


def rankings(answers: Mapping[str, Answer]) -> dict[str, list[str]]:
    """The run in collected answers: query -> document ids, best first."""
    return {query: list(answer.ids) for query, answer in answers.items()}


def write_run(path: Path, run: Mapping[str, Sequence[str]], tag: str = "es-rerank") -> None:
    """Write a run in TREC's format: query Q0 document rank score tag.

    The format splits at blanks, so blanks and % within an id are percent-encoded.
    """
    with path.open("w", encoding="utf-8") as file:
        for query, ranking in run.items():
            for rank, document in enumerate(ranking, start=1):
                score = len(ranking) - rank + 1
                parts = [_encode(query), "Q0", _encode(document), rank, score, _encode(tag)]
                file.write(" ".join(map(str, parts)) + "\n")


def read_run(path: Path) -> dict[str, list[str]]:
    """Read a run in TREC's format, best score first as trec_eval does; equal scores by rank.

    Undoes the encoding of `write_run`. Raises DataError when the file cannot be read so.
    """
    entries: dict[str, list[tuple[float, float, str]]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    query, _, document, rank, score, _ = line.split(maxsplit=5)
                    entry = (-float(score), float(rank), urllib.parse.unquote(document))
                except ValueError as error:
                    raise DataError(
                        f"Line {number} of {path} is not of TREC's form "
                        "`query Q0 document rank score tag`."
                    ) from error
                entries.setdefault(urllib.parse.unquote(query), []).append(entry)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The run {path} cannot be read: {error}.") from error
    return {query: [entry[2] for entry in sorted(found)] for query, found in entries.items()}


def _encode(word: str) -> str:
    if not word:
        raise DataError("TREC's format has no room for an empty id.")
    # str.split also splits at the blanks of other scripts
    return "".join(urllib.parse.quote(c, safe="") if c.isspace() or c == "%" else c for c in word)
